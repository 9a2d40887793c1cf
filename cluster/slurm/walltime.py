"""Times as Slurm writes them."""

import re

_WALLTIME = re.compile(r"(?:\d+-)?\d{1,2}:[0-5]\d:[0-5]\d")
_PRINTED = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def seconds_of(walltime: str) -> float:
    """Return how many seconds a walltime is, written so that nobody can take it for another one.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> seconds_of("01:30:00"), seconds_of("2-00:00:00")
    (5400.0, 172800.0)
    """
    seconds = printed_seconds(walltime) if _WALLTIME.fullmatch(walltime) else None
    if seconds is None:
        raise ValueError("a time is HH:MM:SS or D-HH:MM:SS")
    return seconds


def printed_seconds(time: str) -> float | None:
    """Return how many seconds a time is that Slurm prints; None for a word, such as ``infinite``.

    Without days one number counts minutes, and of two the first; behind days the first counts hours.

    Examples
    --------
    >>> printed_seconds("5"), printed_seconds("5:00"), printed_seconds("1:05:00")
    (300.0, 300.0, 3900.0)
    >>> printed_seconds("1-2"), printed_seconds("1-2:05"), printed_seconds("1-02:05:09")
    (93600.0, 93900.0, 93909.0)
    >>> printed_seconds("UNLIMITED"), printed_seconds("n/a")
    (None, None)
    """
    found = _PRINTED.fullmatch(time)
    if found is None:
        return None
    days, *clock = found.groups()
    if days is None and clock[2] is None:
        clock = ["0", *clock[:2]]
    hours, minutes, seconds = (int(each or 0) for each in clock)
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)
