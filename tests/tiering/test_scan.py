"""The catalogue is built anew from what lies in the tiers, and damage is found and put right."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.tiering.site import GRACE, Killed, Site, killed_at, killed_at_first, on_each_database
from tests.tiering.stream import OPTIONS, Stream

from forebay.acquisition.run.finding import find_runs
from forebay.tiering import scan as scanning
from forebay.tiering.catalogue.records import MoveState, RunRecord, ShelfRecord
from forebay.tiering.errors import PlaceUnavailableError, RunNotTieredError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.exporting import export_run
from forebay.tiering.handoff.importing import check_bundle
from forebay.tiering.homes.finding import homes_in
from forebay.tiering.moving.taking_in import take_in
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.tiers import Tiers


@on_each_database
def test_what_the_catalogue_says_is_what_lies_there(site: Site) -> None:
    """Before a run is known, while it is moved, and afterwards."""
    found = scan(site.catalogue, site.tiers, repair=False)
    assert found.taken_in == [str(site.runs / "water")]
    assert site.catalogue.runs() == []
    assert not found.agrees
    scan(site.catalogue, site.tiers, repair=True)
    assert [run.name for run in site.catalogue.runs()] == ["water"]
    for tier in ("cold", "hot"):
        assert scan(site.catalogue, site.tiers, repair=False).agrees
        site.plan(tier)
        site.work()
        assert scan(site.catalogue, site.tiers, repair=True).agrees
        site.pass_by(GRACE + 1)
        site.work()
    assert scan(site.catalogue, site.tiers, repair=False).agrees


@pytest.mark.parametrize(
    ("then", "source", "graced"),
    [("homes_in", "hot", False), ("home_at", "hot", True), ("homes_in", "warm", True)],
)
def test_what_a_mover_does_meanwhile_is_no_damage(
    site: Site, monkeypatch: pytest.MonkeyPatch, then: str, source: str, graced: bool
) -> None:
    """A copy that has come counts, so that the old one goes; and that one is not missed."""
    if source != "hot":
        site.move(source)
    site.plan("cold")
    if graced:
        site.work()
        site.pass_by(GRACE + 1)
    looked_at = getattr(scanning, then)

    def looked_at_later(*given: Any) -> Any:
        # Tiers were listed by then.
        site.work()
        return looked_at(*given)

    monkeypatch.setattr(scanning, then, looked_at_later)
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    site.settle()
    assert site.lies_in() == {"cold"}


def test_what_goes_while_runs_are_looked_for_keeps_none_from_being_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a staged part, which is renamed when it is published, beside a service that moves runs."""
    staged = site.runs / "results" / "staging" / "part"
    staged.mkdir(parents=True)
    look = os.scandir

    def scandir(folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if folder == staged:
            staged.rmdir()
        return look(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(homes_in(site.tiers["hot"])) == [site.runs / "water"]
    assert not staged.exists()


@on_each_database
@pytest.mark.parametrize("keep", [False, True])
def test_a_lost_catalogue_is_built_anew(site: Site, keep: bool) -> None:
    """The data are the truth: the run is found where it lies, and moves again."""
    site.move("cold", keep=keep)
    before = site.lies_in()
    objects = site.catalogue.objects(site.take_in().run_id)
    site.forget_everything()
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.not_whole == []
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    assert site.lies_in() == before
    assert site.catalogue.objects(site.take_in().run_id) == objects
    site.check_readable()
    site.move("warm")
    site.check_readable()
    assert "warm" in site.lies_in()


def test_nothing_is_deleted_for_the_sake_of_a_copy_that_was_only_found(site: Site) -> None:
    """It has to be read through before it counts."""
    site.move("cold", keep=True)
    site.forget_everything()
    scan(site.catalogue, site.tiers, repair=True)
    assert {each.verified_at for each in site.catalogue.shelves()} == {None}
    # The move reads the copy in the cold tier back, and only then does it count.
    passed: list[str] = []
    site.plan("cold")
    site.mover(passed.append).work()
    assert "object verified" in passed
    assert "object copied" not in passed
    site.pass_by(GRACE + 1)
    site.work()
    assert site.lies_in() == {"cold"}


@on_each_database
@pytest.mark.parametrize("point", [3, 20, 45, 52, 60])
def test_a_catalogue_that_is_lost_in_the_middle_of_a_move(site: Site, point: int) -> None:
    """Is built anew from whatever is there then; the run stays readable, and can be moved."""
    site.plan("cold")
    reached = killed_at(point)

    def work() -> None:
        site.mover(reached).work()
        site.pass_by(GRACE + 1)
        site.mover(reached).work()

    with pytest.raises(Killed):
        work()
    site.forget_everything()
    scan(site.catalogue, site.tiers, repair=True)
    site.check_readable()
    scan(site.catalogue, site.tiers, repair=True)
    tier = "warm"
    assert site.move(tier).state == MoveState.DONE
    assert tier in site.lies_in()
    site.check_readable()


@on_each_database
def test_what_was_left_of_a_home_goes_when_a_copy_elsewhere_was_read_back(site: Site) -> None:
    """The catalogue was lost while the home was deleted: nothing of it keeps room for good."""
    site.plan("cold")

    def work() -> None:
        for _ in range(2):
            site.mover(killed_at_first("object deleted")).work()
            site.pass_by(GRACE + 1)

    with pytest.raises(Killed):
        work()
    site.forget_everything()
    scan(site.catalogue, site.tiers, repair=True)
    left = {each for each in site.files("hot") if "/frames/" in each}
    lengths = [(site.runs / each).stat().st_size for each in left]
    assert len(left) > 1
    assert sum(lengths) <= site.catalogue.used()["hot"] < site.take_in().bytes
    site.settle()
    assert left < site.files("hot"), "nobody has read the other copy yet"
    site.check_readable()
    site.catalogue.protect(
        site.take_in().run_id, kind="hold", tier=None, owner="me", reason="a test", seconds=None
    )
    scrub(site.catalogue, site.tiers, site.catalogue.runs())
    site.settle()
    assert left < site.files("hot"), "it is held"
    site.catalogue.unprotect(site.take_in().run_id, kind="hold")
    site.settle()
    assert left.isdisjoint(site.files("hot"))
    assert "hot" not in site.catalogue.used()
    assert site.lies_in() == {"cold"}
    site.check_readable()
    assert site.move("hot").state == MoveState.DONE
    assert site.lies_in() == {"hot"}


def test_what_nobody_knows_is_left_alone(site: Site) -> None:
    """A file that somebody has put into a tier is told of, and not deleted."""
    site.take_in()
    stray = site.folder / "cold" / ".forebay" / "notes" / "of mine" / "today.txt"
    stray.parent.mkdir(parents=True)
    stray.write_text("mine")
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.left_over == [f"{stray.parent}: 1 objects of no copy"]
    assert stray.read_text() == "mine"


@on_each_database
def test_what_a_late_mover_has_left_is_deleted(site: Site) -> None:
    """Objects of a copy that was never finished, of a run that is known."""
    run = site.take_in()
    stray = site.folder / "cold" / ".forebay" / run.run_id / ("a" * 32) / "frames" / "c.0.0.0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"late")
    assert not scan(site.catalogue, site.tiers, repair=False).agrees
    assert stray.exists()
    scan(site.catalogue, site.tiers, repair=True)
    assert not stray.exists()
    assert scan(site.catalogue, site.tiers, repair=False).agrees


def test_a_tier_that_is_not_there_is_not_taken_for_an_empty_one(site: Site) -> None:
    """Nothing changes until it is there again."""
    site.move("cold")
    before = site.catalogue.shelves()
    (site.folder / "cold").rename(site.folder / "unplugged")
    with pytest.raises(PlaceUnavailableError, match="tier 'cold': there is no folder"):
        scan(site.catalogue, site.tiers, repair=True)
    assert site.catalogue.shelves() == before
    assert not (site.folder / "cold").exists()


@on_each_database
def test_a_copy_that_lacks_an_object_counts_no_more(site: Site) -> None:
    """It is told, and nothing is deleted for its sake."""
    site.move("cold", keep=True)
    lost = site.copy_in("cold") / "frames" / "c.0.0.0"
    lost.unlink()
    found = scan(site.catalogue, site.tiers, repair=False)
    assert found.not_whole == [f"{lost}: missing, or of another length"]
    (cold,) = [each for each in site.catalogue.shelves() if each.tier == "cold"]
    assert cold.verified_at is None


def damage(path: Path) -> bytes:
    content = path.read_bytes()
    path.write_bytes(b"\0" + content[1:] if content[:1] != b"\0" else b"\1" + content[1:])
    return content


@on_each_database
@pytest.mark.parametrize("where", ["hot", "cold"])
def test_scrubbing_puts_right_what_another_copy_has(site: Site, where: str) -> None:
    """In each tier, whatever was damaged or lost."""
    site.move("cold", keep=True)
    flipped = site.copy_in(where) / "frames" / "c.0.0.0"
    right = damage(flipped)
    gone = site.copy_in(where) / "flags" / "c.1"
    gone.unlink()
    found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
    assert sorted(found.put_right) == sorted([str(flipped), str(gone)])
    assert found.lost == found.unreachable == []
    assert found.copies == 2
    assert flipped.read_bytes() == right
    assert site.lies_in() == {"hot", "cold"}
    assert all(each.verified_at == site.time for each in site.catalogue.shelves())


@on_each_database
def test_damage_without_another_copy_is_told_with_its_frames(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, in the log; and the copy counts no more as one to rely on."""
    site.move("cold")
    path = site.copy_in("cold") / "frames" / "c.1.0.0"
    damage(path)
    found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
    assert found.lost == [f"{path} (frames 2 to 3 at the most)"]
    (logged,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert getattr(logged, "object") == found.lost[0]  # noqa: B009
    (cold,) = [each for each in site.catalogue.shelves() if each.tier == "cold"]
    assert cold.verified_at is None


@pytest.mark.parametrize("source", ["hot", "warm"])
def test_what_a_mover_deletes_meanwhile_is_not_put_back(site: Site, source: str) -> None:
    """It would lie there for good, since nobody knows of it."""
    if source != "hot":
        site.move(source)
    site.plan("cold")
    site.work()
    site.pass_by(GRACE + 1)
    before = site.files("warm")

    def delete(_: RunRecord, shelf: ShelfRecord) -> None:
        if shelf.tier == source:
            site.work()

    found = scrub(site.catalogue, site.tiers, site.catalogue.runs(), on_copy=delete)
    assert found.put_right == found.lost == found.unreachable == []
    assert site.lies_in() == {"cold"}
    assert not (site.runs / "water" / "frames" / "c.0.0.0").exists()
    assert source == "hot" or before > site.files("warm") == set()
    site.check_readable()


def test_a_scrub_that_was_killed_goes_on_with_what_it_has_not_read(site: Site) -> None:
    """What was verified longest ago is read first, and what never was before all else."""
    for name in ("ice", "steam"):
        site.record(name)
        site.take_in(name)
    site.take_in()
    read: list[str] = []

    def killed_at_second(run: RunRecord, _: ShelfRecord) -> None:
        if len(read) == 1:
            raise Killed
        read.append(run.name)

    with pytest.raises(Killed):
        scrub(site.catalogue, site.tiers, site.catalogue.runs(), on_copy=killed_at_second)
    later: list[str] = []
    site.pass_by(1)
    scrub(
        site.catalogue,
        site.tiers,
        site.catalogue.runs(),
        on_copy=lambda run, _: later.append(run.name),
    )
    assert later[-1] == read[0]


def test_scrubbing_goes_on_where_a_tier_does_not_answer(site: Site) -> None:
    """And says which copy was not read."""
    site.move("cold", keep=True)
    copy = site.copy_in("cold") / "frames"
    copy.rename(copy.with_name("away"))
    copy.write_text("a file where a folder was")
    found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
    assert found.copies + len(found.unreachable) == 2
    assert found.lost or found.unreachable
    site.check_readable()


@on_each_database
@pytest.mark.parametrize("lost", ["folder", "folder and catalogue"])
def test_a_run_whose_own_folder_is_gone_is_found_again(site: Site, lost: str) -> None:
    """All of it lies in the copy, its log as well: the folder is made anew from there."""
    site.move("cold")
    shutil.rmtree(site.runs / "water")
    if lost != "folder":
        site.forget_everything()
    assert not scan(site.catalogue, site.tiers, repair=False).agrees
    assert not (site.runs / "water").exists()
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.passed_over == []
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    assert site.lies_in() == {"cold"}
    site.check_readable()
    site.move("hot")
    site.check_readable()
    assert site.lies_in() == {"hot"}


def test_a_folder_is_not_made_anew_from_what_has_changed(site: Site) -> None:
    """The scan goes on, and says so."""
    site.move("cold")
    record = next((site.copy_in("cold") / "_forebay").rglob("*.log"))
    record.write_bytes(record.read_bytes()[:-1] + b"?")
    site.record("ice")
    shutil.rmtree(site.runs / "water")
    found = scan(site.catalogue, site.tiers, repair=True)
    assert len(found.passed_over) == 1
    assert str(site.runs / "water") in found.passed_over[0]
    assert not (site.runs / "water").exists()
    assert {run.name for run in site.catalogue.runs()} == {"water", "ice"}


def test_of_an_open_run_whose_folder_is_gone_the_moved_blocks_are_kept(quick: Path) -> None:
    """Its log was there alone: the run cannot be made anew, and nothing stops for it."""
    with Site(quick, **OPTIONS) as site:
        stream = Stream(site)
        stream.record(8)
        stream.take_in()
        stream.move("cold")
        stream.writer.abandon()
        shutil.rmtree(stream.path)
        before = site.files("cold")
        found = scan(site.catalogue, site.tiers, repair=True)
        assert any("is gone, and its log with it" in each for each in found.passed_over)
        assert site.files("cold") == before
        assert not stream.path.exists()


def test_the_run_in_a_bundle_is_not_taken_for_the_run(site: Site) -> None:
    """A bundle that is made among the runs is no home, whichever of both is found first."""
    export_run(contents_of(site.runs / "water"), site.runs / "a-bundle")
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.taken_in == [str(site.runs / "water")]
    assert found.passed_over == []
    site.move("cold")
    assert check_bundle(site.runs / "a-bundle") == []
    assert list(find_runs(site.runs)) == [site.runs / "water"]


@on_each_database
def test_a_run_whose_folder_was_renamed_is_followed(site: Site) -> None:
    """Its pins stay; where another place may have it still, nothing is followed."""
    run = site.take_in()
    site.catalogue.protect(
        run.run_id, kind="pin", tier="hot", owner="us", reason="read often", seconds=None
    )
    (site.runs / "sea").mkdir()
    (site.runs / "water").rename(site.runs / "sea" / "salt")
    found = scan(site.catalogue, site.tiers, repair=True)
    assert found.taken_in == [str(site.runs / "sea" / "salt")]
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    assert site.take_in("sea/salt").name == "sea/salt"
    assert site.catalogue.protections(run.run_id)
    site.catalogue.unprotect(run.run_id, kind="pin")
    site.move("cold", name="sea/salt")
    site.check_readable("sea/salt")
    assert site.lies_in("sea/salt") == {"cold"}


def test_a_tier_that_has_another_path_elsewhere_renames_nothing(site: Site) -> None:
    """As on a machine that has mounted it otherwise: the two would take the run from each other."""
    site.take_in()
    elsewhere = site.folder / "elsewhere"
    site.runs.rename(elsewhere)
    there = Tiers({**site.specifications, "hot": TierSpecification(url=elsewhere)})
    with pytest.raises(RunNotTieredError, match="is the same run as"):
        take_in(site.catalogue, there, elsewhere / "water")


def test_a_folder_that_was_renamed_after_its_run_was_moved_is_told(site: Site) -> None:
    """The copies know it by its first name, and that is made anew."""
    site.move("cold")
    (site.runs / "water").rename(site.runs / "salt")
    with pytest.raises(RunNotTieredError, match=r"salt is the same run as .*/water, by which"):
        site.take_in("salt")
    (told,) = scan(site.catalogue, site.tiers, repair=True).passed_over
    assert "salt is the same run as" in told
    site.check_readable("salt")
    site.check_readable("water")


def test_a_run_with_all_its_frames_is_taken_in_though_its_other_copy_is_lost(site: Site) -> None:
    site.move("cold", keep=True)
    shutil.rmtree(site.folder / "cold" / ".forebay")
    site.forget_everything()
    assert scan(site.catalogue, site.tiers, repair=True).taken_in == [str(site.runs / "water")]
    assert site.lies_in() == {"hot"}
    site.move("warm")
    site.check_readable()
