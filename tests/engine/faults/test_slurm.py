"""A service on the nodes of a real Slurm, whatever befalls its workers there."""

import time
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import PATIENCE, Process, Site
from tests.slurm import Slurm, forked, until

from forebay.acquisition import Run
from forebay.engine import SubmittedJob

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(600)]

BLOCKS = 30
INTERRUPTIONS = 3
"""Workers that are ended in the middle of what they do: cancelled, preempted, on a node that is down."""


class Busy:
    """A service that always has some work left, however long what is waited for takes."""

    def __init__(self, site: Site, run: Run) -> None:
        self.site, self._run = site, run
        self.jobs: list[SubmittedJob] = []
        self._known: set[int] = set()
        self.more()
        self.service: Process = site.serve("chosen")

    def more(self) -> None:
        self.jobs.append(self.site.submit(self._run, seconds=0.3))

    def wait_for_new(self, number: int) -> None:
        """Wait until so many processes are at units that were not there before."""
        deadline = time.monotonic() + PATIENCE
        while True:
            at_it = {pid for job in self.jobs for pid, _ in self.site.computing(job)}
            if len(new := at_it - self._known) >= number:
                self._known |= new
                return
            assert time.monotonic() < deadline, self.service.standing()
            if self.jobs[-1].progress().units.get("ready", BLOCKS) < BLOCKS / 2:
                self.more()
            time.sleep(0.1)

    def goes_on(self) -> None:
        """Check that more is published."""
        self.more()
        self.service.wait_for("published", len(self.service.told("published")) + 4)


def job_on(slurm: Slurm, node: str) -> str:
    """Return the worker's job that runs on a node."""
    words = ("squeue", "-h", "--states=running", f"--nodelist={node}", "--format=%i")
    return str(until(lambda: slurm.call(*words).strip(), f"a job on {node}"))


def test_it_goes_on_whatever_slurm_does(
    site: Site, give_run: GiveRun, slurm: Slurm, warmed: Path
) -> None:
    """Workers are replaced; what they had in hand is done once more, and nothing else is."""
    site.configure(
        cluster={
            "kind": "slurm",
            # One more than there is room for: it waits.
            "maximum_workers": 3,
            "memory_limit": "4500 MiB",
            "work_seconds": 1.0,
            "idle_seconds": 2.0,
            "look_seconds": 0.2,
            "interface": "lo",
            "walltime": "01:00:00",
            "folder": str(site.folder / "clusters"),
            **forked(warmed),
        }
    )
    busy = Busy(site, give_run(BLOCKS))
    busy.wait_for_new(2)

    slurm.call("scancel", job_on(slurm, "node0"))
    busy.wait_for_new(1)

    # A more urgent job takes a node, and the worker's job goes back into the queue.
    preempted = job_on(slurm, "node1")
    words = ("--partition=urgent", "--nodelist=node1", "--exclusive", "--output=/dev/null")
    slurm.call("sbatch", *words, "--wrap=true")
    until(lambda: "Restarts=1" in slurm.call("scontrol", "show", "job", preempted), "preemption")
    busy.wait_for_new(1)

    # A node that is to take no more jobs lets the one that runs go on; one that is down does not.
    slurm.call("scontrol", "update", "nodename=node0", "state=drain", "reason=test")
    busy.goes_on()
    slurm.call("scontrol", "update", "nodename=node0", "state=down", "reason=test")
    busy.goes_on()
    slurm.call("scontrol", "update", "nodename=node0", "state=resume")
    busy.wait_for_new(1)

    slurm.stop("slurmctld")
    busy.goes_on()
    slurm.start_controller()
    for job in busy.jobs:
        site.check(job)

    # A worker has one thread: what it was at when it was ended is begun once more, nothing else is.
    lost = site.attempts("worker-lost")
    assert len(lost) <= INTERRUPTIONS
    assert all(len(attempts) == 1 for attempts in lost.values())
    assert site.begun_again(busy.jobs) <= set(lost)
    until(lambda: not slurm.jobs(), "that no worker is left without work")
    assert busy.service.end() == 0
    site.check_nobody_is_there()
    # What is left tells why it had the size that it had.
    (left,) = Path(site.folder / "clusters").iterdir()
    assert left.name == "chosen"
    assert list(left.glob("*.jsonl")) == [left / "decisions.jsonl"]
