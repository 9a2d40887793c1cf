"""Moving runs between tiers, and what is refused."""

import contextlib
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.tiering.site import GRACE, Killed, Site, killed_at, killed_at_first, on_each_database

from forebay.acquisition.errors import RunDamagedError
from forebay.opening import open_run
from forebay.tiering import open_store
from forebay.tiering.catalogue.records import MoveState, ShelfState
from forebay.tiering.catalogue.schema import SHELVES
from forebay.tiering.errors import (
    MoveRefusedError,
    MoveTakenOverError,
    RunNotTieredError,
)
from forebay.tiering.homes.home import home_of
from forebay.tiering.moving.holder import new_holder
from forebay.tiering.moving.taking_in import take_in
from forebay.tiering.reading.signpost import SIGNPOST
from forebay.tiering.scan import scan, take_in_runs
from forebay.tiering.scrub import scrub
from forebay.tiering.storage.inventory import MANIFEST
from forebay.tiering.storage.shelf import Shelf

pytestmark = on_each_database


def test_a_run_moves_and_is_read_as_before(site: Site) -> None:
    """By whoever opens it then, by who had opened it before, and by who was sent it."""
    before = open_run(site.runs / "water")
    sent = pickle.loads(pickle.dumps(open_store(site.runs / "water")))
    assert site.move("cold").state == MoveState.DONE
    assert site.lies_in() == {"cold"}
    site.check_readable()
    np.testing.assert_array_equal(before.frames[:, 0, 0].to_numpy(), range(5))
    assert before.verify().ok
    assert sent == open_store(site.runs / "water")
    assert site.files("hot") == {
        "water/_forebay/log/00000001.log",
        "water/_forebay/tiers.json",
        "water/_forebay/tiers.lock",
        "water/_forebay/writer.lock",
    }


def test_a_copy_is_a_run_by_itself(site: Site) -> None:
    """It is opened where it lies, by ours and by any reader of Zarr."""
    site.move("cold")
    copy = site.copy_in("cold")
    assert open_run(copy).verify().ok
    frames = zarr.open_group(str(copy), mode="r")["frames"]
    assert isinstance(frames, zarr.Array)
    np.testing.assert_array_equal(np.asarray(frames[:])[:, 0, 0], range(5))


def test_who_knows_only_zarr_finds_no_run_where_its_frames_are_gone(site: Site) -> None:
    """Rather than zeros for every frame."""
    site.move("cold")
    with pytest.raises(FileNotFoundError):
        zarr.open_group(str(site.runs / "water"), mode="r")


def test_there_and_back_is_the_same_folder(site: Site) -> None:
    """Byte by byte, and nothing is left of the copy."""
    home = site.runs / "water"
    before = {
        path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }
    site.move("cold")
    site.move("hot")
    after = {
        path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }
    del after[Path("_forebay/tiers.lock")]
    assert after == before
    assert site.files("cold") == set()
    assert site.lies_in() == {"hot"}


def test_the_old_copy_stays_until_its_grace_is_over(site: Site) -> None:
    """Readers are sent to the new one, and those at the old one may finish."""
    site.plan("cold")
    (move,) = site.work()
    assert (move.state, move.not_before) == (MoveState.GRACE, site.time + int(GRACE * 1e9))
    assert site.lies_in() == {"hot", "cold"}
    site.pass_by(GRACE - 1)
    assert site.work() == []
    assert site.lies_in() == {"hot", "cold"}
    site.pass_by(2)
    (move,) = site.work()
    assert move.state == MoveState.DONE
    assert site.lies_in() == {"cold"}


def test_keeping_the_old_copy_makes_another_one(site: Site) -> None:
    """And moving then only has to read back what is there."""
    assert site.move("cold", keep=True).state == MoveState.DONE
    assert site.lies_in() == {"hot", "cold"}
    copied = site.files("cold")
    site.plan("cold")
    passed: list[str] = []
    site.mover(passed.append).work()
    assert "object copied" not in passed
    assert passed.count("object verified") == len(copied) - 1
    site.pass_by(GRACE + 1)
    site.work()
    assert site.lies_in() == {"cold"}
    assert site.files("cold") == copied


def test_between_tiers_that_are_not_home(site: Site) -> None:
    """From cold to warm, without going home."""
    site.move("cold")
    site.move("warm")
    assert site.lies_in() == {"warm"}
    assert site.files("cold") == set()
    site.check_readable()


def test_asking_twice_is_asking_once(site: Site) -> None:
    """And asking for something else meanwhile is refused."""
    first = site.plan("cold")
    assert site.plan("cold") == first
    with pytest.raises(MoveRefusedError, match="on its way to 'cold' already"):
        site.plan("warm")
    site.settle()
    with pytest.raises(MoveRefusedError, match="water lies in 'cold' already"):
        site.plan("cold")


def test_a_move_that_is_called_off_leaves_nothing(site: Site) -> None:
    """Of what it had put there; the run lies where it lay."""
    move = site.plan("cold")
    with pytest.raises(Killed):
        site.mover(killed_at(8)).work()
    assert site.files("cold") != set()
    site.moves.cancel(move.move)
    site.settle()
    assert site.files("cold") == set()
    assert site.lies_in() == {"hot"}
    site.check_readable()
    with pytest.raises(MoveRefusedError, match="is cancelled"):
        site.moves.cancel(move.move)


def test_a_move_back_that_is_called_off_leaves_the_folder_as_it_was(site: Site) -> None:
    """What came home goes, and the log stays there."""
    site.move("cold")
    before = site.files("hot")
    move = site.plan("hot")
    with pytest.raises(Killed):
        site.mover(killed_at(8)).work()
    assert site.files("hot") > before
    site.moves.cancel(move.move)
    site.settle()
    assert site.files("hot") == before
    site.check_readable()


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


def test_a_tier_that_is_full_is_tried_again_until_it_has_room(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """However often, with pauses of up to a minute; it is said once, and not of each move."""
    site.record("fire")
    size = site.take_in().bytes
    site.specifications["cold"] = site.specifications["cold"].model_copy(update={"capacity": 100})
    site.database.close()
    site.open()
    moves = site.plan("cold"), site.plan("cold", name="fire")
    mover, pauses = site.mover(), []
    for _ in range(6):
        mover.work()
        now = site.moves.get(moves[0].move)
        assert now.error is not None
        assert "'cold' holds or expects 0 of its 100 bytes" in now.error
        assert now.not_before is not None
        pauses.append((now.not_before - site.time) / 1e9)
        # A float does not hold every nanosecond.
        site.pass_by(75.001)
    for pause, expected in zip(pauses, (10, 20, 40, 60, 60, 60), strict=True):
        assert 0.8 * expected <= pause <= 1.2 * expected
    (said,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "wait for room" in said.message
    assert site.files("cold") == set()
    site.check_readable()
    site.specifications["cold"] = site.specifications["cold"].model_copy(
        update={"capacity": 3 * size}
    )
    site.database.close()
    site.open()
    site.work()
    assert {site.moves.get(each.move).state for each in moves} == {MoveState.GRACE}
    site.check_readable()


def test_room_is_reserved_before_anything_is_copied(site: Site) -> None:
    """Two moves that fit one by one do not both begin where only one has room."""
    site.record("fire")
    size = site.take_in().bytes
    cold = site.specifications["cold"].model_copy(update={"capacity": size + size // 2})
    site.specifications["cold"] = cold
    site.database.close()
    site.open()
    first, second = site.plan("cold"), site.plan("cold", name="fire")
    with pytest.raises(Killed):
        site.mover(killed_at(3)).work()
    site.mover().work()
    assert site.moves.get(first.move).state == MoveState.COPYING
    error = site.moves.get(second.move).error
    assert error is not None
    assert f"'cold' holds or expects {size} of its" in error


def test_a_run_that_was_recorded_in_the_place_of_another_is_left_alone(site: Site) -> None:
    """Its folder was deleted after it had moved, and its name given again; neither is lost."""
    site.move("cold")
    old = site.take_in()
    home = site.runs / "water"
    shutil.rmtree(home)
    site.record("water", frames=3)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(RunNotTieredError, match="holds another run than the one"):
        site.take_in()
    for told in (
        take_in_runs(site.catalogue, site.tiers),
        scan(site.catalogue, site.tiers, repair=True).passed_over,
    ):
        assert [each for each in told if "holds another run than the one" in each] == told
        assert len(told) == 1
    for tier in ("hot", "warm"):
        move = site.moves.plan(old, tier=tier, keep=False, why="a test")
        site.settle()
        now = site.moves.get(move.move)
        assert now.state is MoveState.FAILED
        assert "holds another run than the one" in (now.error or "")
    scrub(site.catalogue, site.tiers, site.catalogue.runs())
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {"tiers.lock"}
    site.check_readable(frames=3)
    home.rename(site.runs / "ice")
    scan(site.catalogue, site.tiers, repair=True)
    site.check_readable("water")
    site.check_readable("ice", frames=3)
    site.move("cold", name="ice")
    site.check_readable("ice", frames=3)


def test_a_folder_that_was_copied_is_no_other_run(site: Site) -> None:
    """It is told, and the run itself is moved when it is asked for by its own name."""
    site.take_in()
    shutil.copytree(site.runs / "water", site.runs / "twin")
    with pytest.raises(RunNotTieredError, match=r"twin is the same run as .*water, by"):
        site.take_in("twin")
    (told,) = take_in_runs(site.catalogue, site.tiers)
    assert "twin is the same run as" in told
    site.move("cold")
    assert site.lies_in() == {"cold"}
    site.check_readable("twin")


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


def test_who_knows_only_zarr_sees_no_frame_vanish(site: Site) -> None:
    """What says that it is a run goes before all else."""
    site.plan("cold")
    site.work()
    site.pass_by(GRACE + 1)
    before = site.files("hot")
    with pytest.raises(Killed):
        site.mover(killed_at_first("object deleted")).work()
    assert before - site.files("hot") == {"water/zarr.json"}


def test_a_copy_is_read_back_from_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system still holds in memory tells nothing of what it has stored."""
    read: set[Path] = set()

    def forget(descriptor: int, *_: int) -> None:
        read.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "posix_fadvise", forget)
    site.move("cold", keep=True)
    copy = site.copy_in("cold")
    files = {each for each in copy.rglob("*") if each.is_file()}
    assert files - {copy / MANIFEST} <= read


def test_a_manifest_is_read_back_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By it the catalogue is built anew; without it the copy is not relied on."""
    put = Shelf.put

    def cut_short(self: Shelf, key: str, content: bytes) -> None:
        put(self, key, content[:-1] if key == MANIFEST else content)

    monkeypatch.setattr(Shelf, "put", cut_short)
    site.plan("cold")
    (move,) = site.work()
    assert move.state == MoveState.COPIED
    assert move.error is not None
    assert move.error.endswith(f"{MANIFEST} is not what was put there")


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


def test_an_open_run_is_not_moved_as_a_whole(site: Site) -> None:
    """One sentence says what to do."""
    site.record("live", close=False)
    with pytest.raises(RunNotTieredError, match="live is not closed: as a whole it is moved when"):
        site.plan("cold", name="live")
    assert site.files("cold") == set()


def test_what_was_put_there_by_hand_stops_the_move(site: Site) -> None:
    """Nothing is moved or deleted that nobody knows."""
    (site.runs / "water" / "frames" / "notes of the 3rd.txt").write_text("mine")
    with pytest.raises(RunNotTieredError, match=r"notes of the 3rd\.txt belongs to no run"):
        site.plan("cold")
    (site.runs / "water" / "frames" / "notes of the 3rd.txt").unlink()
    (site.runs / "water" / "link").symlink_to("/etc/hostname")
    with pytest.raises(RunNotTieredError, match="is a link, which no run has"):
        site.plan("cold")


def test_a_run_outside_of_all_tiers_is_refused(site: Site, tmp_path: Path) -> None:
    """With the tiers that there are."""
    shutil.move(site.runs / "water", tmp_path / "water")
    led_out = (tmp_path / "water").relative_to(site.runs, walk_up=True)
    with pytest.raises(RunNotTieredError, match="lies in no tier; there are hot"):
        site.take_in(f"{tmp_path}/water")
    with pytest.raises(RunNotTieredError, match="lies in no tier; there are hot"):
        take_in(site.catalogue, site.tiers, site.runs / led_out)


def test_a_damaged_block_is_not_moved(site: Site) -> None:
    """Its bytes are compared with the log before they have a name in the tier."""
    path = site.runs / "water" / "frames" / "c.1.0.0"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    move = site.plan("cold")
    site.work()
    now = site.moves.get(move.move)
    assert now.state == MoveState.FAILED
    assert now.error is not None
    assert "frames/c.1.0.0 is not what it was" in now.error
    site.settle()
    assert site.files("cold") == set()
    with pytest.raises(RunDamagedError, match="frames 2 to 3"):
        open_run(site.runs / "water").frames.to_numpy()


def test_a_damaged_source_is_read_from_elsewhere(site: Site) -> None:
    """Where there is another copy, the move goes on with that."""
    site.move("warm", keep=True)
    (site.runs / "water" / "frames" / "c.1.0.0").write_bytes(b"no frames")
    move = site.plan("cold")
    site.settle()
    assert site.moves.get(move.move).state == MoveState.DONE
    assert site.lies_in() == {"warm", "cold"}
    site.check_readable()


def test_the_copy_goes_that_is_named(site: Site) -> None:
    """That in the run's folder, if none is; the others stay."""
    site.move("warm", keep=True)
    run = site.take_in()
    with pytest.raises(MoveRefusedError, match="water has no copy in 'ice' to move from there"):
        site.moves.plan(run, tier="cold", keep=False, why="a test", source="ice")
    site.moves.plan(run, tier="cold", keep=False, why="a test", source="warm")
    site.settle()
    assert site.lies_in() == {"hot", "cold"}
    site.move("warm")
    assert site.lies_in() == {"warm", "cold"}


def test_a_copy_says_what_it_is(site: Site) -> None:
    """Only when it is whole, and no longer than that."""
    site.plan("cold")
    with pytest.raises(Killed):
        site.mover(killed_at(15)).work()
    assert not any(name.endswith(MANIFEST) for name in site.files("cold"))
    site.settle()
    assert any(name.endswith(MANIFEST) for name in site.files("cold"))
    assert (site.runs / "water" / SIGNPOST).is_file()
