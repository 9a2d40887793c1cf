"""Changing files of a system, each in one step, and never one outside of its root."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.cluster.node.errors import TuningConflictError, TuningStorageError
from forebay.cluster.node.machine import chosen
from forebay.cluster.node.tuning.record import Before

_ASIDE = ".forebay-new"


class System:
    """The files of a machine, below its root, to be changed.

    Parameters
    ----------
    root
        Where its file system begins.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._real = root.resolve()

    @contextmanager
    def errors(self, path: str, what: str = "changed") -> Iterator[None]:
        """Turn what the system refuses into an error that names the file."""
        try:
            yield
        except OSError as error:
            hint = "; run it as root" if isinstance(error, PermissionError) and os.geteuid() else ""
            raise TuningStorageError(
                f"/{path} cannot be {what}: {error.strerror or error}{hint}"
            ) from error

    def path(self, relative: str) -> Path:
        """Return where a file lies.

        Raises
        ------
        TuningConflictError
            If a link on the way leads out of the root.
        """
        path = self.root / relative
        if not path.parent.resolve().is_relative_to(self._real):
            raise TuningConflictError(
                f"/{relative} lies outside of {self.root}, by a link: it is left alone"
            )
        return path

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Keep others away, by a lock on a folder that is there.

        Raises
        ------
        TuningConflictError
            If somebody else has it.
        """
        with self.errors(folder):
            descriptor = os.open(self.path(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise TuningConflictError(
                f"another 'forebay tune' is at work below {self.root}: wait for its end"
            ) from error
        finally:
            os.close(descriptor)

    def read(self, relative: str) -> bytes | None:
        """Return what a file holds; None where there is none."""
        with self.errors(relative, "read"):
            try:
                return self.path(relative).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def before(self, relative: str) -> Before | None:
        """Return a file as it is now, to bring it back later.

        Raises
        ------
        TuningConflictError
            If it is a link or a folder.
        """
        content = None
        with self.errors(relative):
            path = self.path(relative)
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISREG(state.st_mode):
                content = path.read_bytes()
        if content is None:
            raise TuningConflictError(
                f"/{relative} is no file of its own, such as a link: it is left alone; remove it"
            )
        return Before(
            content=content,
            mode=stat.S_IMODE(state.st_mode),
            owner=state.st_uid,
            group=state.st_gid,
        )

    def missing_folders(self, relative: str) -> list[str]:
        """Return the folders on the way to a file that are not there, the outer ones first."""
        parents = [str(each) for each in Path(relative).parents if each.parts]
        return [each for each in reversed(parents) if not (self.root / each).is_dir()]

    def make_folders(self, relative: str) -> None:
        """Make the folders on the way to a file, and their names durable."""
        for folder in self.missing_folders(relative):
            with self.errors(folder):
                path = self.path(folder)
                path.mkdir(exist_ok=True)
                _flush_folder(path.parent)

    def put(
        self, relative: str, content: bytes, kept: Before | None = None, *, mode: int = 0o644
    ) -> None:
        """Put a file in its place in one step; durable when it returns.

        Parameters
        ----------
        relative
            Where.
        content
            What it says.
        kept
            Whose owner and mode it gets, if not this user's and `mode`.
        mode
            Who may do what with it.
        """
        self.make_folders(relative)
        with self.errors(relative):
            path = self.path(relative)
            aside = path.with_name(f".{path.name}{_ASIDE}")
            aside.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(aside, flags, 0o600)
            try:
                view = memoryview(content)
                while view.nbytes:
                    view = view[os.write(descriptor, view) :]
                if kept is not None and (kept.owner, kept.group) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, kept.owner, kept.group)
                os.fchmod(descriptor, mode if kept is None else kept.mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(aside, path)  # noqa: PTH105 (what is durable is told from what is not by os)
            _flush_folder(path.parent)

    def remove(self, relative: str) -> None:
        """Remove a file."""
        self.tidy(relative)
        with self.errors(relative):
            path = self.path(relative)
            if path.parent.is_dir():
                path.unlink(missing_ok=True)
                _flush_folder(path.parent)

    def tidy(self, relative: str) -> None:
        """Remove what an interrupted call has left beside a file."""
        with self.errors(relative):
            path = self.path(relative)
            if path.parent.is_dir():
                path.with_name(f".{path.name}{_ASIDE}").unlink(missing_ok=True)

    def remove_folder(self, relative: str) -> None:
        """Remove a folder if it is empty."""
        path = self.path(relative)
        with self.errors(relative):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
                _flush_folder(path.parent)

    def live(self, relative: str) -> str | None:
        """Return a value that the running system tells; None where it does not.

        An empty text is told by no system: setting it was interrupted.
        """
        try:
            return chosen(self.path(relative).read_text(errors="backslashreplace"))
        except OSError:
            return None

    def set_live(self, relative: str, value: str) -> str | None:
        """Set a value of the running system; return why it was refused, if it was."""
        try:
            descriptor = os.open(self.path(relative), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{value}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"/{relative} does not take {value!r}: {error.strerror}"
        return None


def digest(content: bytes) -> str:
    """Return the digest by which what was written is known again."""
    return hashlib.sha256(content).hexdigest()


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
