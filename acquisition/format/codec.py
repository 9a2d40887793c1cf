"""How the bytes of one frame are packed, and checked by CRC-32C."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import crc32c as _crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import RunDamagedError

type CompressionName = Literal["none", "blosc-lz4", "blosc-zstd", "zstd"]

CRC_BYTES = 4

WORTH_OTHER_THREADS = 2**19
"""Bytes from which on other threads run meanwhile.

With less to do it takes longer to get the interpreter's lock back than to be done.
"""

_ZSTD_LEVEL = 1
_BLOSC_LEVEL = 5


@dataclass(frozen=True, slots=True)
class Compression:
    """The compression of a run's frames, by name."""

    name: CompressionName = "none"
    """``none``, ``zstd``, or Blosc with bit shuffle over ``lz4`` or ``zstd``."""

    def __post_init__(self) -> None:
        if self.name not in (allowed := get_args(CompressionName.__value__)):
            raise ValueError(f"compression {self.name!r} is not one of {', '.join(allowed)}")

    def zarr_codecs(self, dtype: np.dtype[Any]) -> list[dict[str, Any]]:
        """Return the Zarr v3 codecs that undo this compression."""
        if self.name == "none":
            return []
        if self.name == "zstd":
            return [{"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}}]
        configuration = {
            "cname": self.name.removeprefix("blosc-"),
            "clevel": _BLOSC_LEVEL,
            "shuffle": "bitshuffle",
            "typesize": dtype.itemsize,
            "blocksize": 0,
        }
        return [{"name": "blosc", "configuration": configuration}]

    def _codec(self, dtype: np.dtype[Any]) -> Any:
        if self.name == "zstd":
            return numcodecs.Zstd(level=_ZSTD_LEVEL)
        return numcodecs.Blosc(
            cname=self.name.removeprefix("blosc-"),
            clevel=_BLOSC_LEVEL,
            shuffle=numcodecs.Blosc.BITSHUFFLE,
            typesize=dtype.itemsize,
        )

    def pack(self, frame: npt.NDArray[Any]) -> memoryview:
        """Return the stored bytes of a frame, without their checksum."""
        little = np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("<"))
        if self.name == "none":
            return memoryview(little.reshape(-1).view(np.uint8))
        return memoryview(self._codec(frame.dtype).encode(little)).cast("B")

    def unpack(self, stored: memoryview, out: npt.NDArray[Any]) -> None:
        """Fill `out`, a frame, from its stored bytes.

        Raises
        ------
        ValueError
            If the bytes are not those of such a frame.
        """
        little = out.dtype.newbyteorder("<")
        raw = stored if self.name == "none" else self._codec(out.dtype).decode(stored)
        out[...] = np.frombuffer(raw, dtype=little).reshape(out.shape)


def crc32c(data: memoryview | bytes, before: bytes = bytes(CRC_BYTES)) -> bytes:
    """Return the CRC-32C (RFC 3720, B.4) of `data`, little endian, as Zarr's codec stores it.

    With the checksum of what lies `before` it, that of both together.
    """
    release = 1 if len(data) >= WORTH_OTHER_THREADS else 0
    value = _crc32c.crc32c(data, int.from_bytes(before, "little"), gil_release_mode=release)
    return int(value).to_bytes(CRC_BYTES, "little")


def checked(stored: memoryview, *, what: str) -> memoryview:
    """Return `stored` without the CRC-32C at its end, which must be right.

    Raises
    ------
    RunDamagedError
        If the checksum is not that of the bytes before it.
    """
    data, checksum = stored[:-CRC_BYTES], stored[-CRC_BYTES:]
    if len(stored) < CRC_BYTES or crc32c(data) != checksum:
        raise RunDamagedError(f"{what}: the checksum is wrong; the stored bytes have changed")
    return data
