"""Where the files of a bag are read from: a folder, or a tar file."""

import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from forebay.tiering.errors import BundleDamagedError, BundleError, PlaceUnavailableError


class Files(Protocol):
    """The files of a bag."""

    @property
    def where(self) -> str:
        """The bag, for messages."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of each file, by its path within the bag."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""


class FolderFiles:
    """The files of a bag that is a folder.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    BundleDamagedError
        If something in it is neither a file nor a folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = str(folder)
        """The bag, for messages."""
        self.sizes = dict(_sizes(folder))
        """Length of each file, by its path within the bag."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb")


class TarFiles:
    """The files of a bag in a tar file, whose one folder is the bag.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    BundleError
        If it is no tar file.
    BundleDamagedError
        If it was cut off, or holds more than one folder, a name twice, or what is neither a file
        nor a folder.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        """The bag, for messages."""
        try:
            self._file = tarfile.open(path, "r:")  # noqa: SIM115
        except tarfile.TarError as error:
            raise BundleError(
                f"{path} is no tar file ({error}): give one that is not compressed"
            ) from error
        self._check_end()
        self._entries = dict(self._read_entries())
        self.sizes = {name: entry.size for name, entry in self._entries.items()}
        """Length of each file, by its path within the bag."""

    def _check_end(self) -> None:
        """Refuse a file that was cut off: tarfile takes most of those for whole, and shorter."""
        file, cause = self._file.fileobj, None
        try:
            self._file.getmembers()
        except tarfile.TarError as error:
            cause = error
        end = self._file.offset
        if cause is None:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
                return
        raise BundleDamagedError(
            f"{self.where} cannot be read from byte {end} on: it was cut off, or changed on its "
            "way; get the bundle once more"
        ) from cause

    def _read_entries(self) -> Iterator[tuple[str, tarfile.TarInfo]]:
        seen: set[str] = set()
        top = ""
        for entry in self._file.getmembers():
            name = entry.name.removeprefix("./")
            if entry.isdir():
                continue
            if not entry.isreg():
                raise BundleDamagedError(f"{self.where} holds {name!r}, which is no plain file")
            first, _, below = name.partition("/")
            top = top or first
            if not below or first != top:
                raise BundleDamagedError(
                    f"{self.where} holds {name!r} beside the folder {top!r}: a bag in a tar file "
                    "has one folder with everything in it"
                )
            if below in seen:
                raise BundleDamagedError(f"{self.where} holds {name!r} twice")
            seen.add(below)
            yield below, entry

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        opened = self._file.extractfile(self._entries[name])
        if opened is None:
            raise BundleDamagedError(f"{self.where} holds {name!r}, which is no plain file")
        return opened

    def close(self) -> None:
        """Close the tar file."""
        self._file.close()


@contextmanager
def files_of(bundle: Path) -> Iterator[Files]:
    """Give the files of a bundle, a folder or a tar file.

    Raises
    ------
    BundleError
        If there is nothing there, or no tar file.
    BundleDamagedError
        If it holds what no bag holds.
    PlaceUnavailableError
        If it cannot be read.
    """
    try:
        if bundle.is_dir():
            yield FolderFiles(bundle)
        elif bundle.is_file():
            opened = TarFiles(bundle)
            try:
                yield opened
            finally:
                opened.close()
        else:
            raise BundleError(f"{bundle} is no bundle: there is no such folder or file")
    except OSError as error:
        if error.filename is None or not error.strerror:
            raise
        raise PlaceUnavailableError(f"{error.filename} cannot be read: {error.strerror}") from error


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleDamagedError(f"{folder} holds {name!r}, which is neither file nor folder")
        if path.is_file():
            yield name, path.stat().st_size
