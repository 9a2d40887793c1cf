"""What workers note of an attempt at a unit, in the folder where its part is staged.

Dask computes a task anew whose result went away with the worker that held it.  By the notes an
attempt is made once all the same: what has come of it is there for whoever begins it again, and of
one that was begun, and has not ended, one knows which worker died under it.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.results.part import Part

WORKER_DIED = "the worker died while it was at this unit"
"""The error of a unit whose worker was lost."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A unit was computed, and its part lies in the staging folder."""

    part: Part
    """The part."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit could not be computed."""

    failure: Failure
    """Why."""


@dataclass(frozen=True, slots=True)
class NotBegun:
    """A unit was not begun, through no fault of its own."""

    reason: str
    """Why."""


@dataclass(frozen=True, slots=True)
class AttemptNotes:
    """The notes of one attempt; at most one of the two is there.

    Names that are used once are no `Path`: that interns them, and CPython 3.12 keeps them for ever.
    """

    begun: str
    """It is being made, or was until its worker died."""
    ended: str
    """It has ended, and this is what has come of it."""

    @classmethod
    def of(cls, unit: str, attempt: int, staging: Path) -> "AttemptNotes":
        """Return the notes of an attempt at a unit, by its identity."""
        name = f"{staging}/{unit}.{attempt}"
        return cls(f"{name}.begun", f"{name}.ended")

    @contextmanager
    def making(self, worker: str | None) -> Iterator["Making"]:
        """Make the attempt within the block, and end it with `Making.end`.

        An exception that is none of the unit's, such as the end of the worker, takes the note away.

        Raises
        ------
        FileExistsError
            If it is made elsewhere, or was when a worker died; or if it has ended.
        OSError
            If the folder cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        making = Making(self, os.open(self.begun, flags, 0o644))
        try:
            making.write(worker or "")
            # It may have ended between the look of whoever asks and now.
            if os.path.exists(self.ended):  # noqa: PTH110
                raise FileExistsError(self.ended)
            yield making
        finally:
            making.close()

    def worker(self) -> str | None:
        """Return the worker that is, or was when it died, at it; None if nobody is."""
        try:
            return _read(self.begun).partition("\n")[0]
        except OSError:
            return None

    def seconds(self) -> float | None:
        """Return for how long somebody has been at it, by the storage's clock; None if nobody is."""
        clock = Path(self.begun).with_name("clock")
        try:
            begun_at = os.stat(self.begun).st_mtime  # noqa: PTH116
            clock.touch()
            return clock.stat().st_mtime - begun_at
        except OSError:
            # Nor is that known of storage that cannot be written.
            return None

    def withdraw(self) -> None:
        """Let nobody begin it any more; whoever is at it may end it."""
        new = f"{self.ended}.new"
        # A folder that is gone, or full, keeps workers from beginning it, too.
        with contextlib.suppress(OSError):
            with open(new, "w") as file:  # noqa: PTH123
                file.write(f"\n{json.dumps(asdict(NotBegun('nobody wants it any more')))}\n")
            os.rename(new, self.ended)  # noqa: PTH104

    def outcome(self) -> Computed | Failed | NotBegun | None:
        """Return what has come of it; None if it has not ended."""
        try:
            noted = _read(self.ended).partition("\n")[2]
        except OSError:
            return None
        return _outcome(noted)

    def forget(self) -> None:
        """Take away what it has come to, once that is recorded elsewhere.

        Where that cannot be, as in a folder that is read-only, it goes with the folder.
        """
        with contextlib.suppress(OSError):
            _take_away(self.ended)


class Making:
    """An attempt while it is made."""

    def __init__(self, notes: AttemptNotes, descriptor: int) -> None:
        self._notes = notes
        self._descriptor = descriptor
        self._ended = False

    def write(self, text: str) -> None:
        """Add to the note."""
        os.write(self._descriptor, f"{text}\n".encode())

    def end(self, outcome: Computed | Failed) -> None:
        """Note what has come of it."""
        # Where that cannot be noted it is lost with this worker, and no sooner.
        with contextlib.suppress(OSError):
            self.write(json.dumps(asdict(outcome)))
            os.rename(self._notes.begun, self._notes.ended)  # noqa: PTH104
            self._ended = True

    def close(self) -> None:
        """Let go of the note, and of one that says nothing any more."""
        os.close(self._descriptor)
        if not self._ended:
            _take_away(self._notes.begun)


def _read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123
        return file.read()


def _take_away(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


def _outcome(noted: str) -> Computed | Failed | NotBegun:
    fields = json.loads(noted)
    if "reason" in fields:
        return NotBegun(fields["reason"])
    if "part" in fields:
        return Computed(Part(**fields["part"]), fields["seconds"])
    failure = fields["failure"]
    return Failed(Failure(**{**failure, "kind": FailureClass(failure["kind"])}))
