"""A mover that was overtaken, killed or stopped changes nothing any more."""

import contextlib
import os
import subprocess

import pytest
from tests.tiering.site import GRACE, Site, on_each_database

from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import (
    MoveTakenOverError,
)
from forebay.tiering.homes.home import home_of
from forebay.tiering.moving.holder import new_holder

pytestmark = on_each_database


def test_what_a_process_has_left_that_was_killed_goes_on_at_once(site: Site) -> None:
    """On its own machine nobody waits for its lease; of others it is not known."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed = new_holder().replace(f"process {os.getpid()} ", f"process {ended.pid} ")
    elsewhere = killed.replace(" on ", " on another-")
    for holder, goes_on in ((elsewhere, False), (killed, True)):
        move = site.plan("cold")
        claim = site.held.claim(holder, lease_seconds=1000)
        assert claim is not None
        site.work()
        now = site.moves.get(move.move)
        assert (now.state is MoveState.GRACE) is goes_on
        assert goes_on or now.holder == elsewhere
        with pytest.raises(MoveTakenOverError) if goes_on else contextlib.nullcontext():
            site.held.renew(claim, lease_seconds=1000)
        site.pass_by(1001)
    site.check_readable()


def test_a_mover_that_wakes_up_late_changes_nothing(site: Site) -> None:
    """Its lease is over, another one has finished, and the run has gone elsewhere since."""
    site.plan("cold")
    asleep = site.held.claim("the sleeper", lease_seconds=30)
    assert asleep is not None
    site.pass_by(31)
    site.settle()
    site.move("warm")
    for write in (
        lambda: site.held.renew(asleep, lease_seconds=30),
        lambda: site.held.publish(asleep, grace_seconds=0),
        lambda: site.held.begin_deletion(asleep, min_copies=1),
        lambda: site.held.finish(asleep),
        lambda: site.held.fail(asleep, "late"),
        lambda: site.held.note(asleep, ["zarr.json"], "copied"),
    ):
        with pytest.raises(MoveTakenOverError, match="in other hands"):
            write()
    assert site.lies_in() == {"warm"}
    site.check_readable()


def overtaken_at(site: Site, point: str) -> None:
    """Let a mover come to a point, and another one take its move there."""

    def reached(name: str) -> None:
        if name == point:
            site.pass_by(31)
            assert site.held.claim("another", lease_seconds=30) is not None

    site.mover(reached).work()


def test_who_was_overtaken_puts_nothing_into_the_folder(site: Site) -> None:
    """The run may have been moved elsewhere since."""
    site.move("cold")
    before = site.files("hot")
    site.plan("hot")
    overtaken_at(site, "copying")
    assert site.files("hot") == before


def test_who_was_overtaken_sends_no_readers(site: Site) -> None:
    """They may have been sent elsewhere since."""
    site.plan("cold")
    overtaken_at(site, "published")
    assert "water/_forebay/tiers.json" not in site.files("hot")


def test_who_was_overtaken_deletes_nothing(site: Site) -> None:
    """The run may have come back since."""
    site.plan("cold")
    site.work()
    site.pass_by(GRACE + 1)
    before = site.files("hot")
    overtaken_at(site, "signpost without it")
    assert site.files("hot") == before


def test_a_claim_ends_when_the_same_mover_takes_the_move_anew(site: Site) -> None:
    """Whatever it was at before then changes nothing, though the move is still in its hands."""
    site.plan("cold")
    before = site.held.claim("the mover", lease_seconds=30)
    again = site.held.claim("the mover", lease_seconds=30)
    assert before is not None
    assert again is not None
    with pytest.raises(MoveTakenOverError, match="in other hands"):
        site.held.renew(before, lease_seconds=30)
    site.held.renew(again, lease_seconds=30)


def test_a_claim_ends_when_the_move_is_let_go(site: Site) -> None:
    """Nobody else has taken it since, and what is written about it would be nobody's."""
    site.plan("cold")
    claim = site.held.claim("the mover", lease_seconds=30)
    assert claim is not None
    site.held.pause(claim, seconds=10, error=None)
    with pytest.raises(MoveTakenOverError, match="in other hands"):
        site.held.renew(claim, lease_seconds=30)


def test_a_mover_that_holds_the_folder_is_waited_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody changes the run's folder under it; however often, that is no failure."""
    site.plan("cold")
    with home_of(site.tiers, site.take_in()).held():
        for _ in range(site.settings.most_attempts + 1):
            (move,) = site.work()
            assert (move.state, move.attempts) == (MoveState.PUBLISHED, 0)
            assert move.error == f"{site.runs / 'water'} is being changed by another mover"
            site.pass_by(60)
    assert not [each for each in caplog.records if each.levelname == "WARNING"]
    site.settle()
    assert site.lies_in() == {"cold"}
