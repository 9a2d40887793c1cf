"""What a machine tells of itself: files below a root, programs, and its clock."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.cluster.node.clock_state import ClockState, system_clock_state
from forebay.cluster.node.errors import RootError, UnreadableError

_LARGEST_FILE = 16 * 2**20
"""Bytes that are read of a file; ``/proc/interrupts`` of 256 cores has less than one MiB."""
_PIECE = 2**16
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program has said."""

    code: int
    """Its exit code."""
    out: str
    """Its output."""
    err: str
    """Its complaints."""


type Runner = Callable[[Sequence[str], float], Answer]
"""Runs a program for so many seconds at most."""


class Machine:
    """A machine, as the files below a root show it.

    Parameters
    ----------
    root
        Where its file system begins: ``/`` for this machine, or a folder that looks like one.
    run
        How its programs are run; for a root other than ``/`` none is run if not given.
    clock
        How the state of its clock is found out; unknown for another root if not given.

    Raises
    ------
    RootError
        If there is no such folder.

    Examples
    --------
    >>> Machine().number("proc/sys/kernel/pid_max") > 0
    True
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        run: Runner | None = None,
        clock: Callable[[], ClockState] | None = None,
    ) -> None:
        if not root.is_dir():
            raise RootError(f"there is no folder {root} to take for the root of a machine")
        self.root = root.absolute()
        """Where its file system begins."""
        self.here = self.root == Path("/")
        """Whether it is the machine that this process runs on."""
        self._run = run or (_run if self.here else None)
        self._clock = clock or (system_clock_state if self.here else None)

    def path(self, relative: str) -> Path:
        """Return where a file of the machine lies."""
        return self.root / relative

    def exists(self, relative: str) -> bool:
        """Return whether there is such a file or folder."""
        return os.path.lexists(self.path(relative))

    def text(self, relative: str) -> str:
        """Return what a file says, without the white space around it.

        Raises
        ------
        UnreadableError
            If it cannot be read.
        """
        try:
            with self.path(relative).open("rb", buffering=0) as file:
                # The kernel refuses to answer in one piece of any size.
                pieces = itertools.takewhile(bool, iter(lambda: file.read(_PIECE), None))
                content = b"".join(itertools.islice(pieces, _LARGEST_FILE // _PIECE))
        except FileNotFoundError as error:
            raise UnreadableError(f"/{relative} is not there") from error
        except OSError as error:
            raise UnreadableError(f"/{relative}: {error.strerror}") from error
        except ValueError as error:  # a name with a zero byte
            raise UnreadableError(f"/{relative}: {error}") from error
        return content.decode(errors="backslashreplace").strip()

    def number(self, relative: str) -> int:
        """Return the number that a file holds.

        Raises
        ------
        UnreadableError
            If it cannot be read or holds no number.
        """
        text = self.text(relative)
        if not re.fullmatch(r"-?[0-9]{1,30}", text):
            raise UnreadableError(f"/{relative} holds {shown(text)}, which is no number")
        return int(text)

    def choice(self, relative: str) -> str:
        """Return what is chosen in a file that lists what may be.

        Raises
        ------
        UnreadableError
            If it cannot be read.
        """
        return chosen(self.text(relative))

    def names(self, relative: str) -> list[str]:
        """Return the names in a folder in their order; none where it is not there.

        Raises
        ------
        UnreadableError
            If it may not be read.
        """
        try:
            return sorted((each.name for each in self.path(relative).iterdir()), key=_by_number)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UnreadableError(f"/{relative}: {error.strerror}") from error

    def target(self, relative: str) -> str | None:
        """Return the last name that a link leads to; None where there is no link."""
        try:
            return self.path(relative).readlink().name
        except OSError:
            return None

    def run(self, words: Sequence[str], *, seconds: float = 10.0) -> Answer:
        """Run a program of the machine.

        Raises
        ------
        UnreadableError
            If it is not there, does not end in time, or is of another machine than this one.
        """
        if self._run is None:
            raise UnreadableError(
                f"{words[0]} would tell of this machine, not of the one below {self.root}"
            )
        return self._run(words, seconds)

    def clock_state(self) -> ClockState:
        """Return how its clock is kept.

        Raises
        ------
        UnreadableError
            If the system does not say, or it is of another machine than this one.
        """
        if self._clock is None:
            raise UnreadableError(f"the clock is this machine's, not of the one below {self.root}")
        return self._clock()


def chosen(text: str) -> str:
    r"""Return what is chosen of several values, or the value, its fields one space apart.

    Examples
    --------
    >>> chosen("always [madvise] never"), chosen("4096\t131072\t6291456")
    ('madvise', '4096 131072 6291456')
    """
    found = re.search(r"\[([^\]]+)\]", text)
    return found[1] if found else " ".join(text.split())


def shown(text: str) -> str:
    """Return the beginning of a text, in quotes.

    Examples
    --------
    >>> shown("a" * 80)[-5:]
    "aaa…'"
    """
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    """Order nvme2 before nvme10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts
    ], name


def _run(words: Sequence[str], seconds: float) -> Answer:
    program = shutil.which(words[0])
    if program is None:
        raise UnreadableError(f"the program {words[0]} is not there")
    try:
        ended = subprocess.run(  # noqa: S603 (the words are this package's)
            [program, *words[1:]],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableError(f"{' '.join(words)} says nothing for {seconds:g} s") from error
    except OSError as error:
        raise UnreadableError(f"{words[0]} cannot be run: {error.strerror}") from error
    return Answer(
        ended.returncode,
        ended.stdout.decode(errors="backslashreplace"),
        ended.stderr.decode(errors="backslashreplace"),
    )
