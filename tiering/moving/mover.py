"""Carrying moves out, one step after the other, each of which may be interrupted and repeated."""

import contextlib
import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import batched

from forebay.acquisition.run.lock import writer_name
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import Claim, HeldMoves
from forebay.tiering.catalogue.migrating import Database
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import (
    READABLE,
    Kind,
    MoveRecord,
    MoveState,
    RunRecord,
    ShelfRecord,
    ShelfState,
)
from forebay.tiering.errors import (
    CopyDamagedError,
    MoveRefusedError,
    MoveTakenOverError,
    PlaceUnavailableError,
    TieringError,
)
from forebay.tiering.moving.archives import Archives
from forebay.tiering.moving.at_once import STREAMS, several_at_once
from forebay.tiering.moving.home_lock import home_lock
from forebay.tiering.moving.manifest import manifest
from forebay.tiering.moving.pace import Pace
from forebay.tiering.moving.signposting import put_signpost
from forebay.tiering.moving.throttle import Throttle
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.packing.pack import Pack, pack_up
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TieringSettings
from forebay.tiering.storage.inventory import MANIFEST, STAYING_AT_HOME
from forebay.tiering.storage.shelf import Came, Shelf, unhindered
from forebay.tiering.storage.tiers import Tiers

_LONGEST_PAUSE = 3600.0
_NOTED_AT_ONCE = 32
"""Objects after which it is written down that they are there."""
_KEYS_AT_ONCE = 1000
_AGAIN, _COPIED_AGAIN = "again", "copied again"
"""How it is with an object that was not read back as it was put."""
_SHORT_PAUSE = 60.0
"""Pause before it is looked again whether a copy may go."""

_log = logging.getLogger("forebay.tiering")

type Reached = Callable[[str], None]
"""Told of each point that a mover comes to."""


def _go_on(_: object) -> None:
    """Do nothing."""


def at_once(_: RunRecord) -> str | None:
    """Wait for nothing."""
    return None


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
    waits
        Says why something is not to be moved yet, such as a result that a job publishes into.
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
        waits: Callable[[RunRecord], str | None] = at_once,
    ) -> None:
        self._catalogue = Catalogue(database)
        self._moves = Moves(database)
        self._held = HeldMoves(database)
        self._tiers = tiers
        self._settings = settings
        self._reached = reached
        self._archives = Archives(self._catalogue, tiers, reached)
        self._stop = stop or threading.Event()
        self._pace = pace or Pace()
        self._avoided = avoided
        self._tell_failed = failed
        self._waits = waits
        self._holder = f"{writer_name()} {uuid.uuid4().hex[:8]}"

    def work(self) -> list[MoveRecord]:
        """Carry out everything that is due; return the moves as they stand then."""
        self.sweep()
        touched: dict[int, MoveRecord] = {}
        while not self._stop.is_set():
            claim = self._held.claim(
                self._holder,
                lease_seconds=self._settings.lease_seconds,
                avoiding=self._avoided(),
            )
            if claim is None:
                break
            self._reached("claimed")
            self._carry_out(claim)
            touched[claim.move.move] = self._moves.get(claim.move.move)
        return list(touched.values())

    def sweep(self) -> None:
        """Delete what is left of copies that were given up before they were published."""
        busy = {each for move in self._moves.find() for each in (move.source, move.target)}
        avoided = self._avoided()
        for shelf in self._catalogue.shelves():
            if shelf.tier in avoided:
                continue
            if shelf.state is ShelfState.DELETING and shelf.shelf not in busy:
                try:
                    self._delete_given_up(shelf)
                except TieringError as error:
                    told = {"copy": shelf.shelf, "tier": shelf.tier, "error": str(error)}
                    _log.warning("copy that was given up cannot be deleted", extra=told)

    def _carry_out(self, claim: Claim) -> None:
        """Go from step to step until the move is over or has to wait."""
        steps: dict[MoveState, Callable[[Claim], MoveRecord]] = {
            MoveState.PLANNED: self._begin,
            MoveState.COPYING: self._copy,
            MoveState.COPIED: self._verify,
            MoveState.VERIFIED: self._publish,
            MoveState.PUBLISHED: self._send_readers,
            MoveState.GRACE: self._end_grace,
            MoveState.DELETING: self._delete,
        }
        try:
            while not claim.move.state.over and not self._stop.is_set():
                before = claim.move.state
                claim = Claim(steps[before](claim), claim.holder)
                told = {"move": claim.move.move, "run": claim.move.run_id, "from": before}
                _log.info("move goes on", extra={**told, "to": claim.move.state})
                self._reached(f"{claim.move.state}")
                if claim.move.state is before:
                    break
                if claim.move.state is MoveState.GRACE:
                    break
            if not claim.move.state.over and claim.move.holder is not None:
                self._held.release(claim)
        except MoveTakenOverError as error:
            _log.warning("move taken over", extra={"move": claim.move.move, "error": str(error)})
        except (TieringError, OSError) as error:
            self._failed(claim, error)

    def _begin(self, claim: Claim) -> MoveRecord:
        run = self._catalogue.run(claim.move.run_id)
        if (why := self._waits(run)) is not None:
            return self._held.pause(claim, seconds=_SHORT_PAUSE, error=why, counts=False)
        tier = self._tiers[claim.move.tier]
        shelves = self._catalogue.shelves(run.run_id)
        home = any(each.home and each.tier == tier.name for each in shelves)
        path = next((each.path for each in shelves if each.home), "")
        capacity = tier.specification.capacity
        pack_bytes = tier.specification.pack_bytes
        packs: Sequence[Pack] = ()
        if pack_bytes is not None and not home:
            packs = pack_up(self._catalogue.objects(run.run_id), pack_bytes)
        return self._held.begin(
            claim, size=run.bytes, capacity=capacity, home=home, path=path, packs=packs
        )

    def _copy(self, claim: Claim) -> MoveRecord:
        source, target = self._source(claim), self._target(claim)
        from_shelf, to_shelf = self._shelf(source), self._shelf(target)
        done = self._catalogue.progress(target.shelf)
        objects = self._objects(claim, target)
        left = [key for key in objects if done.get(key, _AGAIN) == _AGAIN]
        if (waiting := self._recall(claim, source, left)) is not None:
            return waiting
        passing = self._passing(claim, source, target)

        def copy(key: str, _: int) -> Came:
            with self._at(target):
                if target.home:
                    self._held.renew(claim, lease_seconds=self._settings.lease_seconds)
                return to_shelf.copy(key, objects[key], from_shelf, passing=passing)

        copied: list[str] = []
        # The folder of a run is held by one at a time.
        streams = 1 if target.home else STREAMS
        try:
            with contextlib.closing(
                several_at_once(_pieces(to_shelf, left, objects), copy, streams=streams)
            ) as coming:
                for key, came in coming:
                    if came.pack is not None:
                        self._reached("pack copied")
                        state = _COPIED_AGAIN if key in done else "copied"
                        self._note_all(claim, came.keys, state, pack=came.pack)
                    elif key in done:
                        self._held.note(claim, [key], _COPIED_AGAIN)
                    else:
                        copied.append(key)
                    self._reached("object copied")
                    if len(copied) == _NOTED_AT_ONCE:
                        self._held.note(claim, copied, "copied")
                        copied = []
                    if self._stop.is_set():
                        break
        except (TieringError, OSError):
            # What is there need not be copied by the next attempt.
            if copied:
                self._held.note(claim, copied, "copied")
            raise
        if copied:
            self._held.note(claim, copied, "copied")
            self._reached("objects noted")
        if self._stop.is_set():
            return claim.move
        with self._at(target):
            to_shelf.remove_leftovers()
        return self._held.advance(claim, MoveState.COPIED)

    def _verify(self, claim: Claim) -> MoveRecord:
        target = self._target(claim)
        shelf = self._shelf(target)
        done = self._catalogue.progress(target.shelf)
        objects = self._objects(claim, target)
        if self._archives.put_away_already(target):
            sizes = shelf.sizes()
            lacking = [key for key, each in objects.items() if sizes.get(key) != each.bytes]
            if lacking:
                return self._copy_again(claim, target, lacking[0], twice=False)
            if target.verified_at is not None:
                return self._held.advance(claim, MoveState.VERIFIED)
            if (waiting := self._recall(claim, target, list(objects))) is not None:
                return waiting
        passing = self._passing(claim, target)
        left = [key for key in objects if done.get(key) != "verified"]

        def look(key: str, _: int) -> dict[str, KnownObject | None]:
            return shelf.look_along(key, passing=passing)

        verified: list[str] = []
        with contextlib.closing(several_at_once(_pieces(shelf, left, objects), look)) as looking:
            for _, looked in looking:
                for key, found in looked.items():
                    if done.get(key) == "verified":
                        continue
                    if found != objects[key]:
                        again = done.get(key) == _COPIED_AGAIN
                        return self._copy_again(claim, target, key, twice=again)
                    verified.append(key)
                    self._reached("object verified")
                    if len(verified) == _NOTED_AT_ONCE:
                        self._held.note(claim, verified, "verified")
                        verified = []
                if self._stop.is_set():
                    return claim.move
        if not target.home:
            # A copy that has this is whole: the catalogue can be built from it.
            content = manifest(self._catalogue, target)
            shelf.put(MANIFEST, content)
            if shelf.read(MANIFEST) != content:
                raise CopyDamagedError(f"{shelf.where}/{MANIFEST} is not what was put there")
            self._reached("manifest put")
        return self._held.advance(claim, MoveState.VERIFIED)

    def _note_all(self, claim: Claim, keys: Sequence[str], state: str, *, pack: Pack) -> None:
        """Write down that all objects of a pack are copied."""
        for several in batched(keys, _KEYS_AT_ONCE):
            self._held.note(claim, several, state, pack=pack)
        self._reached("pack noted")

    def _copy_again(
        self, claim: Claim, target: ShelfRecord, key: str, *, twice: bool
    ) -> MoveRecord:
        """Have an object put once more that the tier does not give back as it was given."""
        if target.state is not ShelfState.STAGING:
            self._catalogue.doubted(target.shelf)
            raise CopyDamagedError(
                f"{self._shelf(target).where}/{key} is missing there or has changed: "
                "'forebay scrub' puts the copy right"
            )
        where = f"{self._shelf(target).where}/{key}"
        if twice:
            return self._held.fail(
                claim,
                f"{where} was put there twice, and other bytes were read back each time: look "
                f"after the tier {target.tier!r}",
            )
        again = Claim(self._held.again(claim, key, _AGAIN), claim.holder)
        raise CopyAgainError(again, f"{where} was not read back as put")

    def _recall(self, claim: Claim, shelf: ShelfRecord, keys: Sequence[str]) -> MoveRecord | None:
        """Wait for objects that are to be read and have to be recalled; None if none have."""
        awaited = self._archives.ask_for(shelf, keys)
        if awaited is None:
            return None
        return self._held.pause(claim, seconds=awaited.pause, error=awaited.why, counts=False)

    def _publish(self, claim: Claim) -> MoveRecord:
        target = self._target(claim)
        self._archives.put_away(target, self._objects(claim, target), self._passing(claim, target))
        return self._held.publish(claim, grace_seconds=self._settings.grace_seconds)

    def _send_readers(self, claim: Claim) -> MoveRecord:
        self._put_signpost(claim)
        self._reached("signpost put")
        return self._held.wait_for_readers(claim)

    def _end_grace(self, claim: Claim) -> MoveRecord:
        run_id, source = claim.move.run_id, claim.move.source
        kept = [
            each
            for each in self._catalogue.shelves(run_id)
            if each.shelf != source and each.state is ShelfState.AVAILABLE and each.verified_at
        ]
        for each in kept:
            self._put_back(claim, each)
        self._reached("others there")
        try:
            return self._held.begin_deletion(claim, min_copies=self._settings.min_copies)
        except MoveRefusedError as error:
            return self._held.pause(claim, seconds=_SHORT_PAUSE, error=str(error), counts=False)

    def _put_back(self, claim: Claim, shelf: ShelfRecord) -> None:
        """Look whether a copy that is relied on has all its objects, and put back what it lost."""
        there = self._shelf(shelf)
        sizes = there.sizes()
        back: set[str] = set()
        for key, known in self._catalogue.objects(shelf.run_id).items():
            if sizes.get(key) == known.bytes or key in back:
                continue
            told = {"place": there.where, "object": key}
            _log.warning("object was lost there and is put back", extra=told)
            came = there.copy(key, known, self._shelf(self._source(claim)))
            back.update(came.keys)
            if came.pack is not None:
                self._catalogue.packed(shelf.shelf, came.pack)
                there = self._shelf(shelf)
            found = there.look_along(key)[key]
            self._archives.put_away(shelf, [key], unhindered)
            if found != known:
                self._catalogue.doubted(shelf.shelf)
                raise CopyDamagedError(
                    f"{there.where}/{key} was put there twice and is not there: nothing is deleted "
                    "elsewhere; look after that tier"
                )

    def _delete(self, claim: Claim) -> MoveRecord:
        (source,) = [
            each
            for each in self._catalogue.shelves(claim.move.run_id)
            if each.shelf == claim.move.source
        ]
        # Nobody is sent to a copy that is going.
        self._put_signpost(claim)
        self._reached("signpost without it")
        with self._at(source):
            self._held.renew(claim, lease_seconds=self._settings.lease_seconds)
            self._delete_objects(source)
        self._reached("objects deleted")
        return self._held.finish(claim)

    def _delete_objects(self, source: ShelfRecord) -> None:
        shelf = self._shelf(source)
        # Documents go first: no reader that knows only Zarr shall see frames vanish one by one.
        keys = list(self._catalogue.objects(source.run_id))[::-1]
        gone = [key for key in keys if not (source.home and key.startswith(STAYING_AT_HOME))]
        if not source.home:
            gone = [MANIFEST, *gone]
        for name in dict.fromkeys(shelf.stored_as(key) for key in gone):
            shelf.delete([name])
            self._reached("object deleted")
        shelf.remove_leftovers()
        if not source.home:
            shelf.remove_folders()
        elif self._catalogue.run(source.run_id).kind is Kind.RESULT:
            # The folder of a part is there as long as something of the part is.
            shelf.remove_folders_of(gone)

    def _delete_given_up(self, shelf: ShelfRecord) -> None:
        with self._at(shelf):
            now = [
                each
                for each in self._catalogue.shelves(shelf.run_id)
                if each.shelf == shelf.shelf and each.state is ShelfState.DELETING
            ]
            if now:
                self._delete_objects(shelf)
                self._moves.gave_up(shelf.shelf)

    def _put_signpost(self, claim: Claim) -> None:
        """Tell readers, in the run's folder, where its copies lie."""
        run = self._catalogue.run(claim.move.run_id)
        with home_lock(run.lock):
            # Within the lock: a mover that was overtaken must not put an old one back.
            self._held.renew(claim, lease_seconds=self._settings.lease_seconds)
            put_signpost(self._catalogue, self._tiers, run.run_id)

    def _objects(self, claim: Claim, target: ShelfRecord) -> dict[str, KnownObject]:
        objects = self._catalogue.objects(claim.move.run_id)
        if target.home:
            return {
                key: each for key, each in objects.items() if not key.startswith(STAYING_AT_HOME)
            }
        return objects

    def _source(self, claim: Claim) -> ShelfRecord:
        shelves = self._catalogue.shelves(claim.move.run_id)
        return next(each for each in shelves if each.shelf == claim.move.source)

    def _target(self, claim: Claim) -> ShelfRecord:
        shelves = self._catalogue.shelves(claim.move.run_id)
        return next(each for each in shelves if each.shelf == claim.move.target)

    def _shelf(self, record: ShelfRecord) -> Shelf:
        return shelf_of_copy(self._catalogue, self._tiers, record)

    def _at(self, record: ShelfRecord) -> AbstractContextManager[None]:
        """Hold the folder of the run, where it is that which is changed."""
        if not record.home:
            return contextlib.nullcontext()
        return home_lock(self._catalogue.run(record.run_id).lock)

    def _passing(self, claim: Claim, *shelves: ShelfRecord) -> Callable[[int], None]:
        """Return what bytes go through: no faster than allowed, and the claim is kept meanwhile."""
        limits = [self._tiers[each.tier].specification.bandwidth for each in shelves]
        allowed = [each for each in limits if each is not None]
        throttle = Throttle(min(allowed) if allowed else None, wait=self._stop.wait)
        lease = self._settings.lease_seconds
        renewed = time.monotonic()

        one_at_a_time = threading.Lock()

        def passing(count: int) -> None:
            nonlocal renewed
            with one_at_a_time:
                throttle(count)
                self._pace.take(count)
                through = False
                while not through:
                    through = self._pace.wait(timeout=lease / 4) or self._stop.is_set()
                    if time.monotonic() - renewed > lease / 4:
                        self._held.renew(claim, lease_seconds=lease)
                        renewed = time.monotonic()

        return passing

    def _failed(self, claim: Claim, error: Exception) -> None:
        """Write down why a step could not be done, and when it is tried again."""
        said = " ".join(str(error).split())
        if isinstance(error, CopyAgainError):
            claim = error.claim
        told = {"move": claim.move.move, "run": claim.move.run_id, "error": said}
        _log.warning("move does not go on", extra=told)
        attempts = claim.move.attempts + 1
        self._tell_failed({claim.move.tier, self._source(claim).tier})
        try:
            if isinstance(error, CopyDamagedError) and claim.move.state is MoveState.COPYING:
                if not self._other_source(claim):
                    self._held.fail(claim, said)
                return
            final = claim.move.state is MoveState.DELETING
            if attempts >= self._settings.most_attempts and not final:
                self._held.fail(claim, f"given up after {attempts} attempts: {said}")
                return
            pause = min(_LONGEST_PAUSE, self._settings.first_pause_seconds * 2 ** (attempts - 1))
            # Movers that were hindered by the same thing shall not all come back at once.
            pause *= random.uniform(0.8, 1.2)  # noqa: S311
            self._held.pause(claim, seconds=pause, error=said)
        except MoveTakenOverError:
            _log.warning("move taken over", extra=told)

    def _other_source(self, claim: Claim) -> bool:
        """Go on from another copy where the one at hand is damaged; tell whether there is one."""
        source = self._source(claim)
        self._catalogue.doubted(source.shelf)
        others = [
            each
            for each in self._catalogue.shelves(claim.move.run_id)
            if each.state in READABLE and each.verified_at and each.shelf != source.shelf
        ]
        if not others:
            return False
        self._held.from_other(claim, others[0].shelf)
        return True


def _pieces(
    shelf: Shelf, keys: Iterable[str], objects: Mapping[str, KnownObject]
) -> list[tuple[str, int]]:
    """Return one key of each piece that objects lie in on a shelf, and how large that is."""
    firsts: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    for key in keys:
        first = firsts.setdefault(shelf.stored_as(key), key)
        sizes[first] += objects[key].bytes
    return [*sizes.items()]


class CopyAgainError(PlaceUnavailableError):
    """A tier does not give back what it was given."""

    def __init__(self, claim: Claim, message: str) -> None:
        super().__init__(message)
        self.claim = claim
        """The move, which copies the object once more."""
