"""The folder in which the sockets of a user's running acquisitions lie."""

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from forebay.acquisition.errors import ControlError

SUFFIX = ".sock"
"""How the names of control sockets end."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BACKLOG = 64
_LOCK_SECONDS = 2.0
_RUN_ID = re.compile(r"[A-Za-z0-9-]{1,64}", flags=re.ASCII)


def socket_name(run_id: str) -> str:
    """Return the name of a run's socket.

    Raises
    ------
    ControlError
        If the run's identity cannot be a file's name.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ControlError(f"{run_id!r} is no identity of a run; expected a UUID")
    return f"{run_id}{SUFFIX}"


def runtime_folder() -> Path:
    """Return where the sockets of this user lie, whether it is there or not."""
    user = os.geteuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        # Under sudo the variable may name the folder of another user, which is left alone.
        if Path(base).is_absolute() and _owner(base) == user:
            return Path(base) / "forebay"
    return Path(tempfile.gettempdir()) / f"forebay-{user}"


def _owner(path: str) -> int | None:
    try:
        return Path(path).stat().st_uid
    except OSError:
        return None


class SocketFolder:
    """A folder of sockets, held open.

    Its sockets are reached by way of the open folder: so they lie in the folder that was checked,
    and the path may be longer than the 107 bytes that an address of a socket has room for.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `make` or `find` instead."""
        self.path = path
        """Where the folder lies."""
        self._descriptor = descriptor

    @classmethod
    def make(cls) -> Self:
        """Open this user's folder, and make it first where it is missing.

        Raises
        ------
        ControlError
            If it cannot be made, or others than this user may have put something there.
        """
        path = runtime_folder()
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(0o700)
            return cls._checked(path)
        except OSError as error:
            if isinstance(error, ControlError):
                raise
            raise ControlError(
                f"{path}, the folder of the control sockets, cannot be used: {error.strerror}; "
                "let XDG_RUNTIME_DIR name a folder of this user"
            ) from error

    @classmethod
    def find(cls) -> Self | None:
        """Open this user's folder, if there is one.

        Raises
        ------
        ControlError
            If others than this user may have put something there.
        """
        try:
            return cls._checked(runtime_folder())
        except (FileNotFoundError, PermissionError):
            return None

    @classmethod
    def above(cls, path: Path) -> Self:
        """Open the folder in which the socket `path` lies, whoever it belongs to."""
        return cls(path.parent, os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def _checked(cls, path: Path) -> Self:
        try:
            descriptor = os.open(path, _OPEN)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise ControlError(
                    f"{path} is a link or a file where the folder of the control sockets is to "
                    "be: remove it"
                ) from error
            raise
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return cls(path, descriptor)
        os.close(descriptor)
        if found.st_uid != os.geteuid():
            raise ControlError(
                f"{path}, the folder of the control sockets, belongs to user {found.st_uid}: "
                "remove it, or let XDG_RUNTIME_DIR name a folder of this user"
            )
        raise ControlError(
            f"others may enter {path}, the folder of the control sockets (its mode is "
            f"{stat.S_IMODE(found.st_mode):o}): chmod 700 it"
        )

    def listen(self, name: str) -> socket.socket:
        """Return a listening socket of that name, and remove those that kills have left behind.

        Raises
        ------
        ControlError
            If somebody listens there, or the socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The file gets the mode that the socket has when it is bound.
            os.fchmod(listener.fileno(), 0o600)
            with self._alone() as alone:
                if alone:
                    for left in self._left_behind(name):
                        self.remove(left)
                self._bind(listener, name)
                listener.listen(_BACKLOG)
            listener.setblocking(False)
        except BaseException as error:
            listener.close()
            if isinstance(error, OSError) and not isinstance(error, ControlError):
                raise ControlError(
                    f"the control socket {self.path / name} cannot be made: {error.strerror}"
                ) from error
            raise
        return listener

    def _bind(self, listener: socket.socket, name: str) -> None:
        try:
            listener.bind(self._address(name))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if self._is_alive(name):
                raise ControlError(
                    f"another process listens on {self.path / name}; end that one, or choose "
                    "another name"
                ) from error
            self.remove(name)
            listener.bind(self._address(name))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Let nobody else look at sockets that do not listen yet, within the block.

        False where somebody else does not let go, as a process that was stopped: what can be done
        beside it is done, and the rest left for the next one.
        """
        alone = self._lock()
        try:
            yield alone
        finally:
            if alone:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                time.sleep(_LOCK_SECONDS / 100)
            else:
                return True

    def _left_behind(self, own: str) -> list[str]:
        """Return the control sockets of runs that nobody records any more.

        Sockets of other kinds are few, and who listens there would take this for a visit.
        """
        names = [each for each in self.names() if each.endswith(SUFFIX) and each != own]
        return [name for name in names if not self._is_alive(name)]

    def _is_alive(self, name: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self._address(name))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except BlockingIOError:
                # So many wait to be let in that there is no room for another.
                return True
            return True

    def connect(self, name: str, *, timeout: float) -> socket.socket:
        """Return a socket that is connected to the one of that name.

        Raises
        ------
        OSError
            If nobody listens there.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self._address(name))
        except BaseException:
            connection.close()
            raise
        return connection

    def open(self, name: str) -> int:
        """Return the descriptor of a file of that name that this user's processes share.

        Raises
        ------
        ControlError
            If it cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, 0o600, dir_fd=self._descriptor)
        except OSError as error:
            raise ControlError(
                f"the file {self.path / name} cannot be made: {error.strerror}"
            ) from error

    def names(self) -> list[str]:
        """Return the names of what lies in it, sorted."""
        with os.scandir(self._descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def remove(self, name: str) -> None:
        """Remove a socket, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def __enter__(self) -> Self:
        """Hold the folder open within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)
