"""Frames in one TIFF file: pages, an ImageJ or OME stack, or colour images."""

import dataclasses
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.messages import UNREADABLE, reading, shown
from forebay.acquisition.sources.readers.colour import Colour
from forebay.acquisition.sources.readers.reader import COLOURS, geometry_of, native
from forebay.acquisition.sources.readers.tiff_chain import read_chain
from forebay.acquisition.sources.readers.tiff_metadata import tiff_metadata

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")

# What tifffile has to say of a damaged file is in the error; it is logged for those who listen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PLAIN = ("shaped", "uniform", "generic")


class TiffReader:
    """Frames in the order of the file, read one at a time.

    A stack with an axis of channels gives frames (c, y, x); every other axis before the image's
    own (time, depth, position) goes along the frames, the last fastest.  Pixels are taken as
    stored: an index into a colour table stays an index, and "white is zero" is not inverted.  A
    file that was cut off gives the frames that can still be reached, and after them an error.

    Parameters
    ----------
    path
        The file.
    colour
        How to lay out colour, where several files are one recording.

    Raises
    ------
    SourceError
        If it is no TIFF file, holds several images, or its axes are not clear.
    """

    def __init__(self, path: Path, colour: Colour | None = None) -> None:
        self._path = path
        self._colour = colour or Colour()
        with reading(path, "check that it is a whole TIFF file, or copy it again"):
            self._tif = tifffile.TiffFile(path)
        try:
            with reading(path):
                self._stack = self._plan()
                self._metadata = tiff_metadata(self._tif)
            self._first: npt.NDArray[Any] | None = None
            self._first = self.read(0)
            self._geometry = geometry_of(self._first, self.name(0))
            self._metadata = self._with_channels(self._metadata)
        except BaseException:
            self._tif.close()
            raise

    @property
    def geometry(self) -> Geometry:
        """The layout of the first frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the file says of the instrument."""
        return self._metadata

    def __len__(self) -> int:
        """Count the frames; where the file was cut off, those in reach and one that is not."""
        return self._stack.frames + self._stack.cut

    def read(self, index: int) -> npt.NDArray[Any]:
        """Decode a frame; the first one is decoded when the file is opened."""
        what = self.name(index)
        if index == 0 and self._first is not None:
            first, self._first = self._first, None
            return first
        with reading(what):
            if index >= self._stack.frames:
                raise ValueError("the file is cut off before it")
            planes = [self._plane(int(p)) for p in self._stack.planes[index]]
            native(planes[0].dtype, what)
            if self._stack.channels:
                return np.stack(planes)
            return self._colour.lay_out(planes[0], what)

    def name(self, index: int) -> str:
        """Return the frame's number and file."""
        return f"frame {index} of {shown(self._path)}"

    def close(self) -> None:
        """Close the file."""
        self._tif.close()

    def _plan(self) -> "_Stack":
        """Find out which planes make up a frame and where they are."""
        chain = read_chain(self._path)
        if chain is not None and chain.cut:
            return self._plan_of_rest(chain.pages)
        count, series = len(self._tif.pages), self._tif.series
        if not count or not series:
            raise ValueError("it has no page")
        image = series[0]
        if len(series) > 1:
            if all(one.kind in _PLAIN for one in series):
                return _Stack.of_pages(count)
            raise SourceError(
                f"{shown(self._path)} holds {len(series)} images of different kinds; save the one "
                "that is wanted as a file of its own"
            )
        stack = _Stack.of_axes(image.axes, image.shape, shown(self._path))
        if image.dataoffset is not None and image.is_truncated:
            return dataclasses.replace(stack, offset=image.dataoffset)
        if stack.planes.size != count or len(image.pages) != count:
            raise SourceError(
                f"{shown(self._path)} has {count} pages for {stack.planes.size} planes; "
                "save it with one page for each plane"
            )
        return stack

    def _plan_of_rest(self, pages: int) -> "_Stack":
        """Find out what is in reach in a file that was cut off behind so many pages."""
        if not pages:
            raise ValueError("the file is cut off before its first page ends")
        try:
            image = self._tif.series[0]
        except UNREADABLE:
            image = None  # the pages tell enough
        if image is not None and image.dataoffset is not None and image.is_truncated:
            # The planes lie one after another; their pages were to follow behind all of them.
            stack = _Stack.of_axes(image.axes, image.shape, shown(self._path))
            return dataclasses.replace(stack, offset=image.dataoffset)
        if self._has_channels():
            raise SourceError(
                f"{shown(self._path)} is cut off and its channels can no longer be told "
                "apart; copy the file again"
            )
        return _Stack.of_pages(pages, cut=True)

    def _has_channels(self) -> bool:
        """Tell whether the first page says, or may say, that planes are channels."""
        first = self._tif.pages.first
        shaped = json.loads(first.shaped_description or "{}")
        channels = (self._tif.imagej_metadata or {}).get("channels", 1)
        return first.is_ome or "C" in str(shaped.get("axes", "")) or int(channels) > 1

    def _plane(self, index: int) -> npt.NDArray[Any]:
        """Decode a plane: (y, x), or (y, x, sample)."""
        if self._stack.offset is not None:
            page = self._tif.pages.first
            if page.dtype is None:
                raise ValueError("its pixels are of no known type")
            self._tif.filehandle.seek(self._stack.offset + index * page.nbytes)
            dtype = np.dtype(self._tif.byteorder + page.dtype.char)
            raw = self._tif.filehandle.read(page.nbytes)
            if len(raw) < page.nbytes:
                raise ValueError("the file is cut off within it")
            samples = np.frombuffer(raw, dtype).reshape(page.shape).astype(page.dtype)
            axes = page.axes
        else:
            part = self._tif.pages[index]
            if not part.dataoffsets or 0 in part.databytecounts:
                raise ValueError("a part of its pixels was never written")
            ends = map(sum, zip(part.dataoffsets, part.databytecounts, strict=True))
            if max(ends) > self._tif.filehandle.size:
                # tifffile fills up some of what is missing, in tiles for example
                raise ValueError("the file is cut off within it")
            samples, axes = part.asarray(), part.axes
        return np.moveaxis(samples, 0, 2) if axes == "SYX" else samples

    def _with_channels(self, found: ImageMetadata) -> ImageMetadata:
        """Keep the names of channels where they fit the frames; name those of a colour image."""
        names: tuple[str, ...] = ()
        if "c" in self._geometry.dims:
            fits = len(found.channels) == self._geometry.shape[0]
            names = found.channels if fits else () if self._stack.channels else COLOURS
        return dataclasses.replace(found, channels=names)


@dataclass(frozen=True, slots=True)
class _Stack:
    """Which planes of the file make up each frame."""

    planes: npt.NDArray[np.int64]
    """Numbers of the planes: a row for each frame, a column for each channel."""
    channels: bool = False
    """Whether a frame has an axis of channels."""
    offset: int | None = None
    """Where the planes begin if they lie one after another, not each in a page of its own."""
    cut: bool = False
    """Whether the file ends before the recording does."""

    @property
    def frames(self) -> int:
        """Frames in reach."""
        return int(self.planes.shape[0])

    @classmethod
    def of_pages(cls, count: int, *, cut: bool = False) -> "_Stack":
        return cls(np.arange(count).reshape(count, 1), cut=cut)

    @classmethod
    def of_axes(cls, axes: str, shape: tuple[int, ...], where: str) -> "_Stack":
        """Read the axes as tifffile names them, such as TCYX."""
        plane = next((p for p in ("SYX", "YXS", "YX") if axes.endswith(p)), None)
        if plane is None:
            raise SourceError(
                f"{where} has the axes {shown(axes)}, which do not end in an image; "
                "save it with the axes TYX or TCYX"
            )
        leading = axes[: -len(plane)]
        lengths = shape[: len(leading)]
        unnamed = leading.count("Q") + leading.count("I") > 1
        if unnamed or ("C" in leading and "S" in plane):
            raise SourceError(
                f"{where} has the axes {shown(axes)}, which can be read in two ways; "
                "save it with the axes TYX or TCYX"
            )
        planes = np.arange(math.prod(lengths), dtype=np.int64).reshape(lengths)
        if "C" not in leading:
            return cls(planes.reshape(-1, 1))
        channel = leading.index("C")
        ordered = np.moveaxis(planes, channel, -1)
        return cls(ordered.reshape(-1, lengths[channel]), channels=True)
