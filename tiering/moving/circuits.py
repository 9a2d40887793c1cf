"""Leaving a tier that does not work alone for a while, rather than failing there again and again."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forebay.tiering.storage.probing import Probe, probe
from forebay.tiering.storage.tiers import Tier, Tiers

_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 600.0

_log = logging.getLogger("forebay.tiering")


@dataclass(slots=True)
class _Open:
    """A tier that is left alone."""

    pause: float
    until: float


class Circuits:
    """Which tiers are left alone because they do not work.

    A tier is tried out when something has failed there.  If it does not work, its circuit is open:
    that is said once, nothing is moved from or to it, and after a pause it is tried out again.
    The pause doubles each time, up to ten minutes.

    Parameters
    ----------
    tiers
        The tiers.
    clock
        Seconds that never go back.
    try_out
        Tells what is wrong with a tier.
    """

    def __init__(
        self,
        tiers: Tiers,
        *,
        clock: Callable[[], float] = time.monotonic,
        try_out: Callable[[Tier], Probe] = probe,
    ) -> None:
        self._tiers = tiers
        self._clock = clock
        self._try_out = try_out
        self._open: dict[str, _Open] = {}

    @property
    def open(self) -> frozenset[str]:
        """Names of the tiers that are left alone."""
        return frozenset(self._open)

    def failed(self, names: Iterable[str]) -> None:
        """Look whether tiers work where something has failed that concerned them."""
        for name in set(names) - set(self._open):
            problem = self._try_out(self._tiers[name]).problem
            if problem is not None:
                self._open[name] = _Open(_FIRST_PAUSE, self._clock() + _FIRST_PAUSE)
                _log.warning("the tier %s does not work, and its moves wait: %s", name, problem)

    def look(self) -> None:
        """Try those tiers again whose pause is over."""
        for name, circuit in list(self._open.items()):
            if self._clock() < circuit.until:
                continue
            if self._try_out(self._tiers[name]).problem is None:
                del self._open[name]
                _log.warning("the tier %s works again, and its moves go on", name)
            else:
                circuit.pause = min(_LONGEST_PAUSE, 2 * circuit.pause)
                circuit.until = self._clock() + circuit.pause
