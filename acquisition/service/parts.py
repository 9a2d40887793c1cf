"""What an acquisition is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.acquisition.clock import Clock
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, FrameSource
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.flow import Gate, RingLevel
from forebay.acquisition.settings import AcquisitionSettings

if TYPE_CHECKING:
    from forebay.acquisition.reduction import OverloadSteps, ReductionChain


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an acquisition is made of."""

    source: FrameSource
    """Where the frames come from."""
    run: WritableRun
    """Where they go to."""
    ring: FrameRing
    """What is between them."""
    gate: Gate
    """What brings them into the ring."""
    level: RingLevel
    """How full the ring is."""
    settings: AcquisitionSettings
    """How they are recorded."""
    clock: Clock
    """Source of times."""
    own: FrameSlots | None
    """Memory for frames that do not stay in the ring until they are committed."""
    reduction: "ReductionChain | None"
    """What makes the recorded frames, if they are not those that came."""
    overload: "OverloadSteps | None"
    """What is done to them besides when they are too many."""
    raw: WritableRun | None
    """Where some of them go to as they came."""
    expected: int | None = None
    """How many will come, where that is known."""
    raw_own: FrameSlots | None = None
    """Memory for those until they are committed."""
    spill: SpillQueue | None = None
    """Where they go when the disk is too slow."""
    journal: FrameJournal | None = None
    """Where they are safe before their block is."""
    recovered: Iterable[Frame | Dropped] = ()
    """What an earlier writer had not committed."""
    following: int | None = None
    """Lowest counter that the camera's frames can have in the run; None in a new one."""
    lost_from: int | None = None
    """Lowest counter of which no earlier writer has left anything; None in a new run."""
    left: tuple[Path, ...] = ()
    """Where it had spilled to, if that is not taken over as it is."""
