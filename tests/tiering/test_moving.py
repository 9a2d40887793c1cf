"""Moving runs between tiers, and what is refused."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.tiering.site import GRACE, Killed, Site, killed_at, killed_at_first, on_each_database

from forebay.acquisition.errors import RunDamagedError
from forebay.opening import open_run
from forebay.tiering import open_store
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import (
    MoveRefusedError,
    RunNotTieredError,
)
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
