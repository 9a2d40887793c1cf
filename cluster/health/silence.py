"""For how long nothing was heard of a worker, as who listens has seen it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

_LEAST_LOOKS = 5
"""Looks at the least at which nothing was heard of a worker, before that is its own fault."""


class Silences:
    """Counts from look to look, for at least so many.

    After this process itself was stopped, or was busy, nothing was heard of anybody.

    Parameters
    ----------
    clock
        Seconds of a clock that only goes forward.

    Examples
    --------
    >>> times = iter(range(0, 100, 10))
    >>> silences = Silences(clock=lambda: next(times))
    >>> [silences.of({"one": 7.0})["one"] for _ in range(7)]
    [0.0, 0.0, 0.0, 0.0, 0.0, 50.0, 60.0]
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def of(self, last_seen: Mapping[str, float]) -> dict[str, float]:
        """Return for how long each worker is silent.

        Parameters
        ----------
        last_seen
            When the scheduler has heard of each worker last, by its own clock.
        """
        now = self._clock()
        heard = {}
        for address, seen in last_seen.items():
            before = self._heard.get(address)
            if before is None or before.last_seen != seen:
                heard[address] = _Heard(seen, float(now))
            else:
                heard[address] = replace(before, looks=before.looks + 1)
        self._heard = heard
        return {
            address: now - each.since if each.looks >= _LEAST_LOOKS else 0.0
            for address, each in heard.items()
        }


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was heard of a worker."""

    last_seen: float
    """When the scheduler has heard of it last, by its own clock."""
    since: float
    """When that was seen first, by the listener's."""
    looks: int = 0
    """Looks since then that saw nothing newer."""
