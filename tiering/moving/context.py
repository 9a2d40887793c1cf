"""What every step of a move needs: the catalogue, the tiers, and how fast it may go."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import Claim, HeldMoves
from forebay.tiering.catalogue.records import MoveRecord, ShelfRecord
from forebay.tiering.homes.home import home_of
from forebay.tiering.moving.archives import Archives
from forebay.tiering.moving.pace import Pace
from forebay.tiering.moving.signposting import put_signpost
from forebay.tiering.moving.throttle import Throttle
from forebay.tiering.moving.work import Work
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TieringSettings
from forebay.tiering.storage.inventory import stays_at_home
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.storage.tiers import Tiers

type Reached = Callable[[str], None]
"""Told of each point that a mover comes to."""


@dataclass(frozen=True, slots=True)
class MoveContext:
    """What the steps of moves have in common."""

    catalogue: Catalogue
    """The catalogue."""
    held: HeldMoves
    """The steps, as they are written down."""
    tiers: Tiers
    """The tiers."""
    settings: TieringSettings
    """How runs are moved."""
    archives: Archives
    """The copies in archives."""
    reached: Reached
    """Told of each point that is come to, by name."""
    stop: threading.Event
    """When set, the step ends with the object that it is at."""
    pace: Pace
    """How fast bytes may go through, beside what is allowed in each tier."""
    work: Work
    """The work on what is moved."""

    def source(self, claim: Claim) -> ShelfRecord:
        """Return the copy that a move is made from."""
        shelves = self.catalogue.shelves(claim.move.run_id)
        return next(each for each in shelves if each.shelf == claim.move.source)

    def target(self, claim: Claim) -> ShelfRecord:
        """Return the copy that a move makes."""
        shelves = self.catalogue.shelves(claim.move.run_id)
        return next(each for each in shelves if each.shelf == claim.move.target)

    def objects(self, claim: Claim, target: ShelfRecord) -> dict[str, KnownObject]:
        """Return the objects that a move puts into its tier."""
        objects = self.catalogue.objects(claim.move.run_id)
        if target.home:
            return {key: each for key, each in objects.items() if not stays_at_home(key)}
        return objects

    def shelf(self, record: ShelfRecord) -> Shelf:
        """Return where a copy lies."""
        return shelf_of_copy(self.catalogue, self.tiers, record)

    def at(self, record: ShelfRecord) -> AbstractContextManager[None]:
        """Hold the home of the run, where it is that which is changed."""
        if not record.home:
            return contextlib.nullcontext()
        return home_of(self.tiers, self.catalogue.run(record.run_id)).held()

    def put_signpost(self, claim: Claim) -> None:
        """Tell readers, at the run's home, where its copies lie."""

        def check() -> None:
            # A mover that was overtaken must not put an old one back.
            self.held.renew(claim, lease_seconds=self.settings.lease_seconds)

        put_signpost(self.catalogue, self.tiers, claim.move.run_id, check=check)

    def passing(self, claim: Claim, *shelves: ShelfRecord) -> Callable[[int], None]:
        """Return what bytes go through: no faster than allowed, and the claim is kept meanwhile."""
        limits = [self.tiers[each.tier].specification.bandwidth for each in shelves]
        allowed = [each for each in limits if each is not None]
        throttle = Throttle(min(allowed) if allowed else None, wait=self.stop.wait)
        lease = self.settings.lease_seconds
        renewed = time.monotonic()

        one_at_a_time = threading.Lock()

        def passing(count: int) -> None:
            nonlocal renewed
            with one_at_a_time:
                throttle(count)
                self.pace.take(count)
                through = False
                while not through:
                    through = self.pace.wait(timeout=lease / 4) or self.stop.is_set()
                    if time.monotonic() - renewed > lease / 4:
                        self.held.renew(claim, lease_seconds=lease)
                        renewed = time.monotonic()

        return passing

    def recall(self, claim: Claim, shelf: ShelfRecord, keys: Sequence[str]) -> MoveRecord | None:
        """Wait for objects that are to be read and have to be recalled; None if none have."""
        awaited = self.archives.ask_for(shelf, keys)
        if awaited is None:
            return None
        return self.held.pause(claim, seconds=awaited.pause, error=awaited.why, counts=False)
