"""Copying a run by forebay and by others, taking turns."""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
from benchmarks.tiering_measurements.run import laboratory, record
from blake3 import blake3

from forebay.tiering.connect import connect

type Row = dict[str, Any]
type Way = Callable[[Path], None]
"""Copies a run; given a folder for what it puts, which is empty."""

VERIFIED = "plain copy, flushed, read back and compared"
CHECKED = "rclone copy, then rclone check --download"
BACK_AGAIN = "aws s3 cp, back again and compared"
MOVE = "forebay tier move --keep"


@dataclass(slots=True)
class Turns:
    """How long ways of copying took, round by round."""

    nbytes: int
    """What each has copied."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of each way, in each round."""
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of processor time, with those of processes that it has started."""

    def take(self, ways: Mapping[str, Way], folder: Path, *, times: int) -> None:
        """Let each way have its turn, in each round beginning with another one."""
        names = list(ways)
        for turn in range(times):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                target = folder / "target"
                target.mkdir()
                os.sync()
                used, began = _used(), time.perf_counter()
                ways[name](target)
                self.seconds.setdefault(name, []).append(time.perf_counter() - began)
                self.cpu.setdefault(name, []).append(_used() - used)
                shutil.rmtree(target)

    def rows(self, *, beside: str) -> list[Row]:
        """Return the figures; ratios are those of the same round."""
        return [
            {
                "way": name,
                "MB_per_s": round(self.nbytes / 1e6 / statistics.median(taken)),
                "of_verified": round(
                    statistics.median(
                        one / other for one, other in zip(self.seconds[beside], taken, strict=True)
                    ),
                    2,
                ),
                "cpu_s_per_GB": round(statistics.median(self.cpu[name]) / self.nbytes * 1e9, 2),
            }
            for name, taken in self.seconds.items()
        ]


def to_a_folder(root: Path, *, megabytes: int, times: int) -> list[Row]:
    """Copy a run to another folder of the same disk."""
    run = root / "runs" / "run"
    turns = Turns(record(run, megabytes))
    with laboratory(root / "runs", root / "target", ledger=root / "ledger.sqlite") as lab:
        lab.take_in(run)
    numbers = iter(range(1000))

    def move(_: Path) -> None:
        ledger = root / f"{next(numbers)}.sqlite"
        shutil.copy(root / "ledger.sqlite", ledger)
        with laboratory(root / "runs", root / "target", ledger=ledger) as lab:
            lab.move(run, "cold", keep=True)

    ways: dict[str, Way] = {
        "plain copy, flushed": lambda target: _copy(run, target / "run"),
        VERIFIED: lambda target: _copy_and_compare(run, target / "run"),
        MOVE: move,
    }
    if rclone := shutil.which("rclone", path=_path()):
        ways["rclone copy --checksum, not flushed"] = lambda target: _run(
            rclone, "copy", "--checksum", str(run), str(target / "run")
        )
    turns.take(ways, root, times=times)
    return turns.rows(beside=VERIFIED)


def to_a_bucket(root: Path, bucket: str, *, megabytes: int, times: int) -> list[Row]:
    """Copy a run into a bucket of the S3 server that the environment names."""
    run = root / "runs" / "run"
    turns = Turns(record(run, megabytes))
    url = f"s3://{bucket}/copies"
    with laboratory(root / "runs", url, ledger=root / "ledger.sqlite") as lab:
        lab.take_in(run)
    numbers = iter(range(1000))

    def move(_: Path) -> None:
        ledger = root / f"{next(numbers)}.sqlite"
        shutil.copy(root / "ledger.sqlite", ledger)
        with laboratory(root / "runs", url, ledger=ledger) as lab:
            lab.move(run, "cold", keep=True)

    ways: dict[str, Way] = {MOVE: move}
    if rclone := shutil.which("rclone", path=_path()):
        there = f"lab:{bucket}/rclone"
        checked = f"lab:{bucket}/checked"
        ways["rclone copy --checksum"] = lambda _: _run(
            rclone, "copy", "--checksum", str(run), there
        )

        def copy_and_check(_: Path) -> None:
            _run(rclone, "copy", "--checksum", str(run), checked)
            _run(rclone, "check", "--download", str(run), checked)

        ways[CHECKED] = copy_and_check
    if aws := shutil.which("aws", path=_path()):
        common = ("s3", "cp", "--recursive", "--only-show-errors")
        ways["aws s3 cp"] = lambda _: _run(aws, *common, str(run), f"s3://{bucket}/aws")

        def there_and_back(target: Path) -> None:
            _run(aws, *common, str(run), f"s3://{bucket}/twice")
            _run(aws, *common, f"s3://{bucket}/twice", str(target))
            _compare(run, target)

        ways[BACK_AGAIN] = there_and_back
    for turn in range(times):
        _empty(bucket)
        turns.take(_beginning_with(turn, ways), root, times=1)
    verified = [name for name in ways if name in {CHECKED, BACK_AGAIN}]
    best = min(verified, key=lambda name: statistics.median(turns.seconds[name]), default=MOVE)
    return turns.rows(beside=best)


def _beginning_with(turn: int, ways: Mapping[str, Way]) -> dict[str, Way]:
    names = list(ways)
    first = turn % len(names)
    return {name: ways[name] for name in names[first:] + names[:first]}


def _empty(bucket: str) -> None:
    store = connect(f"s3://{bucket}")
    for several in obstore.list(store):
        for each in several:
            obstore.delete(store, each["path"])


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in [target.parent, target, *target.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _copy_and_compare(source: Path, target: Path) -> None:
    """Do what is promised in the plainest way: copy, flush, drop from memory, read, compare."""
    _copy(source, target)
    _compare(source, target)


def _compare(source: Path, target: Path) -> None:
    for path in target.rglob("*"):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            back = blake3(file.read()).digest()
        if back != blake3((source / path.relative_to(target)).read_bytes()).digest():
            raise RuntimeError(f"{path} is not what was copied")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _path() -> str:
    """Return where programs are: those of the environment first."""

    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)
