"""Deadlines as they are given on the command line and told."""

import datetime
import re
from collections.abc import Iterator

from forebay.cli.errors import OptionError

_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(min|h|d)")
_SECONDS = {"min": 60, "h": 3600, "d": 86_400}
_LATEST = datetime.datetime(2262, 1, 1, tzinfo=datetime.UTC)
"""Nanoseconds are counted until then, in 64 bits."""


def deadline_given(text: str | None) -> int | None:
    """Return the deadline that an option is given, in nanoseconds since 1970-01-01 UTC.

    Raises
    ------
    OptionError
        If it is no time, or one that has passed.

    Examples
    --------
    >>> deadline_given("2035-01-31 18:00")
    2053879200000000000
    """
    if text is None:
        return None
    now = datetime.datetime.now(datetime.UTC)
    try:
        if span := _SPAN.fullmatch(text.strip()):
            at = now + datetime.timedelta(seconds=float(span[1]) * _SECONDS[span[2]])
        else:
            at = datetime.datetime.fromisoformat(text)
            at = at.replace(tzinfo=at.tzinfo or datetime.UTC)
    except (ValueError, OverflowError):
        raise OptionError(
            f"--deadline {text!r} is no time: give one such as '2026-11-30 18:00' (UTC), or how "
            "long it is until then, such as 30min, 8h or 2d"
        ) from None
    if at <= now:
        raise OptionError(f"--deadline {text!r} has passed: give a later one")
    if at > _LATEST:
        raise OptionError(f"--deadline {text!r} is too far away: leave it out")
    return round(at.timestamp() * 10**6) * 1000


def complete_deadlines(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer spans, with the time that they lead to."""
    for span in ("1h", "8h", "1d", "7d"):
        if span.startswith(incomplete):
            seconds = int(span[:-1]) * _SECONDS[span[-1]]
            at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
            yield span, f"until {at:%Y-%m-%d %H:%M} UTC"
