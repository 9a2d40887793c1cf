"""How frames are recorded, as it stands in the configuration."""

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction import ReductionSettings
from forebay.acquisition.ring.ring import slots_in
from forebay.acquisition.service.flow import HIGHEST_PRIORITY, OverloadPolicy
from forebay.acquisition.service.scheduling import SchedulingSettings

_MOST_IN_BLOCK = 16_384
"""Frames of which a block has an index entry each: of tiny ones, more cost more than they hold."""
_BLOCKS_IN_RING = 6
"""Enough to fill, write and flush at a time what a fast disk takes."""


class AcquisitionSettings(BaseModel):
    """How frames are recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block_bytes: ByteSize = Field(
        default=ByteSize(64 * 2**20),
        description="Size of a block, before compression: as many frames as come nearest to it.",
    )
    block_seconds: PositiveFloat = Field(
        default=5.0,
        description="Most time that a block spans at the camera's frame rate, if that is known.",
    )
    frames_per_block: PositiveInt | None = Field(
        default=None,
        description="Frames in a block; chosen by block_bytes and block_seconds if not given.",
    )
    compression: CompressionName = Field(default="none", description="How the frames are packed.")
    buffer_bytes: ByteSize = Field(
        default=ByteSize(512 * 2**20),
        description="Most memory for frames that wait to be recorded; as much as the blocks in "
        "flight need until they are durable, six at the most, and one more, is taken in any case; where "
        "frames are reduced, which copies them, as much as one block.",
    )
    buffer_seconds: PositiveFloat | None = Field(
        default=None,
        description="Time that the buffer bridges at the camera's frame rate, if it is known and "
        "buffer_bytes suffice for it.",
    )
    blocks_in_flight: int = Field(
        default=10,
        ge=2,
        le=64,
        description="Blocks that are not committed, the one that is being filled included.",
    )
    direct_io: bool = Field(
        default=True,
        description="Whether frames are written past the page cache.",
    )
    show_seconds: NonNegativeFloat = Field(
        default=1.0,
        description="Most time until readers that know only Zarr see what is committed.",
    )
    overload: OverloadPolicy | None = Field(
        default=None,
        description="What to do when frames come faster than they can be recorded; 'block' for "
        "sources that can wait and 'drop-newest' for others if not given.",
    )
    high_watermark: float = Field(
        default=0.8, gt=0, le=1, description="Fill of the buffer at which overload begins."
    )
    low_watermark: float = Field(
        default=0.5, gt=0, le=1, description="Fill of the buffer at which overload ends."
    )
    keep_every: int = Field(
        default=2, ge=2, description="With overload = 'decimate': which frames are kept."
    )

    priority: int = Field(
        default=0,
        ge=0,
        le=HIGHEST_PRIORITY,
        description="Which recordings of this user come first while their disk is too slow for all: "
        "those of a higher number. The others begin no block meanwhile, so that it is their frames "
        "that are dropped, spilled or reduced, each by its own overload.",
    )
    spill: Path | None = Field(
        default=None,
        description="With overload = 'spill': a folder on another disk for frames that the first "
        "one cannot take; they are merged back in order.",
    )
    spill_bytes: ByteSize = Field(
        default=ByteSize(64 * 2**30), description="Most room that spilled frames take."
    )
    durability: Literal["block", "frame"] = Field(
        default="block",
        description="What is safe from a power cut: whole blocks, or each frame, which is written "
        "to a journal first.",
    )
    journal_seconds: PositiveFloat = Field(
        default=0.02,
        description="With durability = 'frame': time after which a frame is safe.",
    )
    reduction: ReductionSettings = Field(
        default=ReductionSettings(), description="How frames are reduced before they are recorded."
    )
    scheduling: SchedulingSettings = Field(
        default=SchedulingSettings(), description="How the threads are scheduled."
    )
    counter_bits: int | None = Field(
        default=None,
        ge=8,
        le=64,
        description="Width of the camera's counter; a wrap at 16 or 32 bits is recognised if not "
        "given.",
    )
    stall_seconds: PositiveFloat | None = Field(
        default=None,
        description="Time without a frame after which the source is said to have stalled; ten "
        "frames, and 5 s at the least, if not given.",
    )

    @field_validator("block_bytes", "buffer_bytes", "spill_bytes")
    @classmethod
    def _some_bytes(cls, size: ByteSize) -> ByteSize:
        if size <= 0:
            raise ValueError("it needs more than 0 bytes")
        return size

    @model_validator(mode="after")
    def _marks_in_order(self) -> Self:
        if self.low_watermark > self.high_watermark:
            raise ValueError(
                f"low_watermark is {self.low_watermark:g} and above high_watermark, "
                f"{self.high_watermark:g}: give a lower one"
            )
        return self

    @model_validator(mode="after")
    def _policy_has_what_it_needs(self) -> Self:
        if self.overload == "spill" and self.spill is None:
            raise ValueError("overload = 'spill' needs the folder 'spill', on another disk")
        if self.overload == "reduce" and not self.reduction.overload_steps:
            raise ValueError(
                "overload = 'reduce' needs reduction.overload_steps, such as ['bit-depth:10']"
            )
        return self

    def frames_for(self, geometry: Geometry, *, frame_rate: float | None = None) -> int:
        """Return the number of frames in a block.

        Parameters
        ----------
        geometry
            Layout of the frames.
        frame_rate
            Frames per second, where that is known.

        Examples
        --------
        >>> import numpy as np
        >>> camera = Geometry(("y", "x"), (2048, 2048), np.dtype("uint16"))
        >>> AcquisitionSettings().frames_for(camera)
        8
        >>> AcquisitionSettings().frames_for(camera, frame_rate=0.5)
        2
        >>> AcquisitionSettings(frames_per_block=100).frames_for(camera)
        100
        """
        if self.frames_per_block is not None:
            return self.frames_per_block
        frames = min(_MOST_IN_BLOCK, round(self.block_bytes / geometry.frame_bytes))
        if frame_rate is not None:
            frames = min(frames, int(self.block_seconds * frame_rate))
        return max(1, frames)

    def slots_for(self, geometry: Geometry, *, held: int, frame_rate: float | None) -> int:
        """Return the number of frames that the buffer holds.

        Parameters
        ----------
        geometry
            Layout of the frames.
        held
            Frames that lie there until they are durable, for which there is room in any case.
        frame_rate
            Frames per second, where that is known.

        Examples
        --------
        >>> import numpy as np
        >>> camera = Geometry(("y", "x"), (2048, 2048), np.dtype("uint16"))
        >>> AcquisitionSettings().slots_for(camera, held=48, frame_rate=50)
        64
        >>> AcquisitionSettings(buffer_seconds=0.8).slots_for(camera, held=48, frame_rate=50)
        48
        """
        slots = slots_in(geometry, capacity_bytes=self.buffer_bytes)
        if self.buffer_seconds is not None and frame_rate is not None:
            slots = min(slots, math.ceil(self.buffer_seconds * frame_rate))
        return max(slots, held)

    @property
    def blocks_in_ring(self) -> int:
        """How many blocks in flight are to lie in the ring: those that are not durable yet."""
        return min(self.blocks_in_flight, _BLOCKS_IN_RING)
