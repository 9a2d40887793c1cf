"""What a mover does with copies in archives: asking for what it is to read, and putting away."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from forebay.tiering.archive.copies import recall_of
from forebay.tiering.archive.recall import Recall
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import ShelfRecord, ShelfState
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.storage.inventory import MANIFEST
from forebay.tiering.storage.shelf import Passing
from forebay.tiering.storage.tiers import Tiers

_SHORTEST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
_LOOKS = 24
"""Times that it is looked for what was asked for, until it should be there."""

_log = logging.getLogger("forebay.tiering")


@dataclass(frozen=True, slots=True)
class Awaited:
    """Objects that were asked for and cannot be read yet."""

    why: str
    """What is waited for."""
    pause: float
    """Seconds after which to look again."""


@dataclass(frozen=True, slots=True)
class Archives:
    """The copies that lie in archives."""

    catalogue: Catalogue
    """The catalogue."""
    tiers: Tiers
    """The tiers."""
    reached: Callable[[str], None]
    """Told of each point that is come to, by name."""

    def put_away_already(self, shelf: ShelfRecord) -> bool:
        """Tell whether a copy lies in an archive, so that it is read only when recalled."""
        archived = self.tiers[shelf.tier].specification.recall is not None
        return archived and shelf.state is not ShelfState.STAGING

    def ask_for(self, shelf: ShelfRecord, keys: Sequence[str]) -> Awaited | None:
        """Have objects of a copy recalled that are to be read; None if they can be read now."""
        recall = recall_of(self.catalogue, self.tiers, shelf, keys)
        if recall is None or not self.put_away_already(shelf):
            return None
        progress = recall.look()
        if progress.over:
            return None
        if progress.away:
            asked = {name: recall.objects[name] for name in progress.away}
            Recall(recall.archive, asked).request()
            told = {"run": shelf.run_id, "tier": shelf.tier, "objects": len(progress.away)}
            _log.info("objects recalled", extra={**told, "cost": recall.cost(progress.away)})
        self.reached("recalled")
        hours = recall.archive.terms.hours
        waiting = len(progress.away) + len(progress.coming)
        return Awaited(
            f"{waiting} objects of {recall.archive.url} are recalled and can be read in about "
            f"{hours:.3g} hours",
            min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, hours * 3600 / _LOOKS)),
        )

    def put_away(self, shelf: ShelfRecord, keys: Iterable[str], passing: Passing) -> None:
        """Give objects that were read back the class of their archive, and lock them.

        Each of both where the tier has it.
        """
        tier = self.tiers[shelf.tier]
        archive, lock = tier.archive(shelf.path), tier.lock(shelf.path)
        if archive is None and lock is None:
            return
        there = shelf_of_copy(self.catalogue, self.tiers, shelf)
        names = dict.fromkeys(there.stored_as(key) for key in keys)
        if archive is not None:
            for name in names:
                archive.put_away(name)
                passing(0)
                self.reached("object put away")
        if lock is not None:
            # What was put away is another version, which has no lock yet.
            for name in (*names, MANIFEST):
                lock.lock(name)
                passing(0)
                self.reached("object locked")
