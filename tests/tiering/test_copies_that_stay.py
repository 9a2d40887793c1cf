"""A copy goes only where nothing keeps it, and others are there that were read back."""

from pathlib import Path

import pytest
from tests.tiering.site import GRACE, Killed, Site, killed_at_first, on_each_database

from forebay.tiering.catalogue.records import MoveState, ShelfState
from forebay.tiering.catalogue.schema import SHELVES
from forebay.tiering.errors import (
    MoveRefusedError,
)
from forebay.tiering.storage.shelf import Shelf

pytestmark = on_each_database


@pytest.mark.parametrize("kind", ["pin", "hold"])
def test_what_is_kept_does_not_go(site: Site, kind: str) -> None:
    """Not when it is asked for, and not when the grace ends that began before."""
    run = site.take_in()
    tier = "hot" if kind == "pin" else None

    def protect() -> None:
        site.catalogue.protect(
            run.run_id, kind=kind, tier=tier, owner="ada", reason="court", seconds=None
        )

    site.plan("cold")
    site.work()
    protect()
    site.pass_by(GRACE + 1)
    (move,) = site.work()
    assert move.state == MoveState.GRACE
    assert move.error == f"its copy in 'hot' stays: ada has put a {kind} on it (court)"
    site.pass_by(10**6)
    site.work()
    assert site.lies_in() == {"hot", "cold"}
    assert site.catalogue.unprotect(run.run_id, kind=kind) == 1
    site.settle()
    assert site.lies_in() == {"cold"}
    site.move("hot")
    protect()
    with pytest.raises(MoveRefusedError, match=f"water stays in 'hot': ada has put a {kind}"):
        site.plan("cold")
    site.plan("cold", keep=True)


def test_a_pin_ends_by_itself(site: Site) -> None:
    """By the clock that all share."""
    run = site.take_in()
    site.catalogue.protect(
        run.run_id, kind="pin", tier="hot", owner="ada", reason="", seconds=1000.0
    )
    with pytest.raises(MoveRefusedError):
        site.plan("cold")
    site.pass_by(1001)
    assert site.catalogue.protections() == []
    assert site.move("cold").state == MoveState.DONE
    with pytest.raises(MoveRefusedError, match="no copy in the tier 'warm'"):
        site.catalogue.protect(
            run.run_id, kind="pin", tier="warm", owner="ada", reason="", seconds=None
        )


def test_enough_copies_stay(quick: Path, ledger: Path | str) -> None:
    """As many verified ones as the settings ask for, besides the one that goes."""
    with Site(quick, ledger=ledger, min_copies=2) as site:
        site.record("water")
        site.plan("cold")
        site.work()
        site.pass_by(GRACE + 1)
        (move,) = site.work()
        assert move.state == MoveState.GRACE
        assert move.error == (
            "its copy in 'hot' stays: there are 1 other verified copies, and 2 must be"
        )
        assert site.lies_in() == {"hot", "cold"}


def test_what_the_other_copy_has_lost_is_put_back_before_the_old_one_goes(site: Site) -> None:
    """It is looked at once more before anything is deleted."""
    site.plan("cold")
    site.work()
    (site.copy_in("cold") / "frames" / "c.1.0.0").unlink()
    site.pass_by(GRACE + 1)
    (move,) = site.work()
    assert move.state == MoveState.DONE
    assert site.lies_in() == {"cold"}
    site.check_readable()


def test_nothing_goes_while_what_is_put_back_is_not_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tier that loses it again is not relied on."""
    site.plan("cold")
    site.work()
    before = site.files("hot")
    (site.copy_in("cold") / "frames" / "c.1.0.0").unlink()
    monkeypatch.setattr(Shelf, "look_along", lambda _, key, **__: {key: None})
    site.pass_by(GRACE + 1)
    (move,) = site.work()
    assert move.state == MoveState.GRACE
    assert move.error is not None
    assert "was put there twice and is not there" in move.error
    assert site.files("hot") == before


def test_a_copy_that_was_taken_for_given_up_stays_if_it_is_not(site: Site) -> None:
    """How it stands is looked at anew when nobody else can change it."""
    site.move("cold")
    before = site.files("cold")
    (copy,) = [each for each in site.catalogue.shelves(site.take_in().run_id) if not each.home]
    site.mover()._departing.delete_given_up(copy)
    assert site.files("cold") == before


def test_nothing_goes_while_no_other_copy_was_read_back(site: Site) -> None:
    """One that is in doubt does not count."""
    site.plan("cold")
    (move,) = site.work()
    assert move.target is not None
    site.catalogue.doubted(move.target)
    site.pass_by(10**6)
    (move,) = site.work()
    assert move.state == MoveState.GRACE
    assert move.error == (
        "its copy in 'hot' stays: there are 0 other verified copies, and 1 must be"
    )
    assert site.lies_in() == {"hot", "cold"}


def test_calling_a_move_off_leaves_a_copy_that_was_there_before(site: Site) -> None:
    """The move would have relied on it, and has not made it."""
    site.move("cold", keep=True)
    copied = site.files("cold")
    site.moves.cancel(site.plan("cold").move)
    site.settle()
    assert site.lies_in() == {"hot", "cold"}
    assert site.files("cold") == copied


def test_a_home_that_a_move_fills_is_no_remains(site: Site) -> None:
    """However a scan looked at it before: what is there is to become the copy."""
    site.move("cold")
    site.plan("hot")
    with pytest.raises(Killed):
        site.mover(killed_at_first("object copied")).work()
    run = site.take_in()
    (home,) = [each for each in site.catalogue.shelves(run.run_id) if each.home]
    assert home.state is ShelfState.STAGING
    assert not site.moves.give_up_remains(home.shelf, min_copies=1)
    site.pass_by(31)
    site.settle()
    assert site.lies_in() == {"hot"}


def test_a_copy_that_is_itself_on_its_way_out_does_not_count(site: Site) -> None:
    """However whole it is, it is not there for long."""
    site.plan("cold")
    (move,) = site.work()
    going = SHELVES.update().where(SHELVES.c.shelf == move.target)
    with site.database.write() as connection:
        connection.execute(going.values(state=ShelfState.DRAINING))
    site.pass_by(10**6)
    (move,) = site.work()
    assert move.state == MoveState.GRACE
    assert move.error == (
        "its copy in 'hot' stays: there are 0 other verified copies, and 1 must be"
    )
