"""Recalling objects of a copy from its archive, and waiting until they can be read."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from forebay.tiering.archive.archive import Archive, Reach
from forebay.tiering.errors import RecallTimeoutError

_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the recall of some objects has come."""

    away: tuple[str, ...]
    """Objects that have not been asked for, or are away again."""
    coming: tuple[str, ...]
    """Objects that were asked for."""
    near: tuple[str, ...]
    """Objects that can be read."""

    @property
    def over(self) -> bool:
        """Whether all of them can be read."""
        return not (self.away or self.coming)


@dataclass(frozen=True, slots=True)
class Recall:
    """Objects of a copy that are to be readable."""

    archive: Archive
    """Where they are."""
    objects: Mapping[str, int] = field(repr=False)
    """Their lengths, by their names there."""

    def look(self) -> Progress:
        """Return how far it has come."""
        by_reach: dict[Reach, list[str]] = {each: [] for each in Reach}
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as several:
            standings = several.map(self.archive.standing, self.objects)
            for name, standing in zip(self.objects, standings, strict=True):
                by_reach[standing.reach].append(name)
        return Progress(
            tuple(by_reach[Reach.AWAY]),
            tuple(by_reach[Reach.COMING]),
            tuple(by_reach[Reach.NEAR]),
        )

    def cost(self, names: Sequence[str]) -> float:
        """Return what it costs to ask for some of them."""
        return self.archive.terms.cost(self._size(names), len(names))

    def told(self, names: Sequence[str]) -> str:
        """Return what it means to ask for some of them, in a few words."""
        return self.archive.terms.told(self._size(names), len(names))

    def request(self, *, days: int | None = None) -> None:
        """Ask for all of them; those that were asked for, or are near for as long, stay so.

        Parameters
        ----------
        days
            Days for which they stay readable; as the archive's terms have it if not given.
        """
        days = self.archive.terms.days if days is None else days
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as several:
            list(several.map(lambda name: self.archive.recall(name, days=days), self.objects))

    def wait(
        self,
        *,
        timeout: float,
        pause: float,
        stop: threading.Event | None = None,
        on_look: Callable[[Progress], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Progress:
        """Wait until all of them can be read.

        Parameters
        ----------
        timeout
            Seconds after which waiting ends.
        pause
            Seconds between two looks.
        stop
            Ends the waiting when it is set.
        on_look
            Told of each look.
        monotonic
            Seconds that never go back.

        Raises
        ------
        RecallTimeoutError
            If they cannot be read by then; the request stands.
        """
        stop = stop or threading.Event()
        deadline = monotonic() + timeout
        while True:
            progress = self.look()
            on_look(progress)
            if progress.over or stop.is_set():
                return progress
            left = deadline - monotonic()
            if left <= 0:
                raise RecallTimeoutError(
                    f"{len(progress.coming) + len(progress.away)} of {len(self.objects)} objects "
                    f"of {self.archive.url} cannot be read after {timeout:.0f} seconds: they are "
                    "asked for, and come by themselves; wait for them again"
                )
            stop.wait(min(pause, left))

    def _size(self, names: Sequence[str]) -> int:
        return sum(self.objects[name] for name in names)
