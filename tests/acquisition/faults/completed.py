"""What must come of it when the work of a killed writer is taken up again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acquisition.faults.checks import check_committed, check_sums, check_tidy, content_of
from tests.acquisition.faults.promises import Promises
from tests.acquisition.faults.recordings import FRAMES_PER_BLOCK, RUN, SMALL, go_on

from forebay.acquisition import RunWriter, open_run
from forebay.acquisition.errors import RunExistsError


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A run as it is when nobody was killed, or when it was taken up and given what it lacked."""

    counters: Sequence[int]
    """The counters of the frames that are brought to it."""
    counted: Sequence[int]
    """All counters that it accounts for."""
    content: Sequence[Sequence[object]]
    """What it consists of."""

    def check(self, disk: Path, promised: int) -> None:
        """Check that a killed recording has what it promised, and becomes such a run."""
        path, promises = disk / RUN, Promises(disk / "promises")
        if path.exists():
            check_committed(path, promised)
            take_up(disk, promises, self.counters)
        else:
            assert not promised, f"{promised} frames were promised, and there is no run"
            make(disk)
            take_up(disk, promises, self.counters)
        promises.close()
        # The same bytes, and documents that say what the log says: readers see the same.
        check_sums(path, self.counted)
        check_tidy(path)
        found = content_of(path)
        assert found == [tuple(each) for each in self.content], f"the run consists of {found}"


def take_up(disk: Path, promises: Promises, counters: Sequence[int]) -> None:
    """Resume a run and bring what it lacks; one that is closed already stays so."""
    closed = open_run(disk / RUN).closed
    try:
        go_on(disk, promises, counters=counters)
    except RunExistsError:
        assert closed, "a run that is open was refused"
    else:
        assert not closed, "a run that is closed was taken up"


def make(disk: Path) -> None:
    """Make a run without a frame."""
    RunWriter.create(disk / RUN, SMALL, frames_per_block=FRAMES_PER_BLOCK).abandon()
