"""What a recording asked of the system, in order, from a trace of all its threads."""

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acquisition.faults.forked import ROOT

_CALLS = {
    "write": "write,pwrite64,writev,pwritev,pwritev2",
    "flush": "fsync,fdatasync",
    "name": "link,linkat,rename,renameat,renameat2",
}
_KINDS = {call: kind for kind, calls in _CALLS.items() for call in calls.split(",")}
_LONGEST_TEXT = 65_536

_BEGUN = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)")
_RESULT = re.compile(r"= (?P<result>-?\d+)[^=]*$")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^>]*)>")
_PATH = re.compile(r'(?:<(?P<below>/[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Event:
    """A call that succeeded; calls of several threads may overlap."""

    kind: str
    """``write``, ``flush`` or ``name``."""
    path: str
    """The file or folder; of two names the new one."""
    before: str
    """The name that a file had."""
    text: str
    """What was written, as far as it can be read."""
    began: int
    """Where in the trace it began."""
    ended: int
    """Where it ended."""


def trace(folder: Path, disk: Path, promises: Path) -> list[Event]:
    """Record a small run in `disk`; return what was asked of the system, in order of its end."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    output = folder / "trace"
    calls = ",".join(_CALLS.values())
    command = [
        "strace",
        "-f",
        "-y",
        "--seccomp-bpf",
        "-s",
        str(_LONGEST_TEXT),
        "-e",
        f"trace={calls}",
    ]
    module = [sys.executable, "-m", "tests.acquisition.faults.recordings", str(disk), str(promises)]
    done = subprocess.run(
        [*command, "-o", str(output), *module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE_TRACEME" in done.stderr:
        pytest.skip(f"strace is not permitted: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return [*_events(output.read_text().splitlines())]


def _events(lines: list[str]) -> Iterator[Event]:
    begun: dict[str, Event] = {}
    for place, line in enumerate(lines):
        if resumed := _RESUMED.match(line):
            event = begun.pop(resumed["thread"], None)
        elif (first := _BEGUN.match(line)) and first["call"] in _KINDS:
            event = _read(_KINDS[first["call"]], first["rest"], place)
            if line.endswith("<unfinished ...>"):
                begun[first["thread"]] = event
                continue
        else:
            continue
        result = _RESULT.search(line)
        if event and result and int(result["result"]) >= 0:
            yield dataclasses.replace(event, ended=place)


def _read(kind: str, rest: str, place: int) -> Event:
    if kind == "name":
        names = [str(Path(each["below"] or "/") / each["path"]) for each in _PATH.finditer(rest)]
        return Event(kind, names[-1], names[0], "", place, place)
    opened = _DESCRIPTOR.match(rest)
    path = opened["path"] if opened else ""
    text = rest.replace('\\"', '"') if kind == "write" else ""
    return Event(kind, path, path, text, place, place)
