"""Whatever is done to a run while it is recorded, and to its blocks, nothing is lost or wrong."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.tiering.site import GRACE, Killed, Site, forget_tiers, killed_at
from tests.tiering.stream import FRAMES_PER_BLOCK, OPTIONS, Stream

from forebay.opening import open_run
from forebay.tiering.catalogue.records import RunRecord
from forebay.tiering.errors import MoveRefusedError, RunNotTieredError
from forebay.tiering.scan import scan, take_in_runs

TIERS = st.sampled_from(["hot", "warm", "cold", "packed"])


class OpenRunMachine(RuleBasedStateMachine):
    """A recorder that is killed and resumed, movers that die, and a catalogue that is lost."""

    server: ClassVar[str | None] = None
    """The database of PostgreSQL that the catalogue is kept in; a file if None."""

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = TemporaryDirectory(prefix="fb-", dir=base)
        if self.server is not None:
            forget_tiers(self.server)
        self.site = Site(Path(self.folder.name), ledger=self.server, **OPTIONS)
        self.stream = Stream(self.site)
        self.closed = False
        self.record(6)
        # Somebody who follows the run knows what he has seen when he came.
        self.follower = open_run(self.stream.path)

    @precondition(lambda self: not self.closed)
    @rule(blocks=st.integers(1, 4))
    def record(self, blocks: int) -> None:
        """Record some blocks."""
        self.stream.record(blocks)

    @precondition(lambda self: not self.closed)
    @rule()
    def kill_the_recorder(self) -> None:
        """Kill it, and let another one go on: it loses nothing that was committed."""
        before = self.stream.frames
        self.stream.resume()
        assert self.stream.frames == before

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        """End the run."""
        self.stream.writer.close()
        self.closed = True

    @rule()
    def take_in(self) -> None:
        """Take in what may be moved, as a service does."""
        if self.closed:
            take_in_runs(self.site.catalogue, self.site.tiers)
        else:
            self.stream.take_in()

    @rule(which=st.integers(0, 9), tier=TIERS, keep=st.booleans())
    def ask(self, which: int, tier: str, keep: bool) -> None:
        """Ask for a piece to be moved."""
        if pieces := self.pieces():
            piece = pieces[which % len(pieces)]
            try:
                self.site.moves.plan(piece, tier=tier, keep=keep, why="a test")
            except MoveRefusedError:
                return

    @rule(point=st.integers(0, 60))
    def work_and_die(self, point: int) -> None:
        """Let a mover work that dies at some point."""
        try:
            self.site.mover(killed_at(point)).work()
        except Killed:
            self.site.pass_by(31)

    @rule(seconds=st.sampled_from([GRACE + 1, 4000.0]))
    def work(self, seconds: float) -> None:
        """Let time pass, and a mover do what is due."""
        self.site.pass_by(seconds)
        self.site.work()

    @rule()
    def lose_the_catalogue(self) -> None:
        """Build it anew from the tiers."""
        self.site.forget_everything()
        assert scan(self.site.catalogue, self.site.tiers, repair=True).not_whole == []

    @invariant()
    def every_frame_is_read_as_it_was(self) -> None:
        """By who comes now, and by who came before."""
        self.stream.check()
        self.follower = self.follower.refresh()
        assert len(self.follower.blocks) * FRAMES_PER_BLOCK == self.stream.frames
        assert [each for each in self.follower.verify().problems if each.block is not None] == []

    @invariant()
    def no_block_is_in_two_pieces(self) -> None:
        """And each piece lies in some tier, whole."""
        seen: set[str] = set()
        for piece in self.site.catalogue.at(self.stream.path):
            keys = set(self.site.catalogue.objects(piece.run_id))
            assert not seen & keys
            seen |= keys
            assert self.site.lies_in_tiers(piece)

    def pieces(self) -> list[RunRecord]:
        try:
            return self.stream.known().pieces(self.stream.path)
        except RunNotTieredError:
            return []

    def teardown(self) -> None:
        """Let everything come to its end, in one tier."""
        try:
            self.stream.writer.close()
            self.closed = True
            self.site.settle()
            for piece in self.pieces():
                if self.site.lies_in_tiers(piece) != {"cold"}:
                    self.site.moves.plan(piece, tier="cold", keep=False, why="a test")
            self.site.settle()
            self.stream.check()
            assert self.stream.at_home() == []
        finally:
            self.site.database.close()
            self.folder.cleanup()


def check(machine: type[OpenRunMachine], *, examples: int, steps: int) -> None:
    """Look for a way to lose a frame."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_whatever_is_done_to_an_open_run_no_frame_is_lost() -> None:
    """Nor read as another one, and the run closes, and lies in one tier in the end."""
    check(OpenRunMachine, examples=4, steps=15)


@pytest.mark.postgres
def test_no_frame_is_lost_where_the_catalogue_is_on_a_server(postgresql_ledger: str) -> None:
    """The same in PostgreSQL."""
    check(type("Machine", (OpenRunMachine,), {"server": postgresql_ledger}), examples=2, steps=15)
