"""Sizes in words."""

from pydantic import ByteSize


def size_text(number: float) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> size_text(26_214_400), size_text(1.2e12)
    ('25.0 MiB', '1.1 TiB')
    """
    return ByteSize(number).human_readable(separator=" ")
