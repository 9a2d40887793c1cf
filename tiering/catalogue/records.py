"""What the catalogue says of runs, their copies, and moves."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from forebay.tiering.reading import signpost
from forebay.tiering.reading.block_volumes import blocks_of_volume, run_of_volume, volume_signpost


class Kind(StrEnum):
    """What is moved as one."""

    RAW = "raw"
    """A run as it was recorded."""
    RESULT = "result"
    """A volume: parts of a result that were published when it was taken in."""
    BLOCKS = "blocks"
    """A volume: blocks of a run that follow each other, taken in while the run was open."""


class ShelfState(StrEnum):
    """How far a copy has come."""

    STAGING = "staging"
    """It is being made; nobody reads it."""
    AVAILABLE = "available"
    """It is whole, and readers are sent there."""
    DRAINING = "draining"
    """It is whole and still read, and will go when its grace is over."""
    DELETING = "deleting"
    """Its objects are being deleted; nobody is sent there any more."""
    DELETED = "deleted"
    """Nothing of it is left; at home, only the run's log and the signpost."""


class MoveState(StrEnum):
    """How far a move has come; each state says what is done, durably, already."""

    PLANNED = "planned"
    """It was asked for."""
    COPYING = "copying"
    """There is a shelf for it, and room is reserved."""
    COPIED = "copied"
    """Every object has been put there and made durable."""
    VERIFIED = "verified"
    """Every object was read back from there and is what was committed."""
    PUBLISHED = "published"
    """In the catalogue, the new copy is one to read from, and the old one drains."""
    GRACE = "grace"
    """Readers are sent to the new copy; those at the old one may finish."""
    DELETING = "deleting"
    """The old copy is going; there is no way back."""
    DONE = "done"
    """The old copy is gone, or was to be kept."""
    FAILED = "failed"
    """It was given up; the run lies where it lay."""
    CANCELLED = "cancelled"
    """It was called off before anything was published."""

    @property
    def over(self) -> bool:
        """Whether nothing more is done."""
        return self in {MoveState.DONE, MoveState.FAILED, MoveState.CANCELLED}


READABLE = (ShelfState.AVAILABLE, ShelfState.DRAINING)
"""Copies that readers are sent to."""
TAKING_ROOM = (
    ShelfState.STAGING,
    ShelfState.AVAILABLE,
    ShelfState.DRAINING,
    ShelfState.DELETING,
)
"""Copies that take room in their tier, or have it reserved."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, or a volume of a run or of a result, as the catalogue knows it."""

    run_id: str
    """Its identity: a UUID, and for a volume of a run its blocks."""
    name: str
    """Its name in the folder of the runs, or that of the result in the folder of the results."""
    home: str
    """The folder that it was recorded in, or its URL in a bucket; or the folder of the result."""
    bytes: int
    """Length of all its objects."""
    objects: int
    """Number of its objects."""
    closed_at: int
    """When it was closed, the last part published, or the last block taken, in nanoseconds since
    1970-01-01 UTC."""
    read_at: int
    """When it was last opened, as far as is known."""
    kind: Kind = Kind.RAW
    """Whether it is a run or a volume."""

    @property
    def shown(self) -> str:
        """Its name, for people."""
        if self.kind is not Kind.BLOCKS:
            return self.name
        blocks = blocks_of_volume(self.run_id)
        return f"{self.name} (blocks {blocks.start} to {blocks.stop - 1})"

    @property
    def recorded_as(self) -> str | None:
        """Identity of the run that was recorded at its home; None of a result."""
        if self.kind is Kind.RESULT:
            return None
        return self.run_id if self.kind is Kind.RAW else run_of_volume(self.run_id)

    @property
    def location(self) -> Path | str:
        """Its home: a folder, or a URL."""
        return self.home if "://" in self.home else Path(self.home)

    @property
    def signpost(self) -> str:
        """The key, at its home, of what tells readers where its copies lie."""
        if self.kind is Kind.RAW:
            return signpost.SIGNPOST
        if self.kind is Kind.BLOCKS:
            return volume_signpost(blocks_of_volume(self.run_id))
        return signpost.of_volume(self.run_id)

    @property
    def lock(self) -> str:
        """The key, in its folder, of what is locked by who changes something there."""
        return signpost.RESULT_LOCK if self.kind is Kind.RESULT else signpost.HOME_LOCK


@dataclass(frozen=True, slots=True)
class ShelfRecord:
    """One copy of a run."""

    shelf: str
    """Identity of the copy, never used again."""
    run_id: str
    """The run."""
    tier: str
    """Name of its tier."""
    path: str
    """Where it lies within the tier."""
    home: bool
    """Whether it is the place that the run was recorded in."""
    state: ShelfState
    """How far it has come."""
    bytes: int
    """Room that it takes or will take."""
    verified_at: int | None
    """When all of it was last read back and compared."""
    drain_until: int | None
    """When its grace ends."""


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """A move of a run into a tier."""

    move: int
    """Its number."""
    run_id: str
    """The run."""
    source: str
    """The copy that it is made from."""
    tier: str
    """The tier that it goes to."""
    target: str | None
    """The new copy, once it has begun."""
    keep: bool
    """Whether the copy that it is made from stays."""
    state: MoveState
    """How far it has come."""
    why: str
    """The policy that wanted it, or who asked for it."""
    epoch: int
    """The attempt that may write."""
    holder: str | None
    """Who is at it."""
    lease_until: int | None
    """When another one may go on, if that one says nothing more."""
    attempts: int
    """Attempts that failed in a row."""
    not_before: int | None
    """When it goes on."""
    error: str | None
    """Why it does not go on."""
    created_at: int
    """When it was asked for."""
    ended_at: int | None
    """When it was over."""


@dataclass(frozen=True, slots=True)
class Protection:
    """Something that keeps a run, or its copy in one tier."""

    protection: int
    """Its number."""
    run_id: str
    """The run."""
    kind: str
    """``pin``: its copy in a tier stays; ``hold``: every copy stays, until the hold is ended."""
    tier: str | None
    """Of a pin, the tier."""
    owner: str
    """Who wants it."""
    reason: str
    """What for."""
    until: int | None
    """When it ends by itself, in nanoseconds since 1970-01-01 UTC."""
