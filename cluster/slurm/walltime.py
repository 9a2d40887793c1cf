"""Times as Slurm writes them."""

import re

_PATTERN = re.compile(r"(?:(\d+)-)?(\d{1,2}):(\d{2}):(\d{2})")


def seconds_of(walltime: str) -> int:
    """Return how many seconds a time of Slurm's is.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> seconds_of("01:30:00"), seconds_of("2-00:00:00")
    (5400, 172800)
    """
    found = _PATTERN.fullmatch(walltime)
    if found is None or int(found[3]) > 59 or int(found[4]) > 59:
        raise ValueError("a time is HH:MM:SS or D-HH:MM:SS")
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
