"""The new copy of a move: put there object by object, and read back."""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from forebay.tiering.archive.at_hand import AtHand, BesideAtHand
from forebay.tiering.catalogue.held import Claim
from forebay.tiering.catalogue.records import MoveRecord, MoveState, ShelfRecord, ShelfState
from forebay.tiering.errors import CopyDamagedError, PlaceUnavailableError, TieringError
from forebay.tiering.moving.at_once import several_at_once
from forebay.tiering.moving.context import MoveContext
from forebay.tiering.moving.manifest import manifest
from forebay.tiering.packing.pack import Pack
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import MANIFEST
from forebay.tiering.storage.shelf import Came, Shelf, Source

_NOTED_AT_ONCE = 32
"""Objects after which it is written down that they are there."""
_KEYS_AT_ONCE = 1000
_AGAIN, _COPIED_AGAIN = "again", "copied again"
"""How it is with an object that was not read back as it was put."""


@dataclass(frozen=True, slots=True)
class Copying:
    """Makes copies and reads them back."""

    context: MoveContext
    """What the steps of moves have in common."""

    def copy(self, claim: Claim) -> MoveRecord:
        """Put every object of the run onto the shelf that was made for it."""
        source, target = self.context.source(claim), self.context.target(claim)
        to_shelf = self.context.shelf(target)
        done = self.context.catalogue.progress(target.shelf)
        objects = self.context.objects(claim, target)
        left = [key for key in objects if done.get(key, _AGAIN) == _AGAIN]
        from_place: Source = self.context.shelf(source)
        away = left
        if self.context.archives.put_away_already(source):
            run = self.context.catalogue.run(claim.move.run_id)
            at_hand = AtHand.of(self.context.catalogue, self.context.tiers, run)
            away, from_place = at_hand.without(left), BesideAtHand(from_place, at_hand)
        if (waiting := self.context.recall(claim, source, away)) is not None:
            return waiting
        if not done and to_shelf.folder is None:
            # Some servers make a bucket of any name that is put to: a list is refused.
            to_shelf.stored()
        passing = self.context.passing(claim, source, target)

        def copy(key: str, _: int) -> Came:
            return to_shelf.copy(key, objects[key], from_place, passing=passing)

        copied: list[str] = []
        try:
            with contextlib.closing(
                self._several(claim, target, _pieces(to_shelf, left, objects), copy)
            ) as coming:
                for key, came in coming:
                    if came.pack is not None:
                        self.context.reached("pack copied")
                        state = _COPIED_AGAIN if key in done else "copied"
                        self._note_all(claim, came.keys, state, pack=came.pack)
                    elif key in done:
                        self.context.held.note(claim, [key], _COPIED_AGAIN)
                    else:
                        copied.append(key)
                    self.context.reached("object copied")
                    if len(copied) == _NOTED_AT_ONCE:
                        self.context.held.note(claim, copied, "copied")
                        copied = []
                    if self.context.stop.is_set():
                        break
        except (TieringError, OSError):
            # What is there need not be copied by the next attempt.
            if copied:
                self.context.held.note(claim, copied, "copied")
            raise
        if copied:
            self.context.held.note(claim, copied, "copied")
            self.context.reached("objects noted")
        if self.context.stop.is_set():
            return claim.move
        with self.context.at(target):
            to_shelf.remove_leftovers()
        return self.context.held.advance(claim, MoveState.COPIED)

    def verify(self, claim: Claim) -> MoveRecord:
        """Read every object back from the new copy and compare it."""
        target = self.context.target(claim)
        shelf = self.context.shelf(target)
        done = self.context.catalogue.progress(target.shelf)
        objects = self.context.objects(claim, target)
        if self.context.archives.put_away_already(target):
            sizes = shelf.sizes()
            lacking = [key for key, each in objects.items() if sizes.get(key) != each.bytes]
            if lacking:
                return self._copy_again(claim, target, lacking[0], twice=False)
            if target.verified_at is not None:
                return self.context.held.advance(claim, MoveState.VERIFIED)
            if (waiting := self.context.recall(claim, target, list(objects))) is not None:
                return waiting
        passing = self.context.passing(claim, target)
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
                    self.context.reached("object verified")
                    if len(verified) == _NOTED_AT_ONCE:
                        self.context.held.note(claim, verified, "verified")
                        verified = []
                if self.context.stop.is_set():
                    return claim.move
        if not target.home:
            # A copy that has this is whole: the catalogue can be built from it.
            content = manifest(self.context.catalogue, target)
            shelf.put(MANIFEST, content)
            if shelf.read(MANIFEST) != content:
                raise CopyDamagedError(f"{shelf.where}/{MANIFEST} is not what was put there")
            self.context.reached("manifest put")
        return self.context.held.advance(claim, MoveState.VERIFIED)

    def _several(
        self,
        claim: Claim,
        target: ShelfRecord,
        pieces: Sequence[tuple[str, int]],
        copy: Callable[[str, int], Came],
    ) -> Generator[tuple[str, Came]]:
        """Put several objects at a time; the folder of a run is held while it is changed."""
        if not target.home:
            yield from several_at_once(pieces, copy)
            return
        for several in batched(pieces, _NOTED_AT_ONCE):
            with self.context.at(target):
                # Within the lock: a mover that was overtaken must not change anything there.
                lease = self.context.settings.lease_seconds
                self.context.held.renew(claim, lease_seconds=lease)
                yield from several_at_once(several, copy)

    def _note_all(self, claim: Claim, keys: Sequence[str], state: str, *, pack: Pack) -> None:
        """Write down that all objects of a pack are copied."""
        for several in batched(keys, _KEYS_AT_ONCE):
            self.context.held.note(claim, several, state, pack=pack)
        self.context.reached("pack noted")

    def _copy_again(
        self, claim: Claim, target: ShelfRecord, key: str, *, twice: bool
    ) -> MoveRecord:
        """Have an object put once more that the tier does not give back as it was given."""
        if target.state is not ShelfState.STAGING:
            self.context.catalogue.doubted(target.shelf)
            raise CopyDamagedError(
                f"{self.context.shelf(target).where}/{key} is missing there or has changed: "
                "'forebay scrub' puts the copy right"
            )
        where = f"{self.context.shelf(target).where}/{key}"
        if twice:
            return self.context.held.fail(
                claim,
                f"{where} was put there twice, and other bytes were read back each time: look "
                f"after the tier {target.tier!r}",
            )
        again = Claim(self.context.held.again(claim, key, _AGAIN), claim.holder)
        raise CopyAgainError(again, f"{where} was not read back as put")


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
