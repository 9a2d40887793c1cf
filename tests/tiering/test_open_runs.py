"""Blocks of a run that is still being written are moved, and nobody who uses the run notices."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pydantic import ByteSize
from tests.tiering.site import Site, on_each_database, pixels
from tests.tiering.stream import OPTIONS, Stream

from forebay.acquisition import RunWriter
from forebay.acquisition import open_run as open_in_folder
from forebay.acquisition.format.layout import QUARANTINE
from forebay.opening import open_run
from forebay.tiering import copies_of
from forebay.tiering.catalogue.records import Kind, ShelfState
from forebay.tiering.continuous.filling import FillingWatch
from forebay.tiering.continuous.service import ContinuousMoving
from forebay.tiering.errors import MoveRefusedError, RunNotTieredError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.moving.open_runs import OpenRuns
from forebay.tiering.policy import suggestions
from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES, blocks_of_volume
from forebay.tiering.scan import scan, take_in_runs
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import PolicySpecification

pytestmark = on_each_database


@pytest.fixture
def stream(quick: Path, ledger: Path | str) -> Iterator[Stream]:
    """A run that is still recorded."""
    with Site(quick, ledger=ledger, **OPTIONS) as site:
        made = Stream(site)
        yield made
        made.writer.abandon()


def test_all_blocks_but_the_newest_go_while_the_recorder_appends(stream: Stream) -> None:
    """Readers old and new see every frame, and the recorder goes on and closes the run."""
    stream.record(8)
    before = open_run(stream.path)
    assert stream.take_in() == [range(3), range(3, 6)]
    assert stream.take_in() == []
    stream.move("warm")
    assert stream.at_home() == [6, 7]
    stream.check()
    # Reading what lies elsewhere brings nothing back.
    assert stream.at_home() == [6, 7]
    stream.record(3)
    stream.check()
    # Somebody who opened the run before anything was moved goes on reading.
    assert before.verify().problems == ()
    later = before.refresh()
    assert len(later.blocks) == 11
    np.testing.assert_array_equal(later.frames[:2].to_numpy(), np.stack([pixels(0), pixels(1)]))
    stream.writer.close()
    stream.check()
    assert open_run(stream.path).closed


def test_a_run_lies_where_most_of_its_blocks_are(stream: Stream) -> None:
    """So work on it is sent to where it is read."""
    stream.record(8)
    first, second = stream.known().pieces(stream.path)
    assert copies_of(str(stream.path)) == (str(stream.path),)
    stream.move("warm", volumes=[first])
    assert copies_of(str(stream.path)) == (str(stream.path),)
    stream.move("warm", volumes=[second])
    (there,) = copies_of(str(stream.path))
    assert there.startswith(str(stream.site.folder / "warm"))
    # When as many blocks lie at home, both are near.
    stream.record(4)
    assert copies_of(str(stream.path)) == (str(stream.path), there)
    stream.record(1)
    assert copies_of(str(stream.path)) == (str(stream.path),)


def test_blocks_that_were_moved_are_no_zeros_to_who_knows_only_zarr(stream: Stream) -> None:
    """The run's folder says that they are damaged, and shows those that are there."""
    stream.record(8)
    stream.take_in()
    stream.move("cold")
    stream.writer.abandon()
    stream.writer = RunWriter.resume(stream.path)
    array = zarr.open_array(stream.path / "frames", mode="r")
    assert array.shape[0] == 16
    np.testing.assert_array_equal(array[12:14], np.stack([pixels(12), pixels(13)]))
    with pytest.raises(ValueError, match="shard"):
        _ = array[0]
    with pytest.raises(ValueError, match="checksum"):
        _ = zarr.open_array(stream.path / "frame_id", mode="r")[0:4]


def test_a_recorder_that_was_killed_is_resumed_beside_blocks_that_were_moved(
    stream: Stream,
) -> None:
    """Nothing is put aside, nothing is recorded twice, and what had no commit is taken in."""
    stream.record(8)
    stream.take_in()
    stream.move("cold")
    stream.resume()
    assert stream.frames == 16
    stream.record(4)
    stream.take_in()
    stream.move("warm", volumes=stream.known().pieces(stream.path)[-1:])
    stream.resume()
    stream.record(1)
    stream.writer.close()
    quarantine = stream.path / QUARANTINE
    assert not quarantine.exists() or not any(quarantine.rglob("*"))
    stream.check()
    assert open_run(stream.path).dropped == ()


def test_the_newest_blocks_stay_wherever_the_rest_is_asked_to_go(stream: Stream) -> None:
    """By hand all others go, however few; where there are none, it is said in one sentence."""
    stream.record(2)
    with pytest.raises(
        RunNotTieredError, match="still open, and the newest 2 of its 2 blocks stay"
    ):
        stream.known().pieces_to_move(stream.path)
    stream.record(2)
    assert stream.take_in() == []
    with pytest.raises(RunNotTieredError, match="the others until they have 500 bytes"):
        stream.known().pieces(stream.path)
    stream.move("cold")
    assert stream.at_home() == [2, 3]
    stream.record(1)
    stream.move("cold")
    assert stream.at_home() == [3, 4]
    stream.check()


def test_a_run_that_is_closed_takes_back_what_was_never_moved(stream: Stream) -> None:
    """What was moved stays by itself; together they are the run, and move together."""
    stream.record(12)
    stream.take_in()
    first, *_ = stream.known().pieces(stream.path)
    stream.move("warm", volumes=[first])
    stream.writer.close()
    assert take_in_runs(stream.site.catalogue, stream.site.tiers) == []
    pieces = stream.known().pieces(stream.path)
    assert [each.kind for each in pieces] == [Kind.RAW, Kind.BLOCKS]
    sets = [set(stream.site.catalogue.objects(each.run_id)) for each in pieces]
    assert not sets[0] & sets[1]
    assert len({key for key in sets[0] | sets[1] if key.startswith("frames/c")}) == 12
    stream.check()
    assert contents_of(stream.path).size > sum(each.bytes for each in pieces) * 0.9
    stream.move("cold")
    assert stream.at_home() == []
    stream.check()
    stream.move("hot")
    assert stream.at_home() == list(range(12))
    stream.check()
    assert list((stream.path / BLOCK_VOLUMES).iterdir()) == []


def test_a_closed_run_that_comes_home_is_one_again(stream: Stream) -> None:
    """Its volumes are part of it then, and it moves in one piece, into a copy that is whole."""
    stream.record(8)
    stream.take_in()
    stream.move("warm")
    stream.writer.close()
    pieces = stream.known().pieces(stream.path)
    assert [each.kind for each in pieces] == [Kind.RAW, Kind.BLOCKS, Kind.BLOCKS]
    stream.move("hot")
    # What something keeps stays as it is.
    held = pieces[1].run_id
    stream.site.catalogue.protect(
        held, kind="hold", tier=None, owner="ada", reason="audit", seconds=None
    )
    assert [each.kind for each in stream.known().pieces(stream.path)] == [Kind.RAW, Kind.BLOCKS]
    stream.site.catalogue.unprotect(held, kind="hold")
    (whole,) = stream.known().pieces(stream.path)
    objects = stream.site.catalogue.objects(whole.run_id)
    assert (whole.objects, whole.bytes) == (len(objects), sum(x.bytes for x in objects.values()))
    assert {f"frames/c.{number}.0.0" for number in range(8)} <= set(objects)
    stream.move("warm")
    stream.check()
    copy = open_in_folder(stream.site.copy_in("warm", "stream"))
    assert copy.verify().problems == ()
    assert len(copy.blocks) == 8
    assert not scan(stream.site.catalogue, stream.site.tiers, repair=False).not_whole


def test_the_catalogue_is_built_anew_beside_an_open_run(stream: Stream) -> None:
    """From the tiers alone; blocks that it did not know are taken in, none of them twice."""
    site = stream.site
    stream.record(12)
    stream.take_in()
    first, second, third = stream.known().pieces(stream.path)
    stream.move("cold", volumes=[second])
    site.forget_everything()
    # By what the folder says, without looking into the tiers: none that was moved.
    assert stream.take_in() == [range(3), range(6, 9)]
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.not_whole == []
    assert [each for each in found.taken_in if second.run_id in each]
    assert [each.run_id for each in stream.known().pieces(stream.path)] == [
        first.run_id,
        second.run_id,
        third.run_id,
    ]
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    stream.check()
    stream.writer.close()
    stream.move("cold")
    stream.check()


def test_a_copy_of_blocks_that_are_in_another_volume_by_now_is_left_alone(stream: Stream) -> None:
    """That comes from a catalogue that was lost before the copy was published."""
    site = stream.site
    stream.record(8)
    stream.take_in()
    (volume, *_) = stream.known().pieces(stream.path)
    site.moves.plan(volume, tier="cold", keep=True, why="a test")
    site.work()
    site.forget_everything()
    Path(volume.home, volume.signpost).unlink()
    site.settings = site.settings.model_copy(update={"volume_bytes": ByteSize(900)})
    assert stream.take_in() == [range(5)]
    found = scan(site.catalogue, site.tiers, repair=True)
    assert len(found.left_over) == 1
    assert "(blocks 0 to 4) holds as well" in found.left_over[0]
    assert site.files("cold") != set()
    stream.check()


def test_damage_in_blocks_of_an_open_run_is_found_and_put_right(stream: Stream) -> None:
    """By a scrub, which names the frames where there is no other copy, and by readers."""
    site = stream.site
    stream.record(8)
    stream.take_in()
    first, second = stream.known().pieces(stream.path)
    stream.move("cold", volumes=[second])
    site.moves.plan(first, tier="warm", keep=True, why="a test")
    site.work()
    damaged = stream.path / "frames" / "c.1.0.0"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
    assert [each.endswith("frames/c.1.0.0") for each in found.put_right] == [True]
    assert found.lost == []
    stream.check()
    (copy,) = [x for x in site.catalogue.shelves(second.run_id) if not x.home]
    lost = Path(site.tiers["cold"].where(copy.path)) / "frames" / "c.4.0.0"
    lost.write_bytes(bytes(lost.stat().st_size))
    found = scrub(site.catalogue, site.tiers, [second])
    assert len(found.lost) == 1
    assert "frames 8 to 9 at the most" in found.lost[0]


def test_what_keeps_a_volume_keeps_those_that_come_later(stream: Stream) -> None:
    """And the rest of the run when it is closed."""
    site = stream.site
    stream.record(5)
    stream.take_in()
    (first,) = stream.known().pieces(stream.path)
    site.catalogue.protect(
        first.run_id, kind="hold", tier=None, owner="me", reason="a case", seconds=None
    )
    stream.record(3)
    stream.take_in()
    for each in stream.known().pieces(stream.path):
        with pytest.raises(MoveRefusedError, match="me has put a hold on it"):
            site.moves.plan(each, tier="cold", keep=False, why="a test")
    stream.writer.close()
    pieces = stream.known().pieces(stream.path)
    assert [each.kind for each in pieces] == [Kind.RAW, Kind.BLOCKS, Kind.BLOCKS]
    for each in pieces:
        assert [kept.owner for kept in site.catalogue.protections(each.run_id)] == ["me"]


def test_no_block_gets_into_two_volumes_of_two_processes(stream: Stream) -> None:
    """Who comes second does nothing twice, and is refused where its volumes would be others."""
    stream.record(8)
    site, history = stream.site, open_in_folder(stream.path).history
    larger = site.settings.model_copy(update={"volume_bytes": ByteSize(900)})
    other = OpenRuns(site.catalogue, site.tiers, larger)
    seen = site.catalogue.at
    site.catalogue.at = lambda home: []  # type: ignore[method-assign] # what it was before
    made = stream.known().take_in(stream.path, history)
    assert len(made) == 2
    site.catalogue.at = lambda home: made  # type: ignore[method-assign]
    assert stream.known().take_in(stream.path, history) == []
    site.catalogue.at = lambda home: []  # type: ignore[method-assign]
    with pytest.raises(MoveRefusedError, match="meanwhile: try again"):
        other.take_in(stream.path, history)
    site.catalogue.at = seen  # type: ignore[method-assign]
    assert other.take_in(stream.path, history) == []


def test_open_runs_count_once_and_policies_move_them_from_the_oldest_block_on(
    stream: Stream,
) -> None:
    """Those of a run's blocks that are in volumes are in the catalogue, the others beside it."""
    site = stream.site
    stream.record(12)
    watch = FillingWatch(site.tiers, site.catalogue)
    watch.search()
    before = watch.look()["hot"].open_bytes
    assert list(watch.open_runs) == [stream.path]
    stream.take_in()
    after = watch.look()["hot"].open_bytes
    assert before - after == site.catalogue.used()["hot"]
    assert after > 0
    capacity = before
    tiers = {
        **site.specifications,
        "hot": site.specifications["hot"].model_copy(
            update={"capacity": ByteSize(capacity), "low": 0.6, "high": 0.8}
        ),
    }

    def wanted(**more: Any) -> list[range]:
        policy = PolicySpecification.model_validate(
            {"name": "room", "from": "hot", "to": "cold", "when": "full", **more}
        )
        found = suggestions(
            [policy],
            tiers,
            site.catalogue.runs(),
            site.catalogue.shelves(),
            [],
            now=site.time,
            expected={"hot": after},
        )
        return [blocks_of_volume(each.run.run_id) for each in found]

    assert wanted() == [range(3), range(3, 6)]
    assert wanted(state="closed") == []
    # As large as the whole run, not as the volume.
    assert wanted(larger_than=1000) == [range(3), range(3, 6)]
    assert wanted(larger_than=10**6) == []
    assert wanted(runs="other*") == []


def test_a_volume_is_small_enough_to_free_a_small_tier_in_steps(stream: Stream) -> None:
    """Whatever is configured for larger ones."""
    site = stream.site
    site.specifications["hot"] = site.specifications["hot"].model_copy(
        update={"capacity": ByteSize(7000), "low": 0.7, "high": 0.8}
    )
    site.database.close()
    site.open()
    stream.record(6)
    assert stream.take_in() == [range(1), range(1, 2), range(2, 3), range(3, 4)]


def test_blocks_move_back_beside_the_recorder_and_the_log_can_be_repaired(stream: Stream) -> None:
    """Also where the log is damaged, so that nothing of the run could be opened."""
    stream.record(8)
    stream.take_in()
    stream.move("cold")
    stream.writer.abandon()
    log = stream.path / "_forebay" / "log" / "00000001.log"
    content = log.read_bytes()
    log.write_bytes(content[:300] + b"X" + content[301:])
    stream.move("hot")
    assert stream.at_home() == list(range(8))
    log.write_bytes(content)
    stream.check()
    states = {x.state for x in stream.site.catalogue.shelves() if x.home}
    assert states == {ShelfState.AVAILABLE}
    stream.writer = RunWriter.resume(stream.path)


def test_a_run_without_end_does_not_fill_the_tier(stream: Stream) -> None:
    """A service keeps it below its watermark, however much is recorded, and nothing waits for that."""
    site = stream.site
    capacity = 6000
    site.specifications["hot"] = site.specifications["hot"].model_copy(
        update={"capacity": ByteSize(capacity)}
    )
    site.database.close()
    site.open()
    room = PolicySpecification.model_validate(
        {"name": "room", "from": "hot", "to": "cold", "when": "full"}
    )
    changes = {"policies": (room,), "interval_seconds": 1.0, "grace_seconds": 0.0}
    moving = ContinuousMoving(
        site.database,
        site.specifications,
        site.settings.model_copy(update=changes),
        stop=threading.Event(),
        recordings=list,
    )
    most = 0
    for _ in range(24):
        stream.record(3)
        moving.decide()
        moving.move()
        shards = stream.path.glob("*/c.*")
        most = max(most, sum(path.stat().st_size for path in shards))
    recorded = sum(x.bytes for block in open_run(stream.path).blocks for x in block.objects)
    assert recorded > 2 * capacity
    assert most <= 0.85 * capacity
    assert {move.why for move in site.moves.find(over=True)} == {"policy room"}
    stream.check()
