"""Lists of processor cores, as the kernel writes them."""

import re
from collections.abc import Iterable

from forebay.cluster.node.errors import UnreadableError

_MOST = 2**16


def cores_of(text: str, *, where: str) -> frozenset[int]:
    """Return the cores in a list such as ``0-3,8``.

    Parameters
    ----------
    text
        The list.
    where
        Where it stands, for messages.

    Raises
    ------
    UnreadableError
        If it is none.

    Examples
    --------
    >>> sorted(cores_of("0-2,8", where="a file"))
    [0, 1, 2, 8]
    """
    cores: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part.strip())
        first = int(found[1]) if found else 0
        last = int(found[2] or found[1]) if found else -1
        if not first <= last < _MOST:
            raise UnreadableError(f"{where} holds {text[:60]!r}, which is no list of cores")
        cores.update(range(first, last + 1))
    return frozenset(cores)


def as_list(cores: Iterable[int]) -> str:
    """Return cores as the kernel writes them.

    Examples
    --------
    >>> as_list([8, 0, 1, 2])
    '0-2,8'
    """
    runs: list[list[int]] = []
    for core in sorted(set(cores)):
        if runs and runs[-1][1] == core - 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
