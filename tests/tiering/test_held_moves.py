"""What a mover writes counts only while the move is its own, and no copy goes before its time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiering.site import GRACE, Site

from forebay.tiering.catalogue.held import Claim, HeldMoves
from forebay.tiering.catalogue.records import MoveState, ShelfState
from forebay.tiering.errors import MoveRefusedError, MoveTakenOverError, TierFullError

SIZE = 1000

type Write = Callable[[HeldMoves, Claim], object]

WRITES: dict[str, Write] = {
    "renew": lambda held, claim: held.renew(claim, lease_seconds=30),
    "begin": lambda held, claim: held.begin(claim, size=1, capacity=None, home=False, path=""),
    "note": lambda held, claim: held.note(claim, ["zarr.json"], "copied"),
    "again": lambda held, claim: held.again(claim, "zarr.json", "again"),
    "advance": lambda held, claim: held.advance(claim, MoveState.VERIFIED),
    "publish": lambda held, claim: held.publish(claim, grace_seconds=0),
    "wait_for_readers": lambda held, claim: held.wait_for_readers(claim),
    "begin_deletion": lambda held, claim: held.begin_deletion(claim, min_copies=1),
    "finish": lambda held, claim: held.finish(claim),
    "pause": lambda held, claim: held.pause(claim, seconds=1, error=None),
    "release": lambda held, claim: held.release(claim),
    "fail": lambda held, claim: held.fail(claim, "late"),
    "from_other": lambda held, claim: held.from_other(claim, claim.move.source),
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a run that is on its way to the cold tier."""
    site = Site(tmp_path)
    site.record("water")
    site.moves.plan(site.take_in(), tier="cold", keep=False, why="a test")
    return site


def claimed(site: Site, holder: str = "one") -> Claim:
    """Take the move."""
    claim = site.held.claim(holder, lease_seconds=30)
    assert claim is not None
    return claim


def begun(site: Site, holder: str = "one") -> Claim:
    """Take the move, and a shelf for its copy."""
    claim = claimed(site, holder)
    site.held.begin(claim, size=SIZE, capacity=None, home=False, path="")
    return claimed(site, holder)


def in_grace(site: Site) -> Claim:
    """Publish the copy, and let the grace of the old one begin."""
    site.held.publish(begun(site), grace_seconds=GRACE)
    claim = claimed(site)
    site.held.wait_for_readers(claim)
    return claim


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("how", ["taken over", "taken again", "let go of", "called off"])
def test_who_does_not_hold_a_move_any_more_changes_nothing(
    site: Site, how: str, write: str
) -> None:
    """Be it that another one has it, the same one anew, or nobody."""
    claim = begun(site)
    if how == "taken over":
        site.pass_by(31)
        claimed(site, "two")
    elif how == "taken again":
        claimed(site)
    elif how == "let go of":
        site.held.release(claim)
    else:
        site.moves.cancel(claim.move.move)
    before = site.moves.get(claim.move.move), site.catalogue.shelves(claim.move.run_id)
    with pytest.raises(MoveTakenOverError, match="is in other hands, or was called off"):
        WRITES[write](site.held, claim)
    assert before == (site.moves.get(claim.move.move), site.catalogue.shelves(claim.move.run_id))


def test_a_move_is_taken_from_who_is_silent_and_from_nobody_else(site: Site) -> None:
    claim = claimed(site)
    site.pass_by(29)
    assert site.held.claim("two", lease_seconds=30) is None
    site.held.renew(claim, lease_seconds=30)
    site.pass_by(29)
    assert site.held.claim("two", lease_seconds=30) is None
    site.pass_by(2)
    assert claimed(site, "two").move.epoch == claim.move.epoch + 1


def test_no_copy_goes_before_its_grace_is_over(site: Site) -> None:
    """Whatever makes a mover look at it earlier."""
    claim = in_grace(site)
    site.pass_by(GRACE / 2)
    with pytest.raises(MoveRefusedError, match="its grace in 'hot' is not over"):
        site.held.begin_deletion(claim, min_copies=1)
    source = next(
        each
        for each in site.catalogue.shelves(claim.move.run_id)
        if each.shelf == claim.move.source
    )
    assert source.state is ShelfState.DRAINING


@pytest.mark.parametrize(("min_copies", "goes"), [(0, True), (1, True), (2, False)])
def test_no_copy_goes_while_too_few_others_are_verified(
    site: Site, min_copies: int, goes: bool
) -> None:
    in_grace(site)
    site.pass_by(GRACE + 1)
    claim = claimed(site)
    if goes:
        assert site.held.begin_deletion(claim, min_copies=min_copies).state is MoveState.DELETING
    else:
        with pytest.raises(MoveRefusedError, match="there are 1 other verified copies, and 2"):
            site.held.begin_deletion(claim, min_copies=min_copies)


def test_the_last_copy_stays_though_none_is_asked_for(site: Site) -> None:
    """A copy that is in doubt does not count."""
    claim = in_grace(site)
    target = site.moves.get(claim.move.move).target
    assert target is not None
    site.catalogue.doubted(target)
    site.pass_by(GRACE + 1)
    with pytest.raises(MoveRefusedError, match="there are 0 other verified copies"):
        site.held.begin_deletion(claimed(site), min_copies=0)


def test_a_tier_takes_no_more_than_it_may_hold(site: Site) -> None:
    claim = claimed(site)
    with pytest.raises(TierFullError, match=f"0 of its {SIZE - 1} bytes, and the run has {SIZE}"):
        site.held.begin(claim, size=SIZE, capacity=SIZE - 1, home=False, path="")
    made = site.held.begin(claim, size=SIZE, capacity=SIZE, home=False, path="")
    assert made.state is MoveState.COPYING
