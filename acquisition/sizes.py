"""Sizes in words."""

from pydantic import ByteSize


def size_text(number: float) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> size_text(26_214_400), size_text(1.2e12)
    ('26.2 MB', '1.2 TB')
    """
    return ByteSize(number).human_readable(decimal=True, separator=" ")
