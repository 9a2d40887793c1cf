"""Runs are moved by themselves, beside other work, whatever goes wrong."""

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ByteSize
from tests.engine.queue.desk import Desk
from tests.tiering.site import SHAPE, Killed, Site, killed_at_first, pixels

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.control import ControlServer, running_acquisitions
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.waiting import work_waits
from forebay.tiering.continuous.filling import Filling, FillingWatch
from forebay.tiering.continuous.outlook import expected_bytes, outlooks
from forebay.tiering.continuous.service import ContinuousMoving
from forebay.tiering.moving.circuits import Circuits
from forebay.tiering.specification import PolicySpecification, TierSpecification
from forebay.tiering.storage.probing import Probe
from forebay.tiering.storage.tiers import Tier

EVERYTHING = PolicySpecification.model_validate({"name": "all", "from": "hot", "to": "cold"})


def service(
    site: Site,
    *,
    stop: threading.Event | None = None,
    flows: tuple[str, ...] = (),
    realtime_waits: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> ContinuousMoving:
    """Return a service that moves everything, beside recordings that tell of such flows."""
    chosen = site.settings.model_copy(
        update={"policies": (EVERYTHING,), "interval_seconds": 0.02, **settings}
    )
    return ContinuousMoving(
        site.database,
        site.specifications,
        chosen,
        stop=stop or threading.Event(),
        realtime_waits=realtime_waits,
        recordings=lambda: [{"flow": flow} for flow in flows],
    )


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def test_runs_move_by_themselves_until_it_is_told_to_stop(site: Site) -> None:
    """Also those that are recorded while it is at work; an open one stays where it is."""
    stop = threading.Event()
    site.record("open", close=False)
    with service(site, stop=stop, grace_seconds=0.0):
        until(lambda: site.lies_in() == {"cold"} and not site.moves.find())
        site.record("later")
        until(lambda: site.lies_in("later") == {"cold"} and not site.moves.find())
        site.check_readable()
    assert stop.is_set()
    assert (site.runs / "open" / "zarr.json").exists()
    assert {move.why for move in site.moves.find(over=True)} == {"policy all"}


def test_several_on_one_catalogue_do_nothing_twice(site: Site) -> None:
    """Each run is moved by one move, and what is there in the end is whole."""
    for name in ("a", "b", "c"):
        site.record(name)
    with service(site, grace_seconds=0.0), service(site, grace_seconds=0.0):
        until(
            lambda: (
                len(site.catalogue.runs()) == 4
                and len(site.moves.find(over=True)) >= 4
                and not site.moves.find()
            )
        )
    assert len(site.moves.find(over=True)) == 4
    for name in ("water", "a", "b", "c"):
        assert site.lies_in(name) == {"cold"}
        site.check_readable(name)


def test_nothing_is_copied_while_a_recorder_is_behind(site: Site) -> None:
    """It goes on when that is over, and ends at once when it is told to."""
    flows = ["dropping"]
    moving = service(site, grace_seconds=0.0)
    moving._recordings = lambda: [{"flow": flow} for flow in flows]
    stop = moving._stop
    with moving:
        until(lambda: bool(site.moves.find()))
        assert not stop.wait(0.3)
        assert site.lies_in() == {"hot"}
        flows[:] = ["normal"]
        until(lambda: site.lies_in() == {"cold"})
    site.record("second")
    flows[:] = ["dropping"]
    moving = service(site, flows=("dropping",))
    with moving:
        until(lambda: bool(site.moves.find()))
        moving._stop.set()
    assert site.lies_in("second") == {"hot"}
    site.check_readable("second")


class Told(logging.Handler):
    """What was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def told() -> Any:
    """What tiering says."""
    handler = Told()
    logger = logging.getLogger("forebay.tiering")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_a_tier_that_fails_is_left_alone_and_said_so_once(site: Site, told: list[str]) -> None:
    """Moves to other tiers go on; when it works again, its moves do."""
    for name in ("a1", "a2", "a3"):
        site.record(name)
    (site.folder / "cold").rename(site.folder / "gone")
    other = PolicySpecification.model_validate(
        {"name": "other", "from": "hot", "to": "warm", "runs": "water"}
    )
    moving = service(site, grace_seconds=0.0, policies=(other, EVERYTHING))
    for _ in range(3):
        moving.decide()
        moving.move()
        site.pass_by(1)
    assert site.lies_in("water") == {"warm"}
    waiting = {move.run_id: move.attempts for move in site.moves.find() if move.tier == "cold"}
    assert sorted(waiting.values()) == [0, 0, 1]
    said = [line for line in told if "does not work, and its moves wait" in line]
    assert len(said) == 1
    assert "there is no folder" in said[0]
    (site.folder / "gone").rename(site.folder / "cold")
    moving._circuits._open["cold"].until = 0.0
    site.pass_by(60)
    moving.decide()
    moving.move()
    assert site.lies_in("a1") == site.lies_in("a3") == {"cold"}
    assert sum("works again" in line for line in told) == 1


def test_a_circuit_is_tried_again_after_pauses_that_double(site: Site) -> None:
    """Up to ten minutes, however long a tier stays away."""
    time, tries = [0.0], []

    def try_out(tier: Tier) -> Probe:
        tries.append(time[0])
        return Probe(tier.name, "it is on fire" if time[0] < 3000 else None, None)

    circuits = Circuits(site.tiers, clock=lambda: time[0], try_out=try_out)
    circuits.failed(["warm"])
    circuits.failed(["warm"])
    for second in range(4000):
        time[0] = float(second)
        circuits.look()
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:8] == [5, 10, 20, 40, 80, 160, 320, 600]
    assert max(pauses) == 600
    assert circuits.open == frozenset()


def test_what_cannot_be_looked_at_is_said_once_and_stops_nothing(
    site: Site, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next round is made all the same."""
    rounds = 0

    def fail() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 4:
            raise OSError("the folder\nis gone")

    moving = service(site)
    monkeypatch.setattr(moving, "move", fail)
    with moving:
        until(lambda: rounds > 5)
    assert told.count("nothing is moved between tiers: the folder is gone") == 1
    assert told.count("that is over: nothing is moved between tiers") == 1


def test_how_fast_a_tier_fills_is_told_by_the_logs_of_open_runs(site: Site) -> None:
    """With the time that is left, until the run is closed or its writer falls silent."""
    site.specifications["hot"] = TierSpecification(url=site.runs, capacity=ByteSize(100_000))
    site.database.close()
    site.open()
    site.take_in()
    now = [0]
    watch = FillingWatch(site.tiers, site.catalogue, now=lambda: now[0])
    path = site.runs / "stream"
    writer = RunWriter.create(
        path, Geometry(("y", "x"), SHAPE, np.dtype("uint16")), frames_per_block=2
    )
    counter = 0
    for _ in range(12):
        for _ in range(2):
            writer.append(Frame(counter, counter, pixels(counter)))
            counter += 1
    watch.search()
    watch.look()
    shards = sorted((path / "frames").glob("c.*"), key=lambda each: int(each.name.split(".")[1]))
    for second, shard in enumerate(shards):
        os.utime(shard, (1000.0 + second, 1000.0 + second))
    now[0] = 1011 * 10**9
    found = watch.look()["hot"]
    size = found.open_bytes / 12
    assert found.bytes_per_second == pytest.approx(size, rel=0.01)
    hot = outlooks(site.catalogue, site.tiers, {"hot": found})[0]
    assert hot.used_bytes == site.catalogue.used()["hot"] + found.open_bytes
    assert hot.seconds_to_high == pytest.approx((85_000 - hot.used_bytes) / size, rel=0.01)
    assert hot.seconds_to_full == pytest.approx((100_000 - hot.used_bytes) / size, rel=0.01)
    # What has come since is added to what was counted.
    for _ in range(2):
        writer.append(Frame(counter, counter, pixels(counter)))
        counter += 1
    later = watch.look()
    anew = FillingWatch(site.tiers, site.catalogue, now=lambda: now[0])
    anew.search()
    assert anew.look() == later
    assert later["hot"].open_bytes > found.open_bytes
    os.utime(path / "frames" / "c.12.0.0", (1012.0, 1012.0))
    now[0] = 1200 * 10**9
    assert watch.look()["hot"].bytes_per_second == 0.0
    writer.close()
    assert watch.look() == {}
    watch.search()
    assert watch.look() == {}


def test_a_tier_is_freed_ahead_of_its_watermark(site: Site) -> None:
    """What will have come by the time that it is free counts as if it were there."""
    site.specifications["hot"] = TierSpecification(url=site.runs, capacity=ByteSize(1000))
    site.database.close()
    site.open()
    settings = site.settings.model_copy(
        update={"recording_bandwidth": ByteSize(10), "grace_seconds": 100.0}
    )
    coming = expected_bytes(site.tiers, {"hot": Filling(2.0, open_bytes=30)}, settings)
    # Freeing 15 % of 1000 bytes takes 15 s, and then there is the grace.
    assert coming == {"hot": 30 + 2 * 115}


def test_only_real_time_work_that_nobody_has_taken_counts(site: Site) -> None:
    """Of jobs that are not held up."""
    desk = Desk(site.database)
    job = desk.queue_up("old", 1, lane=Lane.REPROCESS)
    assert not work_waits(site.database, Lane.REALTIME)
    job = desk.queue_up("live", 1, lane=Lane.REALTIME)
    assert work_waits(site.database, Lane.REALTIME)
    desk.jobs.pause(job)
    assert not work_waits(site.database, Lane.REALTIME)
    desk.jobs.resume(job)
    desk.take(2)
    assert not work_waits(site.database, Lane.REALTIME)


class Recording:
    """A recording that says how it is doing."""

    def status(self) -> Mapping[str, Any]:
        return {"flow": "spilling"}

    def stop(self, reason: str) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def note(self, topic: str, text: str) -> None:
        """Do nothing."""

    def reduce(self, level: int, seconds: float) -> None:
        """Do nothing."""


def test_recordings_on_this_machine_tell_how_they_are_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill has left behind is passed over."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert running_acquisitions() == []
    with ControlServer("1234-run", Recording()):
        (tmp_path / "forebay" / "dead.sock").touch()
        assert [each["flow"] for each in running_acquisitions()] == ["spilling"]


def test_what_a_copy_under_way_has_reserved_is_told_apart(site: Site) -> None:
    """It takes room, and is not there yet."""
    run = site.take_in()
    site.plan("cold")
    with pytest.raises(Killed):
        site.mover(killed_at_first("object copied")).work()
    cold = next(each for each in outlooks(site.catalogue, site.tiers, {}) if each.tier == "cold")
    assert cold.used_bytes == cold.arriving_bytes == run.bytes
    site.settle()
    cold = next(each for each in outlooks(site.catalogue, site.tiers, {}) if each.tier == "cold")
    assert (cold.used_bytes, cold.arriving_bytes) == (run.bytes, 0)
