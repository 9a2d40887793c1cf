"""Runs that were recorded into a bucket move as those do that were recorded into a folder."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
import zarr
from tests.acquisition.storage.server import BUCKET, Fate, Line, bucket_at
from tests.tiering.site import GRACE, Killed, Site, killed_at_first, points_of

from forebay.acquisition import RunWriter
from forebay.acquisition.errors import RunExistsError
from forebay.opening import open_run
from forebay.tiering import open_bucket
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.continuous.service import ContinuousMoving
from forebay.tiering.errors import MoveTakenOverError, RunNotTieredError
from forebay.tiering.homes.home import home_of
from forebay.tiering.moving.signposting import put_signpost
from forebay.tiering.reading.signpost import SIGNPOST, Signpost
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import PolicySpecification, TierSpecification

pytestmark = pytest.mark.s3

each_server = pytest.mark.parametrize("server", ["moto", "seaweedfs"], indirect=True)
SHARD = "frames/c.0.0.0"


@pytest.fixture
def server(request: pytest.FixtureRequest) -> int:
    """The port of a server that people keep their data on; tests that say so take another one."""
    port: int = request.getfixturevalue(f"{getattr(request, 'param', 'seaweedfs')}_server")
    return port


@pytest.fixture
def lab(bucket: str, quick: Path) -> Iterator[Site]:
    """A laboratory with a run in the bucket that is its cold tier."""
    with Site(quick, cold=bucket) as site:
        site.specifications["other"] = TierSpecification(url=f"s3://{BUCKET}/other-{quick.name}")
        site.database.close()
        site.open()
        site.record_in("cold")
        yield site


def keys_at_home(lab: Site, name: str = "water") -> set[str]:
    """Return what lies where a run was recorded."""
    return set(home_of(lab.tiers, lab.take_in(name)).stored())


@each_server
def test_a_run_leaves_the_bucket_it_was_recorded_into_and_comes_back(lab: Site) -> None:
    """It is read at its URL at any time, and what comes back lies on a shelf beside."""
    before = open_run(lab.home())
    recorded = keys_at_home(lab)
    assert lab.lies_in() == {"cold"}
    for tier in ("warm", "other", "cold", "hot"):
        move = lab.plan(tier)
        lab.work()
        lab.check_readable()
        lab.pass_by(GRACE + 1)
        lab.work()
        assert lab.moves.get(move.move).state == MoveState.DONE
        assert lab.lies_in() == {tier}
        lab.check_readable()
        assert before.frames.to_numpy().tolist() == open_run(lab.home()).frames.to_numpy().tolist()
    left = keys_at_home(lab)
    assert left - recorded == {SIGNPOST}
    assert all(key.startswith("_forebay/") for key in left)
    assert scan(lab.catalogue, lab.tiers, repair=False).agrees


def test_killed_at_each_kind_of_point_it_is_read_and_the_next_mover_ends_it(lab: Site) -> None:
    """Some tier has all of it each time, and nothing but its log is left where it was."""
    points = dict.fromkeys(points_of(lab, lab.take_in(), "warm"))
    assert {"signpost put", "signpost without it", "object deleted"} <= set(points)
    for number, point in enumerate(points):
        name = f"run-{number}"
        lab.record_in("cold", name, frames=2)
        lab.plan("warm", name=name)
        with pytest.raises(Killed):
            work_and_end_grace(lab, killed_at_first(point))
        assert lab.lies_in(name), f"killed at '{point}', no tier has all of it"
        lab.check_readable(name, frames=2)
        lab.settle()
        assert lab.lies_in(name) == {"warm"}, f"killed at '{point}'"
        lab.check_readable(name, frames=2)
        assert all(key.startswith("_forebay/") for key in keys_at_home(lab, name))


def work_and_end_grace(lab: Site, reached: Callable[[str], None]) -> None:
    for _ in range(2):
        lab.mover(reached).work()
        lab.pass_by(GRACE + 1)


@each_server
@pytest.mark.parametrize("fate", ["lose request", "lose reply"])
def test_an_answer_that_is_lost_while_the_signpost_is_put_costs_time_only(
    lab: Site, line: Line, fate: Fate
) -> None:
    """Whether or not the server has done it: what is there is looked at before it is believed."""
    lost: list[str] = []

    def decide(method: str, path: str) -> Fate:
        if method == "PUT" and path.endswith(SIGNPOST) and len(lost) < 3:
            lost.append(path)
            return fate
        return "pass"

    line.fate = decide
    lab.move("warm")
    assert len(lost) == 3
    lab.settle()
    assert lab.lies_in() == {"warm"}
    lab.check_readable()


def test_who_was_overtaken_puts_no_signpost_in_the_place_of_a_later_one(lab: Site) -> None:
    """It finds another one there than it had seen, asks again, and is told."""
    run = lab.take_in()
    home = home_of(lab.tiers, run)
    asked: list[str] = []

    def overtaken() -> Signpost | None:
        asked.append("")
        if len(asked) == 1:
            lab.move("warm")
            # It says what it saw before that.
            return Signpost(run.run_id, places=(), objects={})
        raise MoveTakenOverError("taken over")

    with pytest.raises(MoveTakenOverError):
        home.put_signpost(SIGNPOST, overtaken)
    assert len(asked) == 2
    lab.check_readable()


def test_a_signpost_that_is_not_needed_any_more_names_nothing(lab: Site) -> None:
    """A bucket deletes without conditions, so it is replaced by another one, each time anew."""
    lab.move("warm", keep=True)
    assert lab.lies_in() == {"cold", "warm"}
    lab.plan("cold")
    lab.settle()
    assert lab.lies_in() == {"cold"}
    home = home_of(lab.tiers, lab.take_in())
    contents = []
    for _ in range(2):
        put_signpost(lab.catalogue, lab.tiers, lab.take_in().run_id)
        contents.append(json.loads(home.read(SIGNPOST) or b""))
    assert [each["objects"] for each in contents] == [{}, {}]
    assert contents[0]["identity"] != contents[1]["identity"]
    assert not home.is_signposted(SIGNPOST)
    lab.check_readable()
    lab.forget_everything()
    scan(lab.catalogue, lab.tiers, repair=True)
    assert lab.lies_in() == {"cold"}


@each_server
@pytest.mark.parametrize("keep", [False, True])
def test_a_lost_catalogue_is_built_anew_from_buckets(lab: Site, keep: bool) -> None:
    """The run is found where it was recorded, and where it lies, and moves again."""
    lab.record_in("cold", "fire")
    found = scan(lab.catalogue, lab.tiers, repair=False)
    assert sorted(found.taken_in) == [lab.home("fire"), lab.home()]
    assert lab.catalogue.runs() == []
    lab.move("warm", keep=keep)
    before = lab.lies_in()
    lab.forget_everything()
    assert scan(lab.catalogue, lab.tiers, repair=True).not_whole == []
    assert scan(lab.catalogue, lab.tiers, repair=False).agrees
    assert [run.name for run in lab.catalogue.runs()] == ["runs/fire", "runs/water"]
    assert lab.lies_in() == before
    lab.move("other")
    lab.check_readable()
    assert "other" in lab.lies_in()


def test_what_was_left_of_the_home_goes_when_the_copy_was_read_back(lab: Site) -> None:
    """The catalogue was lost while the home was deleted; no room is kept for what never comes."""
    lab.plan("warm")
    with pytest.raises(Killed):
        work_and_end_grace(lab, killed_at_first("object deleted"))
    lab.forget_everything()
    scan(lab.catalogue, lab.tiers, repair=True)
    assert 0 < lab.catalogue.used()["cold"] < lab.take_in().bytes
    lab.check_readable()
    left = keys_at_home(lab)
    lab.settle()
    assert keys_at_home(lab) == left, "nobody has read the other copy yet"
    scrub(lab.catalogue, lab.tiers, lab.catalogue.runs())
    lab.settle()
    assert all(key.startswith("_forebay/") for key in keys_at_home(lab))
    assert "cold" not in lab.catalogue.used()
    assert lab.lies_in() == {"warm"}
    lab.check_readable()
    assert scan(lab.catalogue, lab.tiers, repair=False).agrees


def test_what_was_lost_of_the_home_is_put_back(lab: Site) -> None:
    """Its log from a copy, and its signpost from the catalogue."""
    lab.move("warm")
    run = lab.take_in()
    keys = keys_at_home(lab)
    lost = [key for key in keys if key.startswith("_forebay/")]
    lab.tiers["cold"].shelf("runs/water").delete(lost)
    assert scan(lab.catalogue, lab.tiers, repair=False).not_whole
    scan(lab.catalogue, lab.tiers, repair=True)
    assert keys_at_home(lab) == keys
    lab.check_readable()
    assert scan(lab.catalogue, lab.tiers, repair=False).agrees
    assert lab.catalogue.run(run.run_id) == run


def test_what_is_damaged_or_lost_at_home_is_read_from_a_copy_and_put_right(lab: Site) -> None:
    """By the reader that meets it, and by a scrub."""
    lab.move("warm", keep=True)
    home = lab.tiers["cold"].shelf("runs/water")
    whole = home.read(SHARD)
    assert whole is not None
    home.put(SHARD, whole[:-1] + bytes([whole[-1] ^ 1]))
    lab.check_readable()
    assert home.read(SHARD) == whole
    home.delete([SHARD])
    lab.check_readable()
    found = scrub(lab.catalogue, lab.tiers, [lab.take_in()])
    assert found.put_right == [f"{lab.home()}/{SHARD}"]
    assert home.read(SHARD) == whole


def test_blocks_that_were_stored_and_never_committed_stay_and_are_no_part_of_the_run(
    lab: Site, server: int
) -> None:
    """A bucket's writer deletes nothing; what belongs to no run keeps one from being moved."""
    there = bucket_at(server, f"{lab.folder.name}/runs/water")
    obstore.put(there, "frames/c.9.0.0", b"left by a writer that died")
    lab.move("warm")
    assert lab.lies_in() == {"warm"}
    assert "frames/c.9.0.0" in keys_at_home(lab)
    lab.record_in("cold", "fire")
    obstore.put(bucket_at(server, f"{lab.folder.name}/runs/fire"), "notes.txt", b"by hand")
    with pytest.raises(RunNotTieredError, match=r"fire/notes\.txt belongs to no run"):
        lab.plan("warm", name="fire")


def test_an_open_run_stays_in_its_bucket(lab: Site) -> None:
    """It is said so, and it moves when it is closed."""
    url = lab.record_in("cold", "open", close=False)
    with pytest.raises(RunNotTieredError, match="is not closed"):
        lab.plan("warm", name="open")
    found = scan(lab.catalogue, lab.tiers, repair=False)
    assert found.passed_over == [f"{url} is still open: it is taken in when it is closed"]
    RunWriter.take_over(open_bucket(url)).close()
    lab.move("warm", name="open")
    assert lab.lies_in("open") == {"warm"}


@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_a_run_that_was_recorded_in_the_place_of_another_is_left_alone(
    lab: Site, server: int
) -> None:
    """Its prefix was emptied while it was moving, and its name given again; neither is lost."""
    move = lab.plan("warm")
    lab.work()
    home = home_of(lab.tiers, lab.take_in())
    home_keys = [f"{lab.folder.name}/runs/water/{key}" for key in home.stored()]
    obstore.delete(bucket_at(server, ""), home_keys)
    assert not home.stored()
    lab.record_in("cold", frames=3)
    before = home.stored()
    lab.pass_by(GRACE + 1)
    lab.work()
    assert "holds another run than the one" in (lab.moves.get(move.move).error or "")
    with pytest.raises(RunNotTieredError, match="holds another run than the one"):
        lab.take_in()
    told = scan(lab.catalogue, lab.tiers, repair=True).passed_over
    assert [each for each in told if "holds another run than the one" in each] == told != []
    scrub(lab.catalogue, lab.tiers, lab.catalogue.runs())
    assert home.stored() == before
    lab.check_readable(frames=3)


def test_a_run_that_was_moved_is_not_shown_again_where_it_was(lab: Site) -> None:
    """Who knows only Zarr would take its frames, which are not there, for zeros."""
    lab.move("warm")
    url = str(lab.home())
    with pytest.raises(RunExistsError):
        RunWriter.take_over(open_bucket(url))
    with pytest.raises(FileNotFoundError):
        zarr.open_group(open_bucket(url).with_read_only(True), mode="r")


def test_a_service_moves_runs_out_of_buckets_and_waits_for_none(lab: Site, line: Line) -> None:
    """By policy; a bucket that does not answer keeps nothing else where it is."""
    lab.record_in("cold", "open", close=False)
    policies = [
        PolicySpecification.model_validate({"name": each, "from": each, "to": to})
        for each, to in (("cold", "warm"), ("hot", "packed"))
    ]
    settings = lab.settings.model_copy(
        update={"policies": tuple(policies), "interval_seconds": 1.0, "grace_seconds": 0.0}
    )
    service = ContinuousMoving(
        lab.database, lab.specifications, settings, stop=threading.Event(), recordings=list
    )
    service.decide()
    service.move()
    assert lab.lies_in() == {"warm"}
    assert lab.moves.find() == []
    lab.record("stone")
    line.always("forbid")
    service.decide()
    service.move()
    assert lab.lies_in("stone") == {"packed"}
    line.always("pass")
    assert [each.name for each in lab.catalogue.runs()] == ["runs/water", "stone"]


def test_a_url_in_no_tier_is_refused_in_one_sentence(lab: Site) -> None:
    """It names the tiers that there are."""
    lab.in_buckets["water"] = f"s3://{BUCKET}/elsewhere-{uuid.uuid4().hex}/water"
    with pytest.raises(RunNotTieredError, match="lies in no tier; there are hot") as refused:
        lab.take_in()
    assert "\n" not in str(refused.value)
