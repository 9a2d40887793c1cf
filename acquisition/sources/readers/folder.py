"""A folder of image files, one frame in each."""

import os
import re
from pathlib import Path
from typing import Any

import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.messages import check_path, reading, shown
from forebay.acquisition.sources.readers.colour import Colour
from forebay.acquisition.sources.readers.png import read_png
from forebay.acquisition.sources.readers.reader import COLOURS, geometry_of
from forebay.acquisition.sources.readers.tiff import TIFF_SUFFIXES, TiffReader

PNG_SUFFIXES = (".png",)


class FolderReader:
    """Frames in PNG or TIFF files, in the order of the numbers in their names.

    Files whose names begin with a dot, and files of other kinds, are left out.

    Parameters
    ----------
    path
        The folder, or one PNG file.

    Raises
    ------
    SourceError
        If the folder holds no images, or both kinds, or its first image cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = _image_files(path) if check_path(path) else [path]
        self._colour = Colour()
        self._metadata = ImageMetadata()
        self._geometry = geometry_of(self.read(0), self.name(0))
        if "c" in self._geometry.dims and not self._metadata.channels:
            self._metadata = ImageMetadata(channels=COLOURS)

    @property
    def geometry(self) -> Geometry:
        """The layout of the first frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the first file says of the instrument."""
        return self._metadata

    def __len__(self) -> int:
        """Count the files."""
        return len(self._files)

    def read(self, index: int) -> npt.NDArray[Any]:
        """Decode a file."""
        path, what = self._files[index], self.name(index)
        if path.suffix.lower() in PNG_SUFFIXES:
            return self._colour.lay_out(read_png(path, what), what)
        reader = TiffReader(path, self._colour)
        try:
            if len(reader) != 1:
                raise SourceError(
                    f"{what} holds {len(reader)} frames; in a folder each file is one frame: "
                    "give the path of the file itself"
                )
            if index == 0:
                self._metadata = reader.metadata
            return reader.read(0)
        finally:
            reader.close()

    def name(self, index: int) -> str:
        """Return the frame's number and file."""
        return f"frame {index} ({shown(self._files[index])})"

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order."""
    with reading(folder), os.scandir(folder) as entries:
        images = [
            entry
            for entry in entries
            if not entry.name.startswith(".")
            and Path(entry.name).suffix.lower() in PNG_SUFFIXES + TIFF_SUFFIXES
            and not entry.is_dir()
        ]
        for entry in images:
            if not entry.is_file(follow_symlinks=False):
                check_path(Path(entry.path))
        files = [Path(entry.path) for entry in images]
        empty = not files and not any(folder.iterdir())
    if not files:
        state = "is empty" if empty else "holds no PNG or TIFF file"
        raise SourceError(f"the folder {shown(folder)} {state}; give the folder of the frames")
    kinds = {path.suffix.lower() in PNG_SUFFIXES for path in files}
    if len(kinds) > 1:
        raise SourceError(
            f"the folder {shown(folder)} holds both PNG and TIFF files; "
            "move the one kind elsewhere, so that the order of the frames is known"
        )
    files.sort(key=lambda path: natural(path.name))
    return files


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts names by the numbers in them.

    Examples
    --------
    >>> sorted(["f10.png", "f9.png", "f1.png"], key=natural)
    ['f1.png', 'f9.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
