"""Whatever is done to runs, results, tiers and movers, in any order, nothing is lost or wrong."""

import itertools
import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.tiering.site import GRACE, Killed, Site, killed_at
from tests.tiering.test_results import LISTED

from forebay.engine import open_result, process
from forebay.opening import open_run
from forebay.tiering.catalogue.held import Claim
from forebay.tiering.catalogue.records import READABLE, MoveState, ShelfState
from forebay.tiering.errors import MoveRefusedError, MoveTakenOverError

TIERS = st.sampled_from(["hot", "warm", "cold"])
FRAMES = 2


class TierMachine(RuleBasedStateMachine):
    """One run, three tiers, and movers that come, die, and wake up late."""

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = TemporaryDirectory(prefix="fb-", dir=base)
        self.site = Site(Path(self.folder.name))
        self.sleepers: list[Claim] = []
        self.names = itertools.count()

    @initialize()
    def begin(self) -> None:
        """Record the run."""
        self.site.record("water", frames=FRAMES)
        self.run_id = self.site.take_in().run_id

    @rule(tier=TIERS, keep=st.booleans())
    def ask(self, tier: str, keep: bool) -> None:
        """Ask for a move, which may be refused."""
        protected = self.site.catalogue.protections()
        before = self.site.moves.find()
        try:
            subject = self.site.catalogue.run(self.run_id)
            move = self.site.moves.plan(subject, tier=tier, keep=keep, why="a test")
        except MoveRefusedError:
            return
        if not keep and not before:
            source = self.tier_of(move.source)
            assert not any(each.kind == "hold" or each.tier == source for each in protected)

    @rule(point=st.integers(0, 60))
    def work_and_die(self, point: int) -> None:
        """Let a mover work that dies at some point."""
        try:
            self.site.mover(killed_at(point)).work()
        except Killed:
            # What it held is held until its lease is over.
            self.site.pass_by(31)

    @rule()
    def work(self) -> None:
        """Let a mover do what is due."""
        self.site.work()

    @rule()
    def fall_asleep(self) -> None:
        """Let a mover take a move and do nothing."""
        claim = self.site.held.claim(f"sleeper {next(self.names)}", lease_seconds=30)
        if claim is not None:
            self.sleepers.append(claim)

    @precondition(lambda self: self.sleepers)
    @rule(which=st.integers(0, 5), step=st.integers(0, 6))
    def wake_up(self, which: int, step: int) -> None:
        """Let it write what it would have written then, if the move is not its own any more."""
        claim = self.sleepers.pop(which % len(self.sleepers))
        now = self.site.moves.get(claim.move.move)
        if now.epoch == claim.move.epoch and not now.state.over:
            return
        moves = self.site.held
        try:
            (
                lambda: moves.publish(claim, grace_seconds=0),
                lambda: moves.begin_deletion(claim, min_copies=1),
                lambda: moves.finish(claim),
                lambda: moves.fail(claim, "late"),
                lambda: moves.advance(claim, MoveState.VERIFIED),
                lambda: moves.note(claim, ["zarr.json"], "verified"),
                lambda: moves.begin(claim, size=1, capacity=None, home=True, path=""),
            )[step]()
        except MoveTakenOverError:
            return
        raise AssertionError("a mover that was overtaken could write")

    @rule(seconds=st.sampled_from([1.0, GRACE, 4000.0]))
    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.site.pass_by(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, 86_400.0]))
    def step_the_clock(self, seconds: float) -> None:
        """Set the clock by a day, to and fro."""
        self.site.pass_by(seconds)

    @rule(kind=st.sampled_from(["pin", "hold"]), tier=TIERS)
    def keep(self, kind: str, tier: str) -> None:
        """Pin a copy, or hold the run."""
        where = tier if kind == "pin" else None
        try:
            self.site.catalogue.protect(
                self.run_id, kind=kind, tier=where, owner="ada", reason="", seconds=5000
            )
        except MoveRefusedError:
            assert kind == "pin"

    @rule()
    def call_off(self) -> None:
        """Cancel what is under way."""
        for move in self.site.moves.find():
            try:
                self.site.moves.cancel(move.move)
            except MoveRefusedError:
                assert move.state in {MoveState.PUBLISHED, MoveState.GRACE, MoveState.DELETING}

    @precondition(lambda self: len(self.whole()) > 1)
    @rule(seed=st.integers(0, 2**16), lose=st.booleans())
    def damage(self, seed: int, lose: bool) -> None:
        """Flip a byte of one copy, or lose an object of it, where there is another one."""
        chance = random.Random(seed)
        tier = chance.choice(sorted(self.whole()))
        relied_on = [each for each in self.site.catalogue.shelves() if each.tier == tier]
        if relied_on[0].state is not ShelfState.AVAILABLE:
            return
        key = chance.choice(sorted(self.site.catalogue.objects(self.run_id))[1:])
        path = Path(self.site.tiers[tier].where(relied_on[0].path)) / key
        if key.startswith(("_forebay", "volumes")) or not path.exists():
            return
        # The others must be whole then, or the last whole copy of the object would be gone.
        if lose:
            path.unlink()
        else:
            content = bytearray(path.read_bytes())
            content[chance.randrange(len(content))] ^= 1
            path.write_bytes(content)
        self.site.catalogue.doubted(relied_on[0].shelf)

    @invariant()
    def there_is_a_whole_copy(self) -> None:
        """At every moment, of every object."""
        if hasattr(self, "run_id"):
            assert self.whole()

    @invariant()
    def it_is_read_as_it_was(self) -> None:
        """Whatever is under way."""
        if hasattr(self, "run_id"):
            self.check_readable()

    @invariant()
    def states_agree(self) -> None:
        """There is one move at a time, and nobody deletes what is relied on."""
        if not hasattr(self, "run_id"):
            return
        moves = self.site.moves.find()
        assert len(moves) <= 1
        shelves = self.site.catalogue.shelves()
        assert len([each for each in shelves if each.state in READABLE]) >= 1
        for shelf in shelves:
            if shelf.state is ShelfState.DRAINING:
                assert [move.source for move in moves] == [shelf.shelf]

    def whole(self) -> set[str]:
        """Return the tiers in which all of the run lies."""
        return self.site.lies_in_tiers(self.site.catalogue.run(self.run_id))

    def check_readable(self) -> None:
        """Read it as anybody does, and compare all of it."""
        self.site.check_readable(frames=FRAMES)

    def tier_of(self, shelf: str) -> str:
        """Return the tier of a copy."""
        return next(each.tier for each in self.site.catalogue.shelves() if each.shelf == shelf)

    def teardown(self) -> None:
        """Let everything come to its end."""
        try:
            if hasattr(self, "run_id"):
                self.site.pass_by(6000)
                self.site.settle()
                assert self.whole()
                self.check_readable()
                states = {each.state for each in self.site.catalogue.shelves()}
                allowed = {ShelfState.AVAILABLE, ShelfState.DELETED, ShelfState.DRAINING}
                assert states <= allowed
        finally:
            self.site.database.close()
            self.folder.cleanup()


class ResultMachine(TierMachine):
    """One volume of a result in the place of the run."""

    @initialize()
    def begin(self) -> None:
        """Publish a result."""
        water = self.site.record("water", frames=FRAMES)
        result = process(open_run(water), LISTED, ledger=self.site.folder / "ledger.sqlite")
        self.path, self.rows = result.path, result.table()
        (volume,) = self.site.volumes().of_folder(result.path)
        self.run_id = volume.run_id

    def check_readable(self) -> None:
        """Read the result as anybody does."""
        pd.testing.assert_frame_equal(open_result(self.path).table(), self.rows)


@pytest.mark.parametrize(("machine", "examples"), [(TierMachine, 5), (ResultMachine, 3)])
def test_whatever_is_done_no_object_is_lost(
    machine: type[RuleBasedStateMachine], examples: int
) -> None:
    """Nor served wrong, at any step of it, and everything comes to its end."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
