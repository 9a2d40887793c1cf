"""Running a job again: nothing is done twice, nothing is lost, nothing is mixed up."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.acquisition import Run
from forebay.engine import Algorithm, Blockwise, Result, open_result, process, reprocess, submit
from forebay.engine.errors import (
    LeaseLostError,
    ParameterError,
    ResultDamagedError,
    ResultNotFoundError,
    UnitsFailedError,
    UnknownAlgorithmError,
)
from forebay.engine.execution.events import JobEvent, UnitFailed, UnitPublished, UnitSkipped
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.schema import SERVICES
from forebay.engine.results.folder import ResultFolder


class Counting:
    """An algorithm that counts its calls, and fails on chosen frames."""

    def __init__(self, version: str = "1.0.0") -> None:
        self.frames: list[int] = []
        self.fail_on: set[int] = set()
        self.before: Callable[[], object] = lambda: None

        def brightest(frames: xr.DataArray, *, above: float = 0.0) -> pd.DataFrame:
            first = int(frames.t[0])
            self.frames.append(first)
            self.before()
            if first in self.fail_on:
                raise ValueError(f"frame {first}\nis too dark")
            value = frames.max(("y", "x")) - above
            return pd.DataFrame({"t": frames.t, "value": value})

        self.algorithm = Algorithm("brightest", version, brightest)


def leftovers(result: Result) -> set[str]:
    """Return what lies in a result's folder and is not published."""
    folder = ResultFolder(result.path)
    published = {unit.part for unit in result.done}
    return {path.name for path in (*folder.staging.iterdir(), *folder.parts.iterdir())} - published


def kinds(events: list[JobEvent]) -> list[type]:
    return [type(event) for event in events]


def test_a_job_that_is_done_is_not_done_again(write_run: WriteRun) -> None:
    """The second call computes nothing, says so, and gives the same."""
    run, counting = write_run(), Counting()
    first = process(run, counting.algorithm)
    events: list[JobEvent] = []
    second = process(run, counting.algorithm, on_event=events.append)
    assert (first.computed, second.computed) == (3, 0)
    assert counting.frames == [0, 4, 8]
    assert kinds(events).count(UnitSkipped) == 3
    pd.testing.assert_frame_equal(second.table(), first.table())


def test_forced_anew_the_old_stays_until_the_new_is_there(write_run: WriteRun) -> None:
    """While a forced job runs, and if it fails, what was published can be read."""
    run, counting = write_run(), Counting()
    before = process(run, counting.algorithm)
    table = before.table()
    seen: list[pd.DataFrame] = []
    counting.before = lambda: seen.append(open_result(before.path).table())
    after = process(run, counting.algorithm, force=True, units_in_flight_per_worker=1)
    assert counting.frames == [0, 4, 8, 0, 4, 8]
    assert (after.computed, len(seen)) == (3, 3)
    for each in (*seen, after.table()):
        pd.testing.assert_frame_equal(each, table)
    assert {unit.part for unit in before.done}.isdisjoint(unit.part for unit in after.done)
    assert leftovers(after) == set()

    counting.fail_on = {4}
    with pytest.raises(UnitsFailedError, match="failed on 1 of 3 units"):
        process(run, counting.algorithm, force=True)
    kept = open_result(after.path)
    assert (len(kept.done), kept.failed) == (3, ())
    pd.testing.assert_frame_equal(kept.table(), table)


def test_a_result_that_was_replaced_says_so(write_run: WriteRun) -> None:
    """Whoever holds an old result is told to open it again, and gets no other values."""
    run, counting = write_run(), Counting()
    old = process(run, counting.algorithm)
    process(run, counting.algorithm, force=True)
    with pytest.raises(ResultDamagedError, match="open the result again"):
        old.table()


@pytest.mark.parametrize(
    ("version", "above"), [("1.0.1", 0.0), ("1.0.0", 5.0)], ids=["version", "parameter"]
)
def test_another_version_or_parameter_lies_beside(
    write_run: WriteRun, version: str, above: float
) -> None:
    """Results of different questions never mix, and the first stays as it was."""
    run = write_run()
    first = process(run, Counting().algorithm)
    before = first.table()
    second = process(run, Counting(version).algorithm, above=above)
    assert second.computed == 3
    assert second.path != first.path
    pd.testing.assert_frame_equal(open_result(first.path).table(), before)


def test_other_tiles_lie_beside(write_run: WriteRun) -> None:
    """Cut in another way, a job is another one: no pixel is counted in both."""
    run = write_run()

    def bright(frames: xr.DataArray) -> pd.DataFrame:
        return pd.DataFrame({"t": frames.t})

    whole = process(run, Algorithm("bright", "1.0.0", bright))
    tiles = process(run, Algorithm("bright", "1.0.0", bright, Blockwise(tile_pixels=4)))
    assert (len(whole.done), len(tiles.done), whole.path == tiles.path) == (3, 12, False)


def test_results_of_different_runs_of_one_name_are_kept_apart(
    write_run: WriteRun, tmp_path: Path
) -> None:
    """A run is known by its identity: its name may be used elsewhere too."""
    counting = Counting()
    runs = [write_run(f"{day}/run") for day in ("monday", "tuesday")]
    results = [process(run, counting.algorithm, results=tmp_path / "results") for run in runs]
    assert results[0].path.parent == results[1].path.parent == tmp_path / "results" / "run"
    assert [result.computed for result in results] == [3, 3]


def test_nothing_is_said_to_be_published_where_nothing_is(write_run: WriteRun) -> None:
    run, counting = write_run(), Counting()
    counting.fail_on = {0, 4, 8}
    with pytest.raises(UnitsFailedError, match=r"on 3 of 3 .* too dark; none is published; mend"):
        process(run, counting.algorithm)


def test_a_failing_block_is_named_and_tried_again_alone(write_run: WriteRun) -> None:
    """The other blocks are published; the next call computes the one that failed, and no other."""
    run, counting = write_run(), Counting()
    counting.fail_on = {4}
    events: list[JobEvent] = []
    with pytest.raises(UnitsFailedError) as failed:
        process(run, counting.algorithm, on_event=events.append)
    message = str(failed.value)
    assert "failed on 1 of 3 units, first on the frames 4 to 7" in message
    assert "ValueError: frame 4 is too dark; the others are published" in message
    (event,) = [each for each in events if isinstance(each, UnitFailed)]
    assert "in brightest" in event.traceback
    path = Path(message.partition("published in ")[2].partition(";")[0])
    half = open_result(path)
    assert [unit.start for unit in half.done] == [0, 8]
    assert [unit.error for unit in half.failed] == ["ValueError: frame 4 is too dark"]
    assert (half.frames, half.table()["t"].tolist()) == (6, [0, 1, 2, 3, 8, 9])

    counting.fail_on = set()
    whole = process(run, counting.algorithm)
    # An error that comes twice is no accident.
    assert sorted(counting.frames) == [0, 4, 4, 4, 8]
    assert (whole.computed, whole.failed, whole.frames) == (1, (), 10)
    assert whole.table()["t"].tolist() == list(range(10))
    assert leftovers(whole) == set()


def test_an_endless_message_is_cut(write_run: WriteRun) -> None:
    """An exception that carries an array does not fill the ledger or the screen."""

    def verbose(frames: xr.DataArray) -> xr.DataArray:
        raise ValueError("x" * 100_000)

    with pytest.raises(UnitsFailedError) as failed:
        process(write_run(), Algorithm("verbose", "1.0.0", verbose))
    assert len(str(failed.value)) < 1200


def test_a_damaged_block_fails_its_own_units_only(write_run: WriteRun) -> None:
    """A block whose bytes have changed is never computed with; the others are."""
    run = write_run()
    (shard,) = Path(run.location).glob("frames/c.1.*")
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UnitsFailedError, match=r"on 1 of 3 units.*frames 4 to 7: RunDamagedError"):
        process(run, Counting().algorithm)


def test_two_processes_at_the_same_job_share_it(write_run: WriteRun) -> None:
    """Each unit is computed by one of them, and both return the whole result."""
    run = write_run(frames=24)
    results: list[Result] = []
    countings = [Counting(), Counting()]
    both = threading.Barrier(2, timeout=30)

    def work(counting: Counting) -> None:
        waited: list[int] = []

        def meet() -> None:
            if not waited:
                waited.append(1)
                both.wait()

        counting.before = meet
        results.append(process(run, counting.algorithm))

    threads = [threading.Thread(target=work, args=(counting,)) for counting in countings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(countings[0].frames + countings[1].frames) == [0, 4, 8, 12, 16, 20]
    assert all(counting.frames for counting in countings)
    assert [len(result.done) for result in results] == [6, 6]
    assert sum(result.computed for result in results) == 6
    final = process(run, Counting().algorithm)
    assert final.computed == 0
    assert final.table()["t"].tolist() == list(range(24))
    assert leftovers(final) == set()


def test_what_a_killed_call_has_left_of_a_finished_result_is_removed(write_run: WriteRun) -> None:
    """By the next one that works on the ledger, whatever it is at."""
    run, other = write_run(), write_run("other")
    result = process(run, Counting().algorithm)
    killed = ResultFolder(result.path).staging / "0123abcd"
    killed.mkdir()
    (killed / "lock").touch()
    with Database(ResultFolder(result.path).ledger) as database:
        Service(database)
        with database.write() as connection:
            connection.execute(SERVICES.update().values(alive_until=sa.text("alive_until - 1e11")))
    process(other, Counting().algorithm)
    assert leftovers(result) == set()


def test_a_part_of_a_late_attempt_is_not_published(write_run: WriteRun) -> None:
    """A process that was held up finds that it was taken for dead, and changes nothing."""
    run, counting = write_run(frames=4), Counting()
    taken: list[str] = []

    def overtake() -> None:
        (ledger,) = Path(run.location).parent.glob("results/ledger.sqlite")
        with Database(ledger) as database:
            with database.write() as connection:
                connection.execute(SERVICES.update().values(alive_until=0))
            other = Service(database)
            taken.extend(other.bury_the_dead())
            other.end()

    counting.before = overtake
    events: list[JobEvent] = []
    with pytest.raises(LeaseLostError, match="others have taken over what it worked on"):
        process(run, counting.algorithm, on_event=events.append)
    assert len(taken) == 1
    assert UnitPublished not in kinds(events)
    assert list(Path(run.location).parent.glob("results/run/*/parts/*")) == []
    counting.before = lambda: None
    result = process(run, counting.algorithm)
    assert result.table()["t"].tolist() == [0, 1, 2, 3]
    assert leftovers(result) == set()


def test_a_result_is_found_from_where_one_stands(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is as good as any, also that of the folder one is in."""
    run: Run = write_run()
    result = process(run, Counting().algorithm)
    monkeypatch.chdir(result.path)
    pd.testing.assert_frame_equal(open_result(".").table(), result.table())
    monkeypatch.chdir(run.location)
    from forebay.acquisition import open_run

    assert process(open_run("."), Counting().algorithm).path == result.path


def test_what_is_no_result_is_refused(write_run: WriteRun, tmp_path: Path) -> None:
    """The message names the folder and what it lacks."""
    with pytest.raises(ResultNotFoundError, match=r"has no result\.json"):
        open_result(tmp_path / "nothing")
    result = process(write_run(), Counting().algorithm)
    (result.path / "result.json").write_text("{")
    with pytest.raises(ResultNotFoundError, match=r"has no result\.json that names a job"):
        open_result(result.path)


@pytest.mark.parametrize("room", [0, -1, "2", None, 1.5])
def test_a_window_without_room_is_refused(write_run: WriteRun, room: Any) -> None:
    """At least one unit has to be handed out; with none, reprocessing went on for ever."""
    run = write_run()
    with pytest.raises(ParameterError, match="units_in_flight_per_worker cannot be"):
        process(run, Counting().algorithm, units_in_flight_per_worker=room)
    with pytest.raises(ParameterError, match="units_in_flight_per_worker cannot be"):
        reprocess([run], Counting().algorithm, units_in_flight_per_worker=room)
    assert not run_results(run).exists()


def test_what_is_no_client_is_refused(write_run: WriteRun) -> None:
    """Before anything is done, with what to give instead."""
    run = write_run()
    for wrong in ("tcp://10.0.0.1:8786", 7, Path("scheduler.json")):
        with pytest.raises(ParameterError, match=r"client cannot be .* distributed\.Client"):
            process(run, Counting().algorithm, client=wrong)
        with pytest.raises(ParameterError, match=r"client cannot be .* distributed\.Client"):
            reprocess([run], Counting().algorithm, client=wrong)
    assert not run_results(run).exists()


@pytest.mark.parametrize("wrong", [len, None, 7, pd.DataFrame])
def test_what_is_no_algorithm_is_refused(write_run: WriteRun, wrong: Any) -> None:
    """A function that nobody has declared above all."""
    run = write_run()
    for start in (process, submit):
        with pytest.raises(UnknownAlgorithmError, match=r"declare it with @forebay\.algorithm"):
            start(run, wrong)
    with pytest.raises(UnknownAlgorithmError, match=r"declare it with @forebay\.algorithm"):
        reprocess([run], wrong)
    assert not run_results(run).exists()


def run_results(run: Run) -> Path:
    return Path(run.location).parent / "results"
