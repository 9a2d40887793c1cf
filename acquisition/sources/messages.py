"""Errors of sources in one line: what was read, where, why it cannot be, and what to do."""

import contextlib
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from forebay.acquisition.errors import AcquisitionError, SourceError

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    EOFError,
    MemoryError,
    SyntaxError,
    struct.error,
    zlib.error,
)
"""What the libraries raise for a file that is damaged or is not what its name says."""


def shown(value: object) -> str:
    r"""Return a name as text on one line, with what cannot be printed escaped.

    Examples
    --------
    >>> shown(Path("a\nb.png"))
    'a\\nb.png'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value)
    )


@contextlib.contextmanager
def reading(
    what: object, remedy: str = "check that it is whole, or copy it again"
) -> Iterator[None]:
    """Turn what a library raises within the block into a `SourceError` that names `what`."""
    try:
        yield
    except AcquisitionError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"cannot read {shown(what)}: it is not there; {remedy}") from error
    except PermissionError as error:
        raise SourceError(
            f"cannot read {shown(what)}: permission is denied; let this user read it"
        ) from error
    except UNREADABLE as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        cause = shown(cause).rstrip(". ")
        raise SourceError(f"cannot read {shown(what)}: {cause}; {remedy}") from error


def check_path(path: Path) -> bool:
    """Tell whether `path` is a folder.

    Raises
    ------
    SourceError
        If it is neither a file nor a folder, or cannot be reached.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise SourceError(_missing(path)) from error
    except PermissionError as error:
        raise SourceError(
            f"cannot read {shown(path)}: permission is denied; let this user read it"
        ) from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise SourceError(
            f"cannot read {shown(path)}: {shown(cause)}; give the path of a file or a folder"
        ) from error
    if stat.S_ISDIR(mode):
        return True
    if not stat.S_ISREG(mode):
        raise SourceError(
            f"{shown(path)} is neither a file nor a folder; give the path of a recording"
        )
    return False


def _missing(path: Path) -> str:
    if path.is_symlink():
        target = shown(path.readlink())
        return (
            f"{shown(path)} is a symbolic link to {target}, which does not exist; "
            "mend the link or give the path of the recording"
        )
    return f"{shown(path)} does not exist; give the path of a recording"
