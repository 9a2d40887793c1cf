"""How far a run has come: its frames, its counters, and where its log stands."""

from dataclasses import dataclass
from typing import Self

from forebay.acquisition.format.history import CHAIN_START, History
from forebay.acquisition.format.record import Block


@dataclass(slots=True)
class Position:
    """How far a run has come; a writer keeps no more of it, however long it runs."""

    epoch: int = 1
    """The writer's number."""
    blocks: int = 0
    """Committed blocks."""
    frames: int = 0
    """Committed frames."""
    dropped: int = 0
    """Frames that were dropped."""
    first_counter: int | None = None
    """The camera's counter at the first frame."""
    next_counter: int | None = None
    """The lowest counter that has not been seen."""
    digest: str = CHAIN_START
    """Digest of the log's last line."""

    @classmethod
    def after(cls, history: History) -> Self:
        """Return where the next writer of a run begins."""
        last = history.blocks[-1] if history.blocks else None
        return cls(
            epoch=history.epoch + 1,
            blocks=len(history.blocks),
            frames=history.frames,
            dropped=sum(each.count for each in history.dropped),
            first_counter=history.first_counter,
            next_counter=last.frame_ids[1] + 1 if last else history.first_counter,
            digest=history.last_digest,
        )

    @property
    def counted(self) -> int:
        """Number of frames that the camera counted, from the first one seen."""
        if self.first_counter is None or self.next_counter is None:
            return 0
        return self.next_counter - self.first_counter

    def add(self, block: Block) -> None:
        """Move on behind a committed block."""
        self.blocks += 1
        self.frames = block.extent.stop
