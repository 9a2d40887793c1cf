"""Keys of objects, which never lead out of the place that they belong to."""

import re

from forebay.tiering.errors import ObjectKeyError

_LONGEST = 1024
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


def check_key(key: str, *, prefix: bool = False) -> str:
    """Return `key` if it names an object below a root, and nothing above or beside it.

    Parameters
    ----------
    key
        The key: parts joined by ``/``.
    prefix
        Whether it is the beginning of keys, which may be empty or end in ``/``.

    Raises
    ------
    ObjectKeyError
        If a part is empty, ``.`` or ``..``, if it has characters that are no text, or if it is
        longer than an object store allows.

    Examples
    --------
    >>> check_key("frames/c.0.0.0")
    'frames/c.0.0.0'
    >>> check_key("frames/../../secret")
    Traceback (most recent call last):
    forebay.tiering.errors.ObjectKeyError: 'frames/../../secret' is not a key: ...
    """
    parts = key.removesuffix("/").split("/") if prefix else key.split("/")
    empty = prefix and key in {"", "/"}
    if (
        not (empty or all(part not in {"", ".", ".."} for part in parts))
        or _FORBIDDEN.search(key)
        or len(key.encode("utf-8", "surrogatepass")) > _LONGEST
    ):
        raise ObjectKeyError(
            f"{key!r} is not a key: give parts joined by '/', none of them empty, '.' or '..', "
            f"without control characters and '\\', {_LONGEST} bytes at the most"
        )
    return key
