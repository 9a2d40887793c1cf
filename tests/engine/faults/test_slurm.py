"""A service on the nodes of a real Slurm, whatever befalls its workers there."""

from collections import Counter
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Process, Site, until
from tests.slurm import Slurm

pytestmark = pytest.mark.slurm


def at_work(site: Site, job: object, known: set[int], number: int) -> set[int]:
    """Wait until so many processes that were not known are at units; return them."""

    def others() -> set[int]:
        return {pid for pid, _ in site.computing(job)} - known  # type: ignore[arg-type]

    return set(until(lambda: len(found := others()) >= number and found, f"{number} at work"))


def job_on(slurm: Slurm, node: str) -> str:
    """Return the worker's job that runs on a node."""
    words = ("squeue", "-h", "--states=running", f"--nodelist={node}", "--format=%i")
    return str(until(lambda: slurm.call(*words).strip(), f"a job on {node}"))


def publishes_more(service: Process) -> None:
    """Check that the service goes on."""
    service.wait_for("published", len(service.told("published")) + 4)


def test_it_goes_on_whatever_slurm_does(site: Site, give_run: GiveRun, slurm: Slurm) -> None:
    """Workers are replaced; what they were at is done once more, and nothing else is."""
    site.configure(
        cluster={
            "kind": "slurm",
            # One more than there is room for: it waits to the end.
            "maximum_workers": 3,
            "memory_limit": "4500 MiB",
            "work_seconds": 1.0,
            "idle_seconds": 0.5,
            "look_seconds": 0.2,
            "interface": "lo",
            "walltime": "01:00:00",
            "folder": str(site.folder / "clusters"),
        }
    )
    run = give_run(120)
    job = site.submit(run, seconds=0.3)
    service = site.serve("chosen")
    known = at_work(site, job, set(), 2)

    slurm.call("scancel", job_on(slurm, "node0"))
    known |= at_work(site, job, known, 1)

    # A more urgent job takes a node, and the worker's job goes back into the queue.
    preempted = job_on(slurm, "node1")
    words = ("--partition=urgent", "--nodelist=node1", "--exclusive", "--output=/dev/null")
    slurm.call("sbatch", *words, "--wrap=true")
    until(lambda: "Restarts=1" in slurm.call("scontrol", "show", "job", preempted), "preemption")
    known |= at_work(site, job, known, 1)

    # A node that is to take no more jobs lets the one that runs go on; one that is down does not.
    slurm.call("scontrol", "update", "nodename=node0", "state=drain", "reason=test")
    publishes_more(service)
    slurm.call("scontrol", "update", "nodename=node0", "state=down", "reason=test")
    publishes_more(service)
    slurm.call("scontrol", "update", "nodename=node0", "state=resume")
    known |= at_work(site, job, known, 1)

    slurm.stop("slurmctld")
    publishes_more(service)
    slurm.start_controller()
    site.check(job)

    # Units that were interrupted, and no others, were begun twice.
    lost = site.attempts("worker-lost")
    begun = Counter(first for _, first in site.begun(job))
    assert sum(begun.values()) - 120 <= len(lost) <= 3
    assert all(len(attempts) == 1 for attempts in lost.values())
    until(lambda: not slurm.jobs(), "that no worker is left without work")
    assert service.end() == 0
    site.check_nobody_is_there()
    assert [each.name for each in Path(site.folder / "clusters").iterdir()] == []
