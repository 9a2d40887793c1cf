"""A fault at the first call of a recording, at its second, and so on, until it meets none.

``python -m tests.acquisition.faults.sweep PART PARTS`` does a part of it; what is to be done comes
as JSON on the standard input, and a line of JSON goes out for each call.
"""

import dataclasses
import gc
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.acquisition.faults import recordings
from tests.acquisition.faults.checks import left_in_flight
from tests.acquisition.faults.completed import Completed
from tests.acquisition.faults.forked import ENVIRONMENT, ROOT, Child, Forks
from tests.acquisition.faults.interception import End
from tests.acquisition.faults.promises import promised_frames, read_promises
from tests.acquisition.faults.recordings import RUN, Recording
from tests.acquisition.faults.system_calls import Call

from forebay.acquisition import open_run

_KILLED = -signal.SIGKILL
_FAILED = 1


@dataclass(frozen=True)
class Point:
    """A call that met the fault."""

    number: int
    call: str
    """What it was to do, and to which file, with N for the numbers in names."""
    promised: int
    """Frames that had been promised by the end of the recording."""
    in_flight: Sequence[str]
    """What had been begun and was not committed."""
    ended: int
    """How the process ended: 0 where it could cope."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Recordings that meet a fault, each at another call."""

    folder: str
    """Where they go, each into a folder of its own."""
    recording: str
    """Which one."""
    options: Mapping[str, Any]
    """How."""
    begin: str | None
    """A folder whose content lies there when the recording begins."""
    error: int | None
    """The error with which the call fails; None to kill the process."""
    stride: int
    """How many calls further the next one is."""
    completed: Completed
    """What must come of what met the fault."""

    def run(self, python: Path, *, parts: int) -> list[Point]:
        """Try and check in several processes of a Python, each at its part of the calls."""
        running = [
            subprocess.Popen(
                [str(python), "-W", "error", "-m", __name__, str(part), str(parts)],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for part in range(parts)
        ]
        said = json.dumps(dataclasses.asdict(self))
        try:
            for each in running:
                assert each.stdin
                each.stdin.write(said)
                each.stdin.close()
            lines = [line for each in running for line in each.stdout or ()]
            assert [each.wait() for each in running] == [0] * parts
        finally:
            for each in running:
                with each:
                    each.kill()
        return sorted((Point(**json.loads(line)) for line in lines), key=lambda each: each.number)

    def run_part(self, part: int, parts: int) -> Iterator[Point]:
        """Try and check at every so many of the calls."""
        recording: Recording = getattr(recordings, self.recording)
        with Forks.at_once() as forks:
            for number in count(1 + self.stride * part, self.stride * parts):
                disk = Path(self.folder, str(number))
                if self.begin:
                    shutil.copytree(self.begin, disk)
                else:
                    disk.mkdir()
                promises = Path(self.folder, f"{number}-promises")
                child = forks.start(recording, disk, promises, **self.options)
                call = fault_at(number, child, disk, error=self.error)
                ended = child.wait()
                try:
                    point = self._check(number, call, disk, promises, ended)
                except BaseException as error:
                    error.add_note(f"call {number}, {call or 'none'}: see {disk} and {promises}")
                    raise
                if call is None:
                    return
                yield point
                shutil.rmtree(disk)

    def _check(
        self, number: int, call: str | None, disk: Path, promises: Path, ended: int
    ) -> Point:
        if call is None:
            assert ended == 0, f"it ended with {ended} though nothing happened"
        elif self.error is None:
            assert ended == _KILLED
        elif ended:
            assert ended == _FAILED
            last = read_promises(promises)[-1]
            assert last.get("failed") in {"StorageError", "NoSpaceError"}, last
        promised = promised_frames(promises)
        in_flight = left_in_flight(disk / RUN) if (disk / RUN).exists() else []
        if ended == 0:
            assert open_run(disk / RUN).closed, "it ended well, and the run is open"
        self.completed.check(disk, promised)
        return Point(number, call or "", promised, in_flight, ended)


def fault_at(
    number: int,
    child: Child,
    disk: Path,
    *,
    error: int | None = None,
    of: Callable[[Call], bool] = lambda _: True,
) -> str | None:
    """Let one of a recording's calls fail, or kill it there, a write in its middle.

    Return which call it was, or None where it came to its end before.
    """
    passed, met = count(1), None

    def decide(call: Call) -> End | int:
        nonlocal met
        if not of(call) or next(passed) != number:
            return End.DONE
        met = f"{call.name} {_kind(call.path.relative_to(disk))}"
        if error is not None:
            return error
        return End.HALF_DONE_AND_KILLED if call.name == "write" else End.KILLED

    child.follow(disk, decide)
    return met


def _kind(path: Path) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f-]{27})?|\d+", "N", path.as_posix())


def main(part: int, parts: int) -> None:
    given = json.load(sys.stdin)
    sweep = Sweep(**{**given, "completed": Completed(**given["completed"])})
    # What the collector does not look at makes it quick.
    gc.freeze()
    for point in sweep.run_part(part, parts):
        print(json.dumps(dataclasses.asdict(point)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
