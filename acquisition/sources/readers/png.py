"""One PNG file as pixels."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import reading, shown
from forebay.acquisition.sources.readers.colour import transparent

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


def read_png(path: Path, what: object) -> npt.NDArray[Any]:
    """Return the samples of a PNG: (y, x), or (y, x, sample) where it has colour or alpha.

    The checksum of every part is compared, which Pillow leaves out.  A palette is resolved into
    the colours that it stands for.

    Raises
    ------
    SourceError
        If the file cannot be read, is cut off or damaged, or holds pixels that Pillow would change.
    """
    with reading(what):
        content = path.read_bytes()
        depth, colour = _check(content)
        if depth != 8 and not (depth == 16 and colour == _GREY) and colour != _PALETTE:
            raise SourceError(
                f"{shown(what)} has {depth} bits in a sample"
                f"{' of a colour' if colour != _GREY else ''}, which would be changed in reading; "
                "save it as grey of 8 or 16 bits, as colour of 8 bits, or as TIFF"
            )
        try:
            image = Image.open(io.BytesIO(content), formats=["PNG"])
        except Image.DecompressionBombError as error:
            raise SourceError(
                f"{shown(what)} is larger than Pillow decodes; save it as TIFF"
            ) from error
        with image:
            if getattr(image, "n_frames", 1) > 1:
                raise SourceError(
                    f"{shown(what)} is an animation; save its images as files of their own"
                )
            key = image.info.get("transparency")
            resolved = image.convert("RGBA") if image.mode == "P" else image
            samples = np.array(resolved)
    if key is not None and colour != _PALETTE:
        matches = samples == np.asarray(key, samples.dtype)
        if bool((matches if samples.ndim == 2 else matches.all(axis=2)).any()):
            raise transparent(what)
    return samples


def _check(content: bytes) -> tuple[int, int]:
    """Compare the checksums of a PNG; return its bits in a sample and its colour type."""
    if not content.startswith(_SIGNATURE):
        raise ValueError("it is not a PNG file")
    view = memoryview(content)
    at, kind, header = len(_SIGNATURE), b"", b""
    while kind != b"IEND":
        if at + 12 > len(view):
            raise ValueError("the file is cut off")
        (length,) = struct.unpack_from(">I", view, at)
        end = at + 8 + length
        if end + 4 > len(view):
            raise ValueError("the file is cut off")
        kind = bytes(view[at + 4 : at + 8])
        header = header or bytes(view[at + 8 : end])
        if struct.unpack_from(">I", view, end)[0] != zlib.crc32(view[at + 4 : end]):
            raise ValueError(f"the checksum of its part {kind!r} is wrong")
        at = end + 4
    if len(header) < 10:
        raise ValueError("its header is too short")
    return header[8], header[9]
