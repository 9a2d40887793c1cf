"""Carrying moves out, one step after the other, each of which may be interrupted and repeated."""

import logging
import random
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import Claim, HeldMoves
from forebay.tiering.catalogue.migrating import Database
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import (
    READABLE,
    MoveRecord,
    MoveState,
    ShelfRecord,
    ShelfState,
)
from forebay.tiering.errors import (
    CopyDamagedError,
    HomeBusyError,
    MoveTakenOverError,
    TierFullError,
    TieringError,
)
from forebay.tiering.homes.home import goes_home
from forebay.tiering.moving.archives import Archives
from forebay.tiering.moving.context import MoveContext, Reached
from forebay.tiering.moving.copying import CopyAgainError, Copying
from forebay.tiering.moving.departing import SHORT_PAUSE, Departing
from forebay.tiering.moving.holder import has_ended, new_holder
from forebay.tiering.moving.pace import Pace
from forebay.tiering.moving.work import NoWork, Work
from forebay.tiering.packing.pack import Pack, pack_up
from forebay.tiering.specification import TieringSettings
from forebay.tiering.storage.tiers import Tier, Tiers

_LONGEST_PAUSE = 3600.0
_LONGEST_PAUSE_FOR_ROOM = 60.0
_NO_WORK = NoWork()

_log = logging.getLogger("forebay.tiering")


def _go_on(_: object) -> None:
    """Do nothing."""


class Mover:
    """Works on moves until each is over, or waits.

    Every step is written down when its effect is durable, and may be done twice.  What is done
    about a move counts only while the mover's claim on it holds.

    Parameters
    ----------
    database
        Where the catalogue is kept.
    tiers
        The tiers.
    settings
        How runs are moved.
    reached
        Told of each point that it comes to, by name: tests end it there.
    stop
        When set, it ends after the step that it is at.
    pace
        How fast bytes may go through, beside what is allowed in each tier.
    avoided
        Says which tiers nothing is moved from or to for the time being, by their names.
    failed
        Told of the tiers that a move concerned which has failed.
    work
        The work on what is moved, such as a result that a job publishes into.
    """

    def __init__(
        self,
        database: Database,
        tiers: Tiers,
        settings: TieringSettings,
        *,
        reached: Reached = _go_on,
        stop: threading.Event | None = None,
        pace: Pace | None = None,
        avoided: Callable[[], Collection[str]] = frozenset,
        failed: Callable[[Collection[str]], None] = _go_on,
        work: Work = _NO_WORK,
    ) -> None:
        catalogue = Catalogue(database)
        self._moves = Moves(database)
        self._context = MoveContext(
            catalogue=catalogue,
            held=HeldMoves(database),
            tiers=tiers,
            settings=settings,
            archives=Archives(catalogue, tiers, reached),
            reached=reached,
            stop=stop or threading.Event(),
            pace=pace or Pace(),
            work=work,
        )
        self._copying = Copying(self._context)
        self._departing = Departing(self._context)
        self._avoided = avoided
        self._tell_failed = failed
        self._holder = new_holder()
        self._found_full: dict[str, float] = {}

    def work(self) -> list[MoveRecord]:
        """Carry out everything that is due; return the moves as they stand then."""
        for holder in self._context.held.holders():
            if has_ended(holder):
                self._context.held.give_back(holder)
        self.sweep()
        touched: dict[int, MoveRecord] = {}
        while not self._context.stop.is_set():
            claim = self._context.held.claim(
                self._holder,
                lease_seconds=self._context.settings.lease_seconds,
                avoiding=self._avoided(),
            )
            if claim is None:
                break
            self._context.reached("claimed")
            self._carry_out(claim)
            touched[claim.move.move] = self._moves.get(claim.move.move)
        return list(touched.values())

    def sweep(self) -> None:
        """Delete what is left of copies that were given up, and of homes that a scan found so."""
        busy = {each for move in self._moves.find() for each in (move.source, move.target)}
        avoided = self._avoided()
        for shelf in self._context.catalogue.shelves():
            if shelf.tier in avoided or shelf.shelf in busy:
                continue
            if shelf.state is ShelfState.DELETING or self._are_remains(shelf):
                try:
                    self._departing.delete_given_up(shelf)
                except HomeBusyError:
                    # Whoever holds it is at work there; the next sweep finds what is left.
                    continue
                except TieringError as error:
                    told = {"copy": shelf.shelf, "tier": shelf.tier, "error": str(error)}
                    _log.warning("copy that was given up cannot be deleted", extra=told)

    def _are_remains(self, shelf: ShelfRecord) -> bool:
        """Tell whether a home is staged by no move, and other copies are all that is needed."""
        return (
            shelf.home
            and shelf.state is ShelfState.STAGING
            and self._moves.give_up_remains(
                shelf.shelf, min_copies=self._context.settings.min_copies
            )
        )

    def _carry_out(self, claim: Claim) -> None:
        """Go from step to step until the move is over or has to wait."""
        steps: dict[MoveState, Callable[[Claim], MoveRecord]] = {
            MoveState.PLANNED: self._begin,
            MoveState.COPYING: self._copying.copy,
            MoveState.COPIED: self._copying.verify,
            MoveState.VERIFIED: self._publish,
            MoveState.PUBLISHED: self._send_readers,
            MoveState.GRACE: self._departing.end_grace,
            MoveState.DELETING: self._departing.delete,
        }
        try:
            while not claim.move.state.over and not self._context.stop.is_set():
                before = claim.move.state
                claim = Claim(steps[before](claim), claim.holder)
                told = {**self._named(claim), "from": before, "to": claim.move.state}
                _log.info("move goes on", extra=told)
                self._context.reached(f"{claim.move.state}")
                if claim.move.state is before:
                    break
                if claim.move.state is MoveState.GRACE:
                    break
            if not claim.move.state.over and claim.move.holder is not None:
                self._context.held.release(claim)
        except MoveTakenOverError as error:
            _log.warning("move taken over", extra={**self._named(claim), "error": str(error)})
        except (TieringError, OSError) as error:
            self._failed(claim, error)

    def _begin(self, claim: Claim) -> MoveRecord:
        run = self._context.catalogue.run(claim.move.run_id)
        if (why := self._context.work.waits(run)) is not None:
            return self._context.held.pause(claim, seconds=SHORT_PAUSE, error=why, counts=False)
        tier = self._context.tiers[claim.move.tier]
        shelves = self._context.catalogue.shelves(run.run_id)
        home = goes_home(self._context.tiers, run, shelves, tier.name)
        path = next((each.path for each in shelves if each.home), "")
        _check_disk(tier, run.bytes)
        capacity = tier.specification.capacity
        pack_bytes = tier.specification.pack_bytes
        packs: Sequence[Pack] = ()
        if pack_bytes is not None and not home:
            packs = pack_up(self._context.catalogue.objects(run.run_id), pack_bytes)
        return self._context.held.begin(
            claim, size=run.bytes, capacity=capacity, home=home, path=path, packs=packs
        )

    def _publish(self, claim: Claim) -> MoveRecord:
        target = self._context.target(claim)
        self._context.archives.put_away(
            target, self._context.objects(claim, target), self._context.passing(claim, target)
        )
        return self._context.held.publish(claim, grace_seconds=self._context.settings.grace_seconds)

    def _send_readers(self, claim: Claim) -> MoveRecord:
        self._context.put_signpost(claim)
        self._context.reached("signpost put")
        return self._context.held.wait_for_readers(claim)

    def _failed(self, claim: Claim, error: Exception) -> None:
        """Write down why a step could not be done, and when it is tried again."""
        said = " ".join(str(error).split())
        if isinstance(error, TierFullError) and claim.move.state is MoveState.PLANNED:
            self._wait_for_room(claim, said)
            return
        if isinstance(error, HomeBusyError):
            self._wait_for_other(claim, said)
            return
        if isinstance(error, CopyAgainError):
            claim = error.claim
        told = {**self._named(claim), "error": said}
        _log.warning("move does not go on", extra=told)
        attempts = claim.move.attempts + 1
        self._tell_failed({claim.move.tier, self._context.source(claim).tier})
        try:
            if isinstance(error, CopyDamagedError) and claim.move.state is MoveState.COPYING:
                if not self._other_source(claim):
                    self._context.held.fail(claim, said)
                return
            final = claim.move.state is MoveState.DELETING
            if attempts >= self._context.settings.most_attempts and not final:
                self._context.held.fail(claim, f"given up after {attempts} attempts: {said}")
                return
            self._context.held.pause(claim, seconds=self._pause(claim), error=said)
        except MoveTakenOverError:
            _log.warning("move taken over", extra=told)

    def _wait_for_room(self, claim: Claim, said: str) -> None:
        """Try again later what has no room in its tier, however often: nothing has failed there.

        It is said once of the tier, and not of each of the moves that wait.
        """
        told = {**self._named(claim), "tier": claim.move.tier}
        now = time.monotonic()
        before = self._found_full.get(claim.move.tier)
        self._found_full[claim.move.tier] = now
        # While one of them waits it is found again within the longest pause.
        if before is None or now - before > 2 * _LONGEST_PAUSE_FOR_ROOM:
            _log.warning("moves wait for room in a tier", extra={**told, "error": said})
        try:
            pause = min(_LONGEST_PAUSE_FOR_ROOM, self._pause(claim))
            self._context.held.pause(claim, seconds=pause, error=said)
        except MoveTakenOverError:
            _log.warning("move taken over", extra=told)

    def _wait_for_other(self, claim: Claim, said: str) -> None:
        """Try again soon what another mover is in the way of, however often: nothing has failed."""
        told = self._named(claim)
        _log.info("move waits for another mover", extra={**told, "error": said})
        try:
            pause = min(SHORT_PAUSE, self._pause(claim))
            self._context.held.pause(claim, seconds=pause, error=said, counts=False)
        except MoveTakenOverError:
            _log.warning("move taken over", extra=told)

    def _named(self, claim: Claim) -> dict[str, object]:
        """Return what a log says of which move it is, and of which run."""
        run = self._context.catalogue.run(claim.move.run_id)
        return {"move": claim.move.move, "run": run.name}

    def _pause(self, claim: Claim) -> float:
        """Return the seconds until the next attempt, when one has failed."""
        first = self._context.settings.first_pause_seconds
        # Movers that were hindered by the same thing shall not all come back at once.
        spread = random.uniform(0.8, 1.2)  # noqa: S311
        return min(_LONGEST_PAUSE, first * 2.0 ** min(claim.move.attempts, 32)) * spread

    def _other_source(self, claim: Claim) -> bool:
        """Go on from another copy where the one at hand is damaged; tell whether there is one."""
        source = self._context.source(claim)
        self._context.catalogue.doubted(source.shelf)
        others = [
            each
            for each in self._context.catalogue.shelves(claim.move.run_id)
            if each.state in READABLE and each.verified_at and each.shelf != source.shelf
        ]
        if not others:
            return False
        self._context.held.from_other(claim, others[0].shelf)
        return True


def _check_disk(tier: Tier, size: int) -> None:
    """Refuse what a tier's disk has no room for.

    Half a copy that waits for more would have taken the room that a recorder needs.
    """
    if tier.folder is None or not tier.folder.is_dir():
        return
    free = shutil.disk_usage(tier.folder).free
    if free < size:
        raise TierFullError(
            f"{tier.name!r} has {free} bytes left on its disk, and the run has {size}: free some, or "
            "give runs another tier"
        )
