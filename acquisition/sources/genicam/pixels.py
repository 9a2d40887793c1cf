"""Pixel formats of monochrome cameras, and how packed ones are unpacked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError

type _Bytes = npt.NDArray[np.uint8]
type _Pixels = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of an image lie in the bytes that a camera sends."""

    name: str
    """Its name in the GenICam Pixel Format Naming Convention."""
    code: int
    """Its number there."""
    bits: int
    """Bits of a pixel that carry light."""
    dtype: np.dtype[Any]
    """Type of an unpacked pixel."""
    group: tuple[int, int] = (1, 1)
    """So many pixels in so many bytes, where they are packed."""
    unpack: Callable[[_Bytes, _Pixels], None] | None = None
    """Unpacks whole groups; None where pixels lie one by one."""


class ImageReader:
    """Makes the bytes of an image into pixels.

    Parameters
    ----------
    form
        How the pixels lie in the bytes.
    height, width
        Size of the image in pixels.

    Raises
    ------
    SourceError
        If the pixels are packed and do not fill their last group.

    Examples
    --------
    >>> reader = ImageReader(FORMATS[0x01100007], 1, 2)
    >>> reader.read(np.array([1, 0, 2, 1], np.uint8))
    array([[  1, 258]], dtype=uint16)
    """

    def __init__(self, form: PixelFormat, height: int, width: int) -> None:
        pixels, size = form.group
        if height * width % pixels:
            raise SourceError(
                f"{height} × {width} pixels in the format {form.name} leave a group of {pixels} "
                f"unfilled; choose a width that is a multiple of {pixels}, or an unpacked format"
            )
        packed = form.unpack is not None
        self.image_bytes = (
            height * width // pixels * size if packed else (height * width * form.dtype.itemsize)
        )
        """Bytes of an image as it is sent."""
        self.shape = (height, width)
        """Shape of an image."""
        self.dtype = form.dtype
        """Type of a pixel."""
        self._unpack = form.unpack
        self._unpacked = np.empty(height * width if packed else 0, form.dtype)

    def read(self, data: _Bytes) -> npt.NDArray[Any]:
        """Return an image, which cannot be written to.

        It lies in the memory that is given, or, where it was packed, in the one that the image
        before lay in.
        """
        pixels = data[: self.image_bytes]
        if self._unpack is None:
            pixels = pixels.view(self.dtype)
        else:
            self._unpack(pixels, self._unpacked)
            pixels = self._unpacked.view()
        pixels = pixels.reshape(self.shape)
        pixels.flags.writeable = False
        return pixels


def _unpack_10_of_pairs(packed: _Bytes, pixels: _Pixels) -> None:
    """Unpack ``Mono10Packed``: high bits of the first, low bits of both, high bits of the second.

    Examples
    --------
    >>> pixels = np.empty(2, np.uint16)
    >>> _unpack_10_of_pairs(np.array([0xFF, 0x21, 0x80], np.uint8), pixels)
    >>> [int(pixel) for pixel in pixels]
    [1021, 514]
    """
    _unpack_pairs(packed, pixels, bits=10)


def _unpack_12_of_pairs(packed: _Bytes, pixels: _Pixels) -> None:
    """Unpack ``Mono12Packed``, as ``Mono10Packed`` but with two more low bits each."""
    _unpack_pairs(packed, pixels, bits=12)


def _unpack_pairs(packed: _Bytes, pixels: _Pixels, *, bits: int) -> None:
    first, low, second = packed.reshape(-1, 3).T
    mask = (1 << (bits - 8)) - 1
    for place, high, shift in ((0, first, 0), (1, second, 4)):
        out = pixels[place::2]
        np.left_shift(high, bits - 8, out=out, dtype=np.uint16)
        np.bitwise_or(out, low >> shift & mask, out=out)


def _unpack_10_in_row(packed: _Bytes, pixels: _Pixels) -> None:
    """Unpack ``Mono10p``: a row of bits, the lowest first, four pixels in five bytes."""
    _unpack_row(packed.reshape(-1, 5), pixels, bits=10)


def _unpack_12_in_row(packed: _Bytes, pixels: _Pixels) -> None:
    """Unpack ``Mono12p``: a row of bits, the lowest first, two pixels in three bytes."""
    _unpack_row(packed.reshape(-1, 3), pixels, bits=12)


def _unpack_row(groups: _Bytes, pixels: _Pixels, *, bits: int) -> None:
    count = groups.shape[1] * 8 // bits
    mask = (1 << bits) - 1
    for place in range(count):
        byte, shift = divmod(place * bits, 8)
        out = pixels[place::count]
        np.left_shift(groups[:, byte + 1], 8 - shift, out=out, dtype=np.uint16)
        np.bitwise_or(out, groups[:, byte] >> shift, out=out)
        np.bitwise_and(out, mask, out=out)


_WIDE = np.dtype(np.uint16)

FORMATS: Final[Mapping[int, PixelFormat]] = {
    form.code: form
    for form in (
        PixelFormat("Mono8", 0x01080001, 8, np.dtype(np.uint8)),
        PixelFormat("Mono10", 0x01100003, 10, _WIDE),
        PixelFormat("Mono12", 0x01100005, 12, _WIDE),
        PixelFormat("Mono14", 0x01100025, 14, _WIDE),
        PixelFormat("Mono16", 0x01100007, 16, _WIDE),
        PixelFormat("Mono10Packed", 0x010C0004, 10, _WIDE, (2, 3), _unpack_10_of_pairs),
        PixelFormat("Mono12Packed", 0x010C0006, 12, _WIDE, (2, 3), _unpack_12_of_pairs),
        PixelFormat("Mono10p", 0x010A0046, 10, _WIDE, (4, 5), _unpack_10_in_row),
        PixelFormat("Mono12p", 0x010C0047, 12, _WIDE, (2, 3), _unpack_12_in_row),
    )
}
"""The formats that are read, by their numbers."""


def pixel_format(code: int, name: str) -> PixelFormat:
    """Return the pixel format of a number.

    Raises
    ------
    SourceError
        If it is not one that is read.

    Examples
    --------
    >>> pixel_format(0x01080001, "Mono8").dtype
    dtype('uint8')
    """
    if code in FORMATS:
        return FORMATS[code]
    known = ", ".join(form.name for form in FORMATS.values())
    raise SourceError(
        f"the pixel format {name} (0x{code:08x}) is not read; give PixelFormat=… with one of "
        f"{known} that the camera has"
    )
