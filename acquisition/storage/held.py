"""A folder that is held open, so that another one in its place is not taken for it."""

import errno
import os
from pathlib import Path


class HeldFolder:
    """A folder as it was when it was opened, whatever its path leads to later.

    Parameters
    ----------
    path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as above:
    ...     path = Path(above, "run")
    ...     path.mkdir()
    ...     folder = HeldFolder(path)
    ...     _ = path.rename(f"{above}/moved")
    ...     path.mkdir()
    ...     try:
    ...         folder.check()
    ...     except FileNotFoundError:
    ...         print("another one")
    ...     folder.close()
    another one
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self.path = path
        """Where it was."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def check(self) -> None:
        """Refuse to go on by the path when it leads elsewhere.

        Raises
        ------
        FileNotFoundError
            If the folder was moved or removed, whether another one is in its place or not.
        """
        if not os.path.samestat(self.path.stat(), os.fstat(self._descriptor)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def link(self, name: str, other: str) -> None:
        """Give a file in it another name in it, wherever the folder lies by now."""
        os.link(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def close(self) -> None:
        """Let go of it; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()
