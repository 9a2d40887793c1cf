"""How an acquisition is doing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

type SourceState = Literal["waiting", "delivering", "stalled", "ended"]
"""What a source does; it waits where the acquisition is armed."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AcquisitionStatus:
    """How an acquisition is doing."""

    run: str
    """Folder of the run."""
    run_id: str
    """Identity of the run."""
    committed: int
    """Frames that are committed."""
    dropped: int
    """Frames that are dropped, and written down."""
    counted: int
    """Frames that the camera counted: those committed, those dropped and those on their way."""
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Dropped frames by the reason."""
    bytes: int
    """Bytes of the committed frames, as they are read."""
    stored_bytes: int
    """Bytes of the committed blocks, as they are stored."""
    received_bytes: int
    """Bytes of the frames that came, before any reduction."""
    received_per_second: float
    """Rate at which frames came, from the first to the last; 0 until there are two."""
    seconds: float
    """Time since the start."""
    frames_per_second: float
    """Rate at which frames are committed, over the last seconds."""
    bytes_per_second: float
    """Rate at which bytes are stored, over the last seconds."""
    ring_depth: int
    """Frames in the ring."""
    ring_highest: int
    """The most frames that were in the ring at a time."""
    ring_slots: int
    """Frames that the ring holds."""
    flow: str
    """How frames get through: ``normal``, ``holding``, ``spilling``, ``reducing``, ``giving way``,
    ``dropping``, ``storage stalled``, ``waiting for space`` or ``waiting for the storage``."""
    spilled_frames: int
    """Frames that lie on the second path."""
    disk_free_bytes: int | None
    """Room on the storage; None where it is not known."""
    seconds_left: float | None
    """Time until it is full at this rate; None where that is not known."""
    bytes_to_come: int | None = None
    """What the frames that are still to come will take; None where that is not known."""
    latency_seconds: Mapping[str, float] = field(default_factory=dict)
    """From a frame's arrival to its commit: ``median``, ``p99``, ``p999`` and ``max``."""
    receive_seconds: Mapping[str, float] = field(default_factory=dict)
    """From the source to the ring: ``median``, ``p99``, ``p999`` and ``max``."""
    anomalies: Mapping[str, int] = field(default_factory=dict)
    """What was unusual about the source: how often, by kind."""
    source_state: SourceState = "delivering"
    """What the source does."""
    warnings: tuple[str, ...] = ()
    """What the operator should know: permissions that are lacking, a disk that fills."""

    def __repr__(self) -> str:
        """Say how far it is, with the sum that always agrees."""
        waiting = self.counted - self.committed - self.dropped
        on_their_way = f" + {waiting} on their way" if waiting else ""
        return (
            f"<AcquisitionStatus {self.run!r}: {self.committed} committed + {self.dropped} "
            f"dropped{on_their_way} = {self.counted} counted, {self.source_state}, {self.flow}>"
        )
