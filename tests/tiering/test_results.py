"""Results move between tiers as runs do, and are read from wherever their parts lie."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.tiering.site import GRACE, Killed, Site, killed_at
from tests.tiering.test_policy import TIERS

from forebay.engine import Algorithm, Result, Sequential, open_result, process
from forebay.engine.errors import ResultDamagedError, UnitsFailedError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.results import bundles
from forebay.engine.results.bundles import contents_of_result, files_of
from forebay.opening import open_run
from forebay.tiering.agreement import check_policies
from forebay.tiering.catalogue.records import Kind, MoveState, RunRecord, ShelfState
from forebay.tiering.errors import MoveRefusedError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.exporting import Bundled, export_run
from forebay.tiering.handoff.importing import check_bundle, import_run
from forebay.tiering.moving.mover import Mover
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import PolicySpecification


def listed(frames: xr.DataArray) -> pd.DataFrame:
    """Return the mean of each frame."""
    return pd.DataFrame({"t": frames.t, "mean": frames.mean(("y", "x"))})


def summed(frames: xr.DataArray, *, state: xr.Dataset | None) -> tuple[xr.DataArray, xr.Dataset]:
    """Return the sum of all frames so far, which the state carries on."""
    before = 0.0 if state is None else state["total"].to_numpy()
    sums = np.cumsum(frames.compute().to_numpy().astype("float64"), axis=0) + before
    return frames.copy(data=sums), xr.Dataset({"total": (("y", "x"), sums[-1])})


LISTED = Algorithm("listed", "1.0.0", listed)
SUMMED = Algorithm("summed", "1.0.0", summed, Sequential(state="state"))


class Published:
    """A laboratory in which something is published of its run."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ledger = site.folder / "ledger.sqlite"

    def process(self, algorithm: Algorithm = LISTED, **options: Any) -> Result:
        """Compute what is missing of a result."""
        run = open_run(self.site.runs / "water")
        return process(run, algorithm, ledger=self.ledger, **options)

    def volume(self) -> RunRecord:
        """Return the only volume there is, taken in."""
        assert self.site.volumes().take_in() == []
        (found,) = [each for each in self.site.catalogue.runs() if each.kind is Kind.RESULT]
        return found

    def move(self, tier: str, *, keep: bool = False) -> None:
        """Move all that is published, and let the grace pass."""
        self.site.volumes().take_in()
        for each in self.site.catalogue.runs():
            if each.kind is Kind.RESULT:
                self.site.moves.plan(each, tier=tier, keep=keep, why="a test")
        self.site.settle()

    def there(self, result: Result) -> set[str]:
        """Return the files that lie in the result's own folder for its parts."""
        parts = result.path / "parts"
        return {path.relative_to(parts).as_posix() for path in parts.rglob("*")}


@pytest.fixture
def lab(site: Site) -> Published:
    """A laboratory with a run in the hot tier."""
    return Published(site)


def test_a_result_moves_and_is_read_as_before(lab: Published) -> None:
    """Tables, arrays and states: nobody who reads has to know where they are."""
    table, arrays = lab.process(), lab.process(SUMMED)
    rows, sums = table.table(), arrays.arrays().load()
    lab.move("cold")
    assert lab.there(table) == lab.there(arrays) == set()
    pd.testing.assert_frame_equal(open_result(table.path).table(), rows)
    xr.testing.assert_identical(open_result(arrays.path).arrays().load(), sums)
    # What was opened before reads on, and nothing is computed again.
    pd.testing.assert_frame_equal(table.table(), rows)
    assert lab.process().computed == 0
    assert lab.process(SUMMED).computed == 0


def test_there_and_back_is_the_same_folder(lab: Published) -> None:
    """Byte by byte, and nothing is left elsewhere."""
    result = lab.process()
    before = lab.there(result)
    lab.move("packed")
    assert lab.there(result) == set()
    lab.move("hot")
    assert lab.there(result) == before
    assert lab.site.files("packed") == set()
    assert not list((result.path / "volumes").rglob("tiers.json"))
    assert len(open_result(result.path).table()) == 5


def test_a_state_is_read_from_the_tier_that_its_part_lies_in(lab: Published) -> None:
    """The blocks that are computed anew go on from blocks that were moved away."""
    result = lab.process(SUMMED)
    whole = result.arrays().load()
    last = result.done[-1]
    lab.move("cold")
    with Database(lab.ledger) as database, database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE units SET part = NULL, state = 'dead' WHERE unit = ?", (last.unit,)
        )
    again = lab.process(SUMMED)
    assert again.computed == 1
    xr.testing.assert_identical(again.arrays().load(), whole)


def test_parts_that_come_later_are_moved_later(lab: Published) -> None:
    """As those of dead letters that were replayed: each volume stays as it is."""
    working: list[bool] = []

    def unlucky(frames: xr.DataArray) -> pd.DataFrame:
        if not working and int(frames.t[0]) == 2:
            raise RuntimeError("no luck")
        return listed(frames)

    algorithm = Algorithm("unlucky", "1.0.0", unlucky)
    with pytest.raises(UnitsFailedError):
        lab.process(algorithm)
    lab.move("cold")
    working.append(True)
    result = lab.process(algorithm)
    assert result.computed == 1
    assert len(result.table()) == 5
    lab.site.volumes().take_in()
    first, second = sorted(
        (each for each in lab.site.catalogue.runs() if each.kind is Kind.RESULT),
        key=lambda each: each.closed_at,
    )
    lab.site.moves.plan(second, tier="warm", keep=False, why="a test")
    lab.site.settle()
    assert lab.there(result) == set()
    assert lab.site.lies_in_tiers(first) == {"cold"}
    assert lab.site.lies_in_tiers(second) == {"warm"}
    assert list(open_result(result.path).table()["t"]) == [0, 1, 2, 3, 4]


def test_what_is_computed_anew_gives_the_old_parts_up(lab: Published) -> None:
    """In every tier; until the new ones are published the old ones are read."""
    lab.process()
    lab.move("cold")
    old = lab.volume()
    forced = lab.process(force=True)
    assert forced.computed == 3
    lab.site.volumes().take_in()
    lab.site.settle()
    lab.site.volumes().take_in()
    (kept,) = [each for each in lab.site.catalogue.runs() if each.kind is Kind.RESULT]
    assert kept.run_id != old.run_id
    assert lab.site.files("cold") == set()
    assert [each.name for each in (forced.path / "volumes").iterdir() if each.is_dir()] == [
        kept.run_id
    ]
    assert len(open_result(forced.path).table()) == 5


def test_a_ledger_that_does_not_know_of_a_part_deletes_no_copy_of_it(lab: Published) -> None:
    """As one that was lost, and of whose units some were computed anew; a repair enters them."""
    result = lab.process()
    lab.move("cold")
    volume = lab.volume()
    with Database(lab.ledger) as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM units")
    again = lab.process(force=True)
    with Database(lab.ledger) as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM units WHERE start > 0")
    lab.site.volumes().take_in()
    lab.site.settle()
    assert lab.site.lies_in_tiers(volume) == {"cold"}
    assert lab.site.volumes().enter_found() == ([str(result.path)], [])
    assert len(open_result(again.path).table()) == 5


def test_a_repair_enters_no_parts_of_another_form(lab: Published) -> None:
    """Than what was published since; it goes on, and tells of them."""
    result = lab.process()
    lab.move("cold")
    with Database(lab.ledger) as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM units WHERE start > 0")
        connection.exec_driver_sql("""UPDATE results SET form = '{"table": {"t": "int64"}}'""")
    entered, passed_over = lab.site.volumes().enter_found()
    assert entered == []
    (why,) = passed_over
    assert f"parts of {result.path} cannot be added" in why
    assert "'mean' is not in the parts before" in why


def test_what_is_held_is_kept_though_it_was_computed_anew(lab: Published) -> None:
    """A hold keeps the copies of old parts until it is ended."""
    lab.process()
    lab.move("cold")
    old = lab.volume()
    lab.site.catalogue.protect(
        old.run_id, kind="hold", tier=None, owner="ada", reason="audit", seconds=None
    )
    lab.process(force=True)
    lab.site.volumes().take_in()
    lab.site.settle()
    assert lab.site.lies_in_tiers(old) == {"cold"}
    lab.site.catalogue.unprotect(old.run_id, kind="hold")
    lab.site.volumes().take_in()
    lab.site.settle()
    assert lab.site.files("cold") == set()


def test_a_result_that_a_job_publishes_into_stays(lab: Published) -> None:
    """It is neither taken in nor moved until the job has ended."""
    result = lab.process()
    known = lab.volume()
    target = Target(result.job, str(lab.site.runs / "water"), str(result.path))
    with Database(lab.ledger) as database:
        job, _ = Jobs(database).submit(
            Submission(targets=[target], lane=Lane.REPROCESS, force=True)
        )
        lab.site.moves.plan(known, tier="cold", keep=False, why="a test")
        mover = Mover(lab.site.database, lab.site.tiers, lab.site.settings, work=lab.site.volumes())
        (move,) = mover.work()
        assert move.state is MoveState.PLANNED
        assert move.error is not None
        assert move.error.startswith(f"job {job} publishes into it")
        assert lab.site.files("cold") == set()
        Jobs(database).cancel(job)
    lab.site.settle()
    assert lab.there(result) == set()


def test_a_result_of_which_nothing_is_published_is_refused(lab: Published) -> None:
    """One sentence says why."""
    result = lab.process()
    with Database(lab.ledger) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE units SET part = NULL, state = 'ready'")
    with pytest.raises(MoveRefusedError, match="nothing can be moved yet: some of its units"):
        lab.site.volumes().of_folder(result.path)


def test_a_damaged_copy_is_read_from_the_other_and_put_right(lab: Published) -> None:
    """By readers at once, by a scrub in any case; what no copy has is told by its frames."""
    result = lab.process()
    lab.move("cold", keep=True)
    volume = lab.volume()
    (part,) = sorted((result.path / "parts").glob("*0000000000-*/table.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"?")
    assert len(open_result(result.path).table()) == 5
    assert part.read_bytes() == whole
    (copied,) = (
        each
        for each in (lab.site.folder / "cold").rglob("table.parquet")
        if each.parent.name == part.parent.name
    )
    copied.write_bytes(whole[:-1] + b"?")
    found = scrub(lab.site.catalogue, lab.site.tiers, [volume])
    assert found.put_right == [str(copied)]
    copied.unlink()
    part.unlink()
    found = scrub(lab.site.catalogue, lab.site.tiers, [volume])
    assert len(found.lost) == 2
    assert all("t0000000000-0000000002" in each for each in found.lost)
    with pytest.raises(ResultDamagedError, match="missing"):
        open_result(result.path).table()


def test_ledger_and_results_are_built_anew_from_a_tier(lab: Published) -> None:
    """The parts and what the ledger has to know of them lie there together."""
    result = lab.process()
    rows = result.table()
    lab.move("packed")
    lab.site.database.close()
    for path in lab.site.folder.glob("ledger.sqlite*"):
        path.unlink()
    shutil.rmtree(lab.site.runs / "results")
    lab.site.open()
    scan(lab.site.catalogue, lab.site.tiers, repair=True)
    assert lab.site.volumes().enter_found() == ([str(result.path)], [])
    assert lab.site.volumes().take_in() == []
    pd.testing.assert_frame_equal(open_result(result.path).table(), rows)
    assert lab.process().computed == 0
    assert scan(lab.site.catalogue, lab.site.tiers, repair=False).agrees


def test_policies_choose_between_raw_and_result() -> None:
    """Each sees its own; those of one kind are no way back for the other."""
    away = {"from": "hot", "to": "cold", "data": "raw", "name": "raw away"}
    home = {"from": "cold", "to": "hot", "data": "result", "name": "results near"}
    policies = [PolicySpecification.model_validate(each) for each in (away, home)]
    check_policies(policies, TIERS)
    both = PolicySpecification.model_validate({**home, "data": "both"})
    with pytest.raises(ValueError, match="round and round"):
        check_policies([policies[0], both], TIERS)


@pytest.mark.fault
def test_killed_anywhere_a_result_is_read_as_before(lab: Published) -> None:
    """Whichever way it goes: there, into packs, and home; another mover ends the move."""
    result = lab.process()
    rows = result.table()
    volume = lab.volume()
    for tier in ("cold", "packed", "hot"):
        lab.site.moves.plan(volume, tier=tier, keep=False, why="a test")
        # Each mover dies a few points further on than the one before.
        for point in range(0, 60, 13):
            try:
                lab.site.mover(killed_at(point)).work()
            except Killed:
                lab.site.pass_by(31)
            pd.testing.assert_frame_equal(open_result(result.path).table(), rows)
            lab.site.pass_by(GRACE / 4)
        lab.site.settle()
        assert lab.site.lies_in_tiers(volume) == {tier}
        states = {each.state for each in lab.site.catalogue.shelves(volume.run_id)}
        assert states <= {ShelfState.AVAILABLE, ShelfState.DELETED}
    assert lab.site.files("cold") == lab.site.files("packed") == set()
    assert Path(result.path, "parts").is_dir()


@pytest.mark.parametrize("tier", ["hot", "packed"])
def test_results_go_along_in_a_bundle(lab: Published, tier: str) -> None:
    """From whichever tier; importing it twice, or over what was computed there, does no harm."""
    result = lab.process(SUMMED)
    sums = result.arrays().load()
    if tier != "hot":
        lab.move(tier)
    bundle = lab.site.folder / "water.tar"
    export_run(
        contents_of(lab.site.runs / "water"),
        bundle,
        results=files_of(contents_of_result(result.path)),
    )
    assert check_bundle(bundle) == []
    away = lab.site.folder / "away"
    away.mkdir()
    there = import_with_results(bundle, away)
    xr.testing.assert_identical(open_result(there).arrays().load(), sums)
    assert process(open_run(away / "water"), SUMMED).computed == 0
    before = {path: path.stat().st_ino for path in (there / "parts").rglob("*")}
    assert import_with_results(bundle, away) == there
    assert {path: path.stat().st_ino for path in (there / "parts").rglob("*")} == before


@pytest.mark.fault
def test_an_import_that_was_killed_goes_on(lab: Published, monkeypatch: Any) -> None:
    """Before its parts were entered, they count for nothing, and go."""
    result = lab.process()
    bundle = lab.site.folder / "water-bundle"
    export_run(
        contents_of(lab.site.runs / "water"),
        bundle,
        results=files_of(contents_of_result(result.path)),
    )
    away = lab.site.folder / "away"
    away.mkdir()

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "enter", killed)
        with pytest.raises(Killed):
            import_with_results(bundle, away)
    there = import_with_results(bundle, away)
    pd.testing.assert_frame_equal(open_result(there).table(), result.table())
    assert process(open_run(away / "water"), LISTED).computed == 0
    assert len(list((there / "parts").iterdir())) == 3


def test_a_bundle_whose_results_are_not_as_published_is_refused(lab: Published) -> None:
    """Though all digests of the bag are right; the run is there, and nothing of the result."""
    result = lab.process()
    files = dict(files_of(contents_of_result(result.path)))
    table = next(name for name in files if name.endswith(".parquet"))
    files[table] = lambda: b"rows of somebody else"
    bundle = lab.site.folder / "water-bundle"
    export_run(contents_of(lab.site.runs / "water"), bundle, results=files)
    away = lab.site.folder / "away"
    away.mkdir()
    with pytest.raises(ResultDamagedError, match="has changed since it was published"):
        import_with_results(bundle, away)
    assert open_run(away / "water").verify().ok
    assert list((away / "results").rglob("part.json")) == []


def import_with_results(bundle: Path, away: Path) -> Path:
    """Import a bundle as the command does; return the folder of its only result."""
    entered: list[Path] = []

    def take(made: Bundled, files: Any) -> None:
        with Database(away / "results" / "ledger.sqlite") as ledger:
            entered.extend(
                bundles.take_in_bundled(
                    files,
                    where=str(bundle),
                    run_id=made.run_id,
                    run=made.path,
                    results=away / "results",
                    ledger=ledger,
                )
            )

    import_run(bundle, away, take_results=take)
    (path,) = entered
    return path
