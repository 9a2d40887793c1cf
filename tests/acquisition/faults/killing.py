"""Killing a recording at its first call, at its second, and so on, until it comes to its end.

``python -m tests.acquisition.faults.killing PART PARTS`` does a part of it; what is to be killed
comes as JSON on the standard input, and a line of JSON goes out for each call.
"""

import dataclasses
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
from tests.acquisition.faults.completing import Completed
from tests.acquisition.faults.forked import ROOT, Child, Forks
from tests.acquisition.faults.interception import End
from tests.acquisition.faults.promises import promised_frames
from tests.acquisition.faults.recordings import RUN, Recording
from tests.acquisition.faults.system_calls import Call


@dataclass(frozen=True)
class Point:
    """A call at which a recording was killed."""

    number: int
    call: str
    """What it was to do, and to which file, with N for the numbers in names."""
    promised: int
    """Frames that had been promised by then."""
    in_flight: Sequence[str]
    """What had been begun and was not committed."""


@dataclass(frozen=True, kw_only=True)
class Killing:
    """Kills of a recording at each of its calls, or at each so many of them."""

    folder: str
    """Where the recordings go, each into a folder of its own."""
    recording: str
    """Which one."""
    options: Mapping[str, Any]
    """How."""
    begin: str | None
    """A folder whose content lies there when the recording begins."""
    stride: int
    """How many calls further the next kill is."""
    completed: Completed
    """What must come of what was killed."""

    def run(self, *, parts: int) -> list[Point]:
        """Kill and check in several processes, each at its part of the calls."""
        running = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__, str(part), str(parts)],
                cwd=ROOT,
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
        """Kill and check at every so many of the calls."""
        recording: Recording = getattr(recordings, self.recording)
        with Forks() as forks:
            for number in count(1 + self.stride * part, self.stride * parts):
                disk = Path(self.folder, str(number))
                if self.begin:
                    shutil.copytree(self.begin, disk)
                else:
                    disk.mkdir()
                promises = Path(self.folder, f"{number}-promises")
                call = kill_at(number, forks.start(recording, disk, promises, **self.options), disk)
                promised = promised_frames(promises)
                in_flight = left_in_flight(disk / RUN) if (disk / RUN).exists() else []
                try:
                    self.completed.check(disk, promised)
                except BaseException as error:
                    error.add_note(f"killed at call {number}, {call or 'the end'}: see {disk}")
                    raise
                if call is None:
                    return
                yield Point(number, call, promised, in_flight)
                shutil.rmtree(disk)


def kill_at(
    number: int, child: Child, disk: Path, *, of: Callable[[Call], bool] = lambda _: True
) -> str | None:
    """Kill a recording at one of its calls, a write in its middle; return which call it was.

    None is returned where it came to its end before.
    """
    passed, last = count(1), None

    def decide(call: Call) -> End:
        nonlocal last
        if not of(call) or next(passed) != number:
            return End.DONE
        last = f"{call.name} {_kind(call.path.relative_to(disk))}"
        return End.HALF_DONE_AND_KILLED if call.name == "write" else End.KILLED

    child.follow(disk, decide)
    status = child.wait()
    assert status == (-signal.SIGKILL if last else 0), f"call {number} {last}: ended with {status}"
    return last


def _kind(path: Path) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f-]{27})?|\d+", "N", path.as_posix())


def main(part: int, parts: int) -> None:
    given = json.load(sys.stdin)
    killing = Killing(**{**given, "completed": Completed(**given["completed"])})
    for point in killing.run_part(part, parts):
        print(json.dumps(dataclasses.asdict(point)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
