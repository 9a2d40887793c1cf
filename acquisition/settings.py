"""How frames are recorded, as it stands in the configuration."""

from pydantic import BaseModel, ByteSize, ConfigDict, Field, PositiveInt, field_validator

from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.frames import Geometry


class AcquisitionSettings(BaseModel):
    """How frames are recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block_bytes: ByteSize = Field(
        default=ByteSize(64 * 2**20),
        description="Size of a block, before compression: as many frames as come nearest to it.",
    )
    frames_per_block: PositiveInt | None = Field(
        default=None,
        description="Frames in a block, whatever its size; chosen by block_bytes if not given.",
    )
    compression: CompressionName = Field(default="none", description="How the frames are packed.")
    buffer_bytes: ByteSize = Field(
        default=ByteSize(256 * 2**20),
        description="Size of the buffer for frames that wait to be recorded.",
    )

    @field_validator("block_bytes", "buffer_bytes")
    @classmethod
    def _some_bytes(cls, size: ByteSize) -> ByteSize:
        if size <= 0:
            raise ValueError("it needs more than 0 bytes")
        return size

    def frames_for(self, geometry: Geometry) -> int:
        """Return the number of frames in a block.

        Parameters
        ----------
        geometry
            Layout of the frames.

        Examples
        --------
        >>> import numpy as np
        >>> camera = Geometry(("y", "x"), (2048, 2048), np.dtype("uint16"))
        >>> AcquisitionSettings().frames_for(camera)
        8
        >>> AcquisitionSettings(frames_per_block=100).frames_for(camera)
        100
        """
        if self.frames_per_block is not None:
            return self.frames_per_block
        return max(1, round(self.block_bytes / geometry.frame_bytes))
