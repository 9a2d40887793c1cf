"""The job that carries workers: its options, and its script as dask-jobqueue writes it."""

import importlib
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.loop import signals_held
from forebay.cluster.slurm.walltime import seconds_of

if TYPE_CHECKING:
    from forebay.cluster.slurm.specification import SlurmClusterSpecification

PRELOAD = "forebay.cluster.keeping.worker"
"""The module that every worker imports: it tells of its health."""
GATE = "forebay.cluster.keeping.fit"
"""The module that ends it before, if it has other versions."""
_ORPHAN_SECONDS = 60
"""Time after which a worker ends itself that finds no scheduler."""
_OWN_WORDS = {
    **dict.fromkeys(
        (
            *("queue", "account", "project", "interface", "job-cpu", "job-mem", "log-directory"),
            # What some of these and others were called once; each of them costs a warning.
            *("extra", "env-extra", "job-extra", "header-skip"),
        )
    ),
    "worker-command": "distributed.cli.dask_worker",
}
"""What dask-jobqueue would look up in the user's configuration where it is given nothing."""


def options_of(
    specification: "SlurmClusterSpecification",
    *,
    job_name: str,
    tag: str,
    folder: Path,
    resources: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the options of dask-jobqueue's `SLURMCluster` and `SLURMJob`.

    Parameters
    ----------
    specification
        What is wanted.
    job_name
        What all jobs are called.
    tag
        The comment by which the jobs of this cluster are known.
    folder
        Where the cluster keeps what it needs; the logs of the jobs lie in ``logs`` there.
    resources
        What its workers offer, by Dask's names for it.
    """
    processes = specification.workers_per_job
    environment = worker_environment(
        specification.environment, gpus=specification.gpus_per_worker > 0
    )
    life = seconds_of(specification.walltime) - specification.margin_seconds / 2
    directives = [
        f"--comment={tag}",
        f'--output="{folder}/logs/%j.log"',
        "--open-mode=append",
        "--requeue",
    ]
    if specification.gpus_per_worker:
        directives.append(f"--gres=gpu:{specification.gpus_per_worker}")
    if specification.constraint is not None:
        directives.append(f'--constraint="{specification.constraint}"')
    return {
        "job_name": job_name,
        "queue": specification.partition,
        "account": specification.account,
        "walltime": specification.walltime,
        "cores": processes * specification.threads_per_worker,
        "memory": f"{processes * int(specification.memory_limit)} B",
        "processes": processes,
        "interface": specification.interface,
        "protocol": f"{specification.protocol}://",
        "python": specification.python,
        "death_timeout": _ORPHAN_SECONDS,
        "job_extra_directives": [*directives, *specification.directives],
        "job_script_prologue": [
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            *specification.prologue,
        ],
        "worker_extra_args": [
            "--preload-nanny",
            GATE,
            "--preload",
            PRELOAD,
            # The keeper sends it home before; this is for when there is no keeper any more.
            "--lifetime",
            f"{life:g}s",
            *(f"--resources={name}={number}" for name, number in (resources or {}).items()),
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
        ],
    }


def script_of(worker: str, scheduler: str, options: dict[str, Any]) -> str:
    """Return the script of the job that carries a worker."""
    slurm = dask_jobqueue().slurm  # Not within own_words, which would forget its defaults.
    with own_words():
        return str(slurm.SLURMJob(scheduler, name=worker, **options).job_script())


def dask_jobqueue() -> Any:
    """Import dask-jobqueue, and leave Ctrl-C to who has it.

    Its module of runners makes SIGINT end the process at once, with code 0, as soon as it is
    imported: what is being computed would not be published, and nobody told.
    """
    with signals_held():
        answers: Any = signal.getsignal(signal.SIGINT)
        try:
            return importlib.import_module("dask_jobqueue")
        finally:
            if signal.getsignal(signal.SIGINT) is not answers:
                signal.signal(signal.SIGINT, answers)


@contextmanager
def own_words() -> Iterator[None]:
    """Let dask-jobqueue not look into the user's configuration of it for what is said here.

    Where a specification names no partition, that is Slurm's default one; and with logs elsewhere
    nobody would find out why a job has failed.  What has no name here counts, such as a local
    directory, or directives that the site's Slurm does not take.
    """
    import dask

    with dask.config.set({f"jobqueue.slurm.{name}": it for name, it in _OWN_WORDS.items()}):
        yield
