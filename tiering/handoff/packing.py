"""Where the files of a bag are put: into a folder, or into one tar file."""

import io
import tarfile
import time
from pathlib import Path
from typing import Protocol

from forebay.acquisition import durable
from forebay.tiering.handoff.aside import flush_below

TAR = ".tar"


class Packing(Protocol):
    """What takes the files of a bag, one after the other."""

    def put(self, name: str, content: bytes) -> None:
        """Put a file."""

    def finish(self) -> Path:
        """Make everything durable, and return what was made."""


class FolderPacking:
    """A bag that is a folder.

    Parameters
    ----------
    folder
        The folder, which is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def put(self, name: str, content: bytes) -> None:
        """Put a file, and flush it."""
        path = self._folder / name
        with durable.storage_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write_aside(path, [content])

    def finish(self) -> Path:
        """Flush the names of all files, and return the folder."""
        with durable.storage_errors(str(self._folder)):
            flush_below(self._folder)
        return self._folder


class TarPacking:
    """A bag in a tar file, whose one folder has the name of the bag.

    Parameters
    ----------
    path
        The file, which is made.
    name
        The name of the folder in it.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        with durable.storage_errors(str(path)):
            self._file = tarfile.open(path, "x", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def put(self, name: str, content: bytes) -> None:
        """Add a file."""
        entry = tarfile.TarInfo(f"{self._name}/{name}")
        entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
        with durable.storage_errors(str(self._path)):
            self._file.addfile(entry, io.BytesIO(content))

    def finish(self) -> Path:
        """End the file, flush it and return it."""
        with durable.storage_errors(str(self._path)):
            self._file.close()
            durable.flush_file(self._path)
        return self._path


def packing_for(bundle: Path, aside: Path) -> Packing:
    """Return what makes a bundle within a folder: a tar file where its name ends in ``.tar``."""
    made = aside / bundle.name
    if bundle.suffix == TAR:
        return TarPacking(made, name=bundle.stem)
    return FolderPacking(made)
