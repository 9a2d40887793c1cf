"""A real Slurm on loopback: a controller, two nodes and munge, for as long as tests need it.

There is neither systemd nor cgroups: each daemon is a process of ours, in a folder of its own.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_ports

PROGRAMS = ("slurmctld", "slurmd", "munged", "mungekey", "sbatch", "squeue", "scontrol")
NODES = ("node0", "node1")
CPUS_PER_NODE = 4
PATIENCE = 60.0


def until(happens: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := happens()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return value


def forked(warmed: Path) -> dict[str, Any]:
    """Return settings of workers that are forked from a process that has imported everything."""
    return {
        "python": str(warmed / "python"),
        "environment": {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"},
    }


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs."""

    folder: Path
    ports: tuple[int, ...]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def call(self, *words: str, check: bool = True) -> str:
        """Call one of its commands."""
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert not check or ended.returncode == 0, f"{words}: {ended.stderr}"
        return ended.stdout

    def jobs(self, *states: str) -> list[str]:
        """Return the numbers of the jobs in some states; those that are not over if not given."""
        chosen = [f"--states={','.join(states)}"] if states else []
        return self.call("squeue", "--noheader", "--format=%i", *chosen).split()

    def start(self, name: str, *words: str) -> None:
        """Start a daemon, as a process of ours."""
        with (self.folder / f"{name}.said").open("ab") as said:
            self.daemons[name] = subprocess.Popen(words, stdout=said, stderr=said)

    def start_controller(self, *options: str) -> None:
        """Start the controller."""
        self.start("slurmctld", "slurmctld", "-D", *options)

    def start_munge(self) -> None:
        """Start what vouches for who calls."""
        names = {"key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log"}
        names |= {"socket": "munge.socket", "seed-file": "munge.seed"}
        files = [f"--{option}={self.folder}/{name}" for option, name in names.items()]
        # Folders below /tmp are not safe enough for it otherwise.
        self.start("munged", "munged", "--foreground", "--force", *files)
        until(lambda: (self.folder / "munge.socket").exists(), "munge's socket")

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End a daemon."""
        process = self.daemons.pop(name)
        process.kill() if kill else process.terminate()
        process.wait(PATIENCE)

    def start_node(self, name: str) -> None:
        """Start a node."""
        self.start(name, "slurmd", "-D", "-N", name)

    def tidy(self) -> None:
        """Cancel what is there, and let every node take jobs."""
        self.call("scancel", "--quiet", "--me", check=False)
        until(lambda: not self.jobs(), "an empty queue")
        states = self.call("sinfo", "--noheader", "--Node", "--format=%N %t").split()
        for node, state in zip(states[::2], states[1::2], strict=True):
            if state.rstrip("*") not in {"idle", "mix", "alloc", "comp"}:
                self.call("scontrol", "update", f"nodename={node}", "state=resume")
        until(
            lambda: set(self.call("sinfo", "-h", "-N", "-o", "%t").split()) == {"idle"},
            "that all nodes are idle",
        )

    def close(self) -> None:
        """End every daemon."""
        with contextlib.suppress(AssertionError):
            self.call("scancel", "--quiet", "--me", check=False)
        # They have nothing to write down that anybody reads again.
        for name in list(self.daemons):
            self.stop(name, kill=True)


@contextmanager
def running() -> Iterator[Slurm]:
    """Run a Slurm, and let its commands find it."""
    missing = [each for each in PROGRAMS if shutil.which(each) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"a Slurm needs root and {', '.join(missing) or 'nothing else'}")
    folder = Path(tempfile.mkdtemp(prefix="fb-slurm-"))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    # What a job inherits of a test's own environment would be told to be a part of another job.
    slurm = Slurm(folder, tuple(free_ports(3)))
    try:
        _configure(slurm)
        slurm.call("mungekey", "--create", f"--keyfile={folder}/munge.key")
        slurm.start_munge()
        slurm.start_controller("-c")
        for node in NODES:
            slurm.start_node(node)
        until(
            lambda: (
                set(slurm.call("sinfo", "-h", "-N", "-o", "%t", check=False).split()) == {"idle"}
            ),
            "two idle nodes",
        )
        yield slurm
    finally:
        slurm.close()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def running_slurm() -> Iterator[Slurm]:
    """A Slurm for all tests of a process."""
    with running() as slurm:
        yield slurm


@pytest.fixture
def slurm(running_slurm: Slurm) -> Iterator[Slurm]:
    """A Slurm with an empty queue, and two idle nodes."""
    running_slurm.tidy()
    yield running_slurm
    running_slurm.tidy()


def _configure(slurm: Slurm) -> None:
    folder, (control, *ports) = slurm.folder, slurm.ports
    for each in ("state", *(f"spool.{node}" for node in NODES)):
        (folder / each).mkdir()
    gpus = folder / "gpus"
    gpus.mkdir()
    for number in range(2):
        # A node's GPUs are device files; which they are does not matter to Slurm.
        os.mknod(gpus / f"gpu{number}", 0o600 | 0o020000, os.makedev(1, 3))
    (folder / "gres.conf").write_text(
        "".join(
            f"NodeName={node} Name=gpu File={gpus}/gpu{number}\n"
            for number, node in enumerate(NODES)
        )
    )
    nodes = "".join(
        f"NodeName={node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={CPUS_PER_NODE} RealMemory=8000 Gres=gpu:1 State=UNKNOWN\n"
        for node, port in zip(NODES, ports, strict=True)
    )
    (folder / "slurm.conf").write_text(
        f"""\
ClusterName=forebay
SlurmctldHost={socket.gethostname()}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={control}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
GresTypes=gpu
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=60
MessageTimeout=5
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,defer=0
MailProg=/bin/true
{nodes}\
PartitionName=main Nodes=ALL Default=YES MaxTime=02:00:00 State=UP PriorityTier=10
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=100 PreemptMode=OFF
"""
    )
