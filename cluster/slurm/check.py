"""What is missing for a cluster of Slurm jobs, found out before one is submitted."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.cluster.plan import Plan
from forebay.cluster.slurm.commands import last_line
from forebay.cluster.slurm.script import options_of, script_of
from forebay.cluster.slurm.walltime import printed_seconds, seconds_of

if TYPE_CHECKING:
    from forebay.cluster.slurm.specification import SlurmClusterSpecification

_COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
_PING_SECONDS = 5.0
"""A controller that takes longer, with nothing to look up, is as good as none."""
_ANSWER_SECONDS = 30.0
"""One that is busy may take so long for everything else."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one kind in a partition."""

    partition: str
    """Its name."""
    default: bool
    """It is the one where none is named."""
    cpus: int
    """CPUs of each."""
    memory: int
    """Bytes of memory of each."""
    seconds: float | None
    """Longest time of a job; None for any."""
    resources: str
    """Generic resources, such as ``gpu:2``."""


def plan(specification: "SlurmClusterSpecification", name: str) -> Plan:
    """Return the job script and what is missing for it; nothing is submitted."""
    problems = [_missing(each) for each in _COMMANDS if shutil.which(each) is None]
    if find_spec("dask_jobqueue") is None:
        problems.append(
            "a cluster of kind slurm needs dask-jobqueue: install forebay with the extra slurm "
            "('pip install forebay[slurm]')"
        )
        return _planned(specification, "", problems)
    folder = specification.folder.absolute() / name
    options = options_of(specification, job_name=f"forebay-{name}", tag="forebay", folder=folder)
    address = f"{specification.protocol}://SCHEDULER:PORT"
    script = script_of(f"{name}.1", address, options)
    problems += _of_this_machine(specification)
    if not problems:
        problems += _of_slurm(specification, script)
    return _planned(specification, script, problems)


def _planned(specification: "SlurmClusterSpecification", script: str, problems: list[str]) -> Plan:
    each = specification
    facts = (
        ("workers", f"{each.minimum_workers} to {each.maximum_workers}"),
        ("workers of a job", str(each.workers_per_job)),
        ("threads of a worker", str(each.threads_per_worker)),
        ("memory of a worker", f"{each.memory_limit / 2**30:.3g} GiB"),
        *(
            ()
            if each.memory_ceiling is None
            else (("one larger worker", f"{each.memory_ceiling / 2**30:.3g} GiB"),)
        ),
        ("GPUs of a worker", str(each.gpus_per_worker)),
        ("partition", each.partition or "Slurm's default"),
        ("time of a job", each.walltime),
        ("protocol", each.protocol),
        ("folder", str(each.folder)),
    )
    return Plan(
        facts,
        script,
        tuple(problems),
        (each.minimum_workers, each.maximum_workers),
        each.cost_per_worker_hour,
    )


def _missing(command: str) -> str:
    return (
        f"there is no {command} here: install Slurm's commands (Debian: slurm-client), or run this "
        "on a login node"
    )


def _of_this_machine(specification: "SlurmClusterSpecification") -> list[str]:
    import psutil

    problems = []
    interface, known = specification.interface, sorted(psutil.net_if_addrs())
    if interface is not None and interface not in known:
        problems.append(f"interface = {interface!r}: this machine has {', '.join(known)}")
    folder = specification.folder
    above: Path = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not above.is_dir():
        problems.append(f"folder = {str(folder)!r}: {above} is no folder")
    elif not os.access(above, os.W_OK | os.X_OK):
        problems.append(f"folder = {str(folder)!r}: you may not write to {above}")
    return problems


def _of_slurm(specification: "SlurmClusterSpecification", script: str) -> list[str]:
    """Ask Slurm what it has, and whether it would take the job."""
    # Everything but this tries again and again where nobody answers.
    code, said = _called(["scontrol", "ping"], seconds=_PING_SECONDS)
    if not code:
        code, said = _called(
            ["sinfo", "--noheader", "--all", "--exact", "--format=%R|%P|%c|%m|%l|%G"]
        )
    if code:
        munge = "munge" in said.lower() or "authentication" in said.lower()
        advice = (
            "is munged running, with the key of this cluster?"
            if munge
            else "are slurmctld and munged running, and the machine of slurmctld reachable?"
        )
        return [f"Slurm does not answer ({said}): {advice}"]
    nodes = [parse_nodes(line) for line in said.splitlines() if line.strip()]
    problems = unfit(specification, nodes)
    if problems:
        return problems
    code, said = _called(["sbatch", "--test-only"], given=script)
    return [f"Slurm would not take the job: {said}"] if code else []


def _called(
    words: list[str], *, given: str = "", seconds: float = _ANSWER_SECONDS
) -> tuple[int, str]:
    try:
        ended = subprocess.run(  # noqa: S603 (Slurm's own commands)
            words,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return 1, f"{words[0]} has not answered within {seconds:g} s"
    if ended.returncode:
        # What is wrong with the controller is no complaint of scontrol's: it is its answer.
        said = last_line(ended.stderr) or ended.stdout.partition("\n")[0]
        return ended.returncode, said or f"exit code {ended.returncode}"
    return 0, ended.stdout


def parse_nodes(line: str) -> Nodes:
    """Return what a line of sinfo's says.

    Examples
    --------
    >>> nodes = parse_nodes("main|main*|4|8000|1-00:00:00|gpu:2(S:0)")
    >>> nodes.partition, nodes.default, nodes.seconds
    ('main', True, 86400.0)
    """
    partition, marked, cpus, memory, limit, resources = line.split("|")
    return Nodes(
        partition,
        marked.endswith("*"),
        int(cpus.rstrip("+")),
        int(memory.rstrip("+")) * 2**20,
        printed_seconds(limit),
        resources,
    )


def unfit(specification: "SlurmClusterSpecification", nodes: list[Nodes]) -> list[str]:
    """Return why no node can take the job; nothing if one can."""
    wanted = specification.partition
    known = sorted({each.partition for each in nodes})
    if not known:
        return ["Slurm has no partition that you may use: ask whoever runs it"]
    if wanted is not None and wanted not in known:
        return [f"partition = {wanted!r}: Slurm has {', '.join(known)}"]
    if wanted is None and not any(each.default for each in nodes):
        return [f"Slurm has no default partition: give partition, one of {', '.join(known)}"]
    here = [each for each in nodes if each.partition == wanted or (wanted is None and each.default)]
    number = specification.workers_per_job
    cpus, memory = number * specification.threads_per_worker, number * specification.memory_limit
    place = here[0].partition
    problems = []
    limits = [each.seconds for each in here if each.seconds is not None]
    if limits and seconds_of(specification.walltime) > max(limits):
        problems.append(
            f"walltime = {specification.walltime} is longer than jobs of the partition {place} may "
            f"take ({timedelta(seconds=max(limits))})"
        )
    if memory > (most := max(each.memory for each in here)):
        problems.append(
            f"a job needs {memory / 2**30:.3g} GiB (workers_per_job times memory_limit), and the "
            f"largest node of the partition {place} has {most / 2**30:.3g} GiB"
        )
    ceiling = specification.memory_ceiling
    if ceiling is not None and memory <= most < ceiling:
        problems.append(
            f"the larger worker needs {ceiling / 2**30:.3g} GiB (memory_ceiling), and the largest "
            f"node of the partition {place} has {most / 2**30:.3g} GiB"
        )
    if cpus > (most := max(each.cpus for each in here)):
        problems.append(
            f"a job needs {cpus} CPUs (workers_per_job times threads_per_worker), and the largest "
            f"node of the partition {place} has {most}"
        )
    if specification.gpus_per_worker and not any("gpu" in each.resources for each in here):
        problems.append(
            f"gpus_per_worker = {specification.gpus_per_worker}: no node of the partition {place} "
            "has the generic resource 'gpu'"
        )
    return problems
