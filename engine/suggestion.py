"""Pointing at the name that was probably meant."""

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to `given`, or nothing.

    Examples
    --------
    >>> nearest("diamter", ["diameter", "minmass"])
    "; did you mean 'diameter'?"
    """
    matches = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
