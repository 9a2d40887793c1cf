"""Jobs over many runs in Python: for a service, or in this process, with an honest report."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
import xarray as xr
from tests.engine.conftest import WriteRun

import forebay
from forebay.acquisition.errors import RunNotFoundError
from forebay.engine import REGISTRY, SubmittedJob
from forebay.engine.errors import (
    EngineError,
    JobError,
    JobInterruptedError,
    KeyTakenError,
    ParameterError,
    ResultLedgerError,
    RunNotClosedError,
    UnknownAlgorithmError,
    UnknownJobError,
)
from forebay.engine.execution import benches
from forebay.engine.execution.events import UnitFailed, UnitPublished
from forebay.engine.execution.serve import serve
from forebay.engine.execution.workbench import FindAlgorithm
from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import RESULTS
from forebay.engine.queue.states import JobState, UnitState

SECONDS = 60


@forebay.algorithm("brightest-of-many", version="1.0.0")
def brightest(frames: xr.DataArray, *, cure: str = "", refuse: int = -1) -> xr.DataArray:
    """The brightest pixel of each frame; refuses a frame as long as there is no cure."""
    if refuse in frames["t"] and not Path(cure or "/nowhere").exists():
        raise ValueError(f"frame {refuse} is too dark")
    return frames.max(("y", "x"))


@forebay.algorithm("mean-of-many", version="1.0.0", needs=forebay.WholeRun())
def mean(frames: xr.DataArray) -> xr.DataArray:
    """The mean frame."""
    return frames.mean("t")


@contextmanager
def serving(ledger: Path, find: FindAlgorithm = REGISTRY.get) -> Iterator[None]:
    """Serve a ledger from a thread of this process."""
    stop = threading.Event()
    with Database(ledger) as database:

        def work() -> None:
            serve(database, lambda: nullcontext(None), find, stop=stop)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(SECONDS)


@pytest.fixture
def runs(write_run: WriteRun) -> list[forebay.Run]:
    """Give two runs of ten frames in blocks of four."""
    return [write_run("monday"), write_run("tuesday")]


def test_a_job_over_runs_is_submitted_explained_and_waited_for(
    runs: list[forebay.Run], tmp_path: Path
) -> None:
    """What a service publishes is what the algorithm returns."""
    job = forebay.submit(runs, brightest, labels={"week": "12"}, owner="ada")
    assert (job.number, job.new) == (1, True)
    assert job.ledger == tmp_path / "results" / "ledger.sqlite"
    assert job.record().labels == {"week": "12"}
    assert job.explain().reasons == ("no service is running ('forebay serve' starts one)",)
    seen: list[str] = []
    with serving(tmp_path / "results" / "ledger.sqlite"):
        record = job.wait(timeout=SECONDS, on_progress=lambda now, _: seen.append(now.state))
    assert record.state == JobState.DONE == seen[-1]
    progress = job.progress()
    assert (progress.total, progress.count(UnitState.DONE), progress.results) == (6, 6, 2)
    assert job.explain().reasons == ("everything is published",)
    for run in runs:
        (folder,) = (tmp_path / "results" / run.name).iterdir()
        (values,) = forebay.open_result(folder).arrays().data_vars.values()
        np.testing.assert_array_equal(values, run.frames.max(("y", "x")))


def test_what_a_service_does_not_know_waits_for_one_that_does(
    runs: list[forebay.Run], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that was installed after a service was started makes no dead letters there."""
    monkeypatch.setattr(benches, "_UNKNOWN_SECONDS", 3600.0)
    asked = threading.Event()

    def before(name: str, version: str) -> forebay.Algorithm:
        asked.set()
        raise UnknownAlgorithmError(f"there is no algorithm {name} {version}")

    job = forebay.submit(runs[0], brightest)
    with serving(Path(job.ledger), before):
        assert asked.wait(SECONDS)
    assert job.record().state == JobState.READY
    assert "does not know brightest-of-many-1.0.0: start it anew" in caplog.text
    with Database(job.ledger) as database, database.write() as connection:
        why = connection.execute(sa.select(RESULTS.c.held_because)).scalar_one()
        assert "does not know brightest-of-many-1.0.0" in why
        connection.execute(sa.update(RESULTS).values(held_until=0))
    with serving(Path(job.ledger)):
        assert job.wait(timeout=SECONDS).state == JobState.DONE


def test_submitting_the_same_twice_is_submitting_it_once(runs: list[forebay.Run]) -> None:
    """Until it has ended; a key of one's own does it as well."""
    first = forebay.submit(runs, brightest)
    again = forebay.submit(reversed(runs), brightest)
    assert (again.number, again.new) == (first.number, False)
    other = forebay.submit(runs, brightest, refuse=3)
    assert (other.number, other.new) == (2, True)
    keyed = [forebay.submit(runs, mean, key="nightly") for _ in range(2)]
    assert [each.new for each in keyed] == [True, False]
    with pytest.raises(KeyTakenError, match=r"it goes over .* too"):
        forebay.submit(runs[0], mean, key="nightly")
    first.cancel()
    assert forebay.submit(runs, brightest).number == 4


def test_waiting_ends_without_the_job(runs: list[forebay.Run]) -> None:
    """By its time, or by an event; the job stays as it was."""
    job = forebay.submit(runs, brightest)
    stop = threading.Event()
    stop.set()
    for how in ({"timeout": 0.0}, {"stop": stop}):
        with pytest.raises(JobInterruptedError, match="it goes on all the same"):
            job.wait(**how)
    assert job.record().state == JobState.READY


def test_a_cancelled_job_ends_at_once(runs: list[forebay.Run]) -> None:
    """And cannot be cancelled again, nor come before another."""
    job = forebay.submit(runs, brightest)
    job.cancel()
    assert job.wait(timeout=0).state == JobState.CANCELLED
    with pytest.raises(JobError, match="cannot be cancelled: it was cancelled"):
        job.cancel()
    with pytest.raises(JobError, match="nothing can come after it"):
        forebay.submit(runs, mean, after=[job.number])


def test_what_can_be_known_to_be_wrong_is_refused_and_nothing_is_made(
    write_run: WriteRun, tmp_path: Path
) -> None:
    """No ledger appears, neither where one works nor where results would go."""
    run, growing = write_run(), write_run("growing", close=False)
    inside = tmp_path / "run" / "results"
    asked: list[tuple[type[Exception], str, Any, Any, dict[str, Any]]] = [
        (JobError, "at least one run", [], brightest, {}),
        (JobError, f"'{tmp_path}/run' is not an opened run", f"{tmp_path}/run", brightest, {}),
        (UnknownAlgorithmError, "brightest-of-all", [run], "brightest-of-all", {}),
        (ParameterError, "refuse", [run], brightest, {"refuse": "none"}),
        (ParameterError, "depth", [run], brightest, {"depth": 3}),
        (JobError, "no lane 'slow'", [run], brightest, {"lane": "slow"}),
        (JobError, "lane cannot be 7: give a text", [run], brightest, {"lane": 7}),
        (RunNotClosedError, "nobody writes it", [growing], mean, {}),
        (ParameterError, "in the run", [run], brightest, {"results": inside}),
        (ParameterError, "in the run", [run], brightest, {"ledger": inside / "x.sqlite"}),
    ]
    before = sorted(tmp_path.rglob("*"))
    for error, told, which, algorithm, options in asked:
        with pytest.raises(error, match=told):
            forebay.submit(which, algorithm, **options)
    with pytest.raises(JobError, match="at least one run"):
        forebay.reprocess([], brightest)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_begun_is_told(
    runs: list[forebay.Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that cannot be written keeps no other from being computed, and the log says why."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "monday").write_text("where a folder is needed")
    report = forebay.reprocess(runs, brightest)
    assert report.progress.units == {"done": 3, "dead": 3}
    assert {each.target.job.run_name for each in report.dead} == {"monday"}
    why = f"ResultStorageError: cannot write the result {tmp_path}/results/monday/"
    told = [each.getMessage() for each in caplog.records]
    for then in ("is tried again", "is a dead letter"):
        assert any(f"a unit cannot be begun, and {then}: {why}" in each for each in told)


def test_a_ledger_may_be_named_by_a_path_of_any_kind(
    runs: list[forebay.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A string without a scheme is a path, and a job is found when one works elsewhere."""
    monkeypatch.chdir(tmp_path)
    job = forebay.submit(runs, brightest, ledger="queue.sqlite")
    url = f"sqlite:///{tmp_path / 'queue.sqlite'}"
    assert not forebay.submit(runs, brightest, ledger=url).new
    monkeypatch.chdir("/")
    assert job.record().state == JobState.READY
    with pytest.raises(UnknownJobError, match="there is no job 9"):
        SubmittedJob(job.ledger, 9).record()


def test_a_result_stays_in_the_ledger_that_it_is_entered_in(
    runs: list[forebay.Run], tmp_path: Path
) -> None:
    """Another ledger would take its parts for rubbish; the same one, written otherwise, is fine."""
    forebay.reprocess(runs, brightest)
    parts = sorted(tmp_path.rglob("part.json"))
    for call in (forebay.submit, forebay.reprocess):
        with pytest.raises(ResultLedgerError, match="are entered in the ledger"):
            call(runs, brightest, ledger=tmp_path / "other.sqlite")
    with pytest.raises(ResultLedgerError, match="are entered in the ledger"):
        forebay.process(runs[0], brightest, ledger=tmp_path / "other.sqlite")
    assert sorted(tmp_path.rglob("part.json")) == parts
    url = f"sqlite:///{tmp_path / 'results' / 'ledger.sqlite'}"
    assert forebay.reprocess(runs, brightest, ledger=url).computed == 0


def test_a_job_says_that_its_results_were_entered_elsewhere_meanwhile(
    runs: list[forebay.Run], tmp_path: Path
) -> None:
    """It was submitted before they were; each of its units would become a dead letter."""
    job = forebay.submit(runs, brightest, ledger=tmp_path / "other.sqlite")
    forebay.reprocess(runs[:1], brightest)
    reasons = job.explain().reasons
    (why,) = [each for each in reasons if "are entered in the ledger" in each]
    assert str(tmp_path / "results" / "ledger.sqlite") in why
    assert "monday" in why


def test_a_live_job_says_that_nobody_writes_its_run(write_run: WriteRun) -> None:
    """And no more once somebody does, or once the run is closed."""
    run = write_run("left", close=False)
    job = forebay.submit(run, brightest, live=True)
    (why,) = [each for each in job.explain().reasons if "nobody is writing" in each]
    assert why == (
        f"it follows the run {run.location}, which is open, and nobody is writing it: if its "
        "writer has died, 'forebay runs close left' lets the job end"
    )
    assert run.path is not None
    with forebay.RunWriter.resume(run.path):
        assert not [each for each in job.explain().reasons if "nobody is writing" in each]
    assert not [each for each in job.explain().reasons if "nobody is writing" in each]


def test_reprocess_computes_what_is_missing_and_nothing_else(runs: list[forebay.Run]) -> None:
    """A second call, and one over another choice of the same runs, find it done."""
    events: list[object] = []
    report = forebay.reprocess(runs, brightest, on_event=events.append)
    assert (report.complete, report.computed, len(report.results)) == (True, 6, 2)
    assert sum(isinstance(each, UnitPublished) for each in events) == 6
    assert forebay.reprocess(runs[1:], brightest).computed == 0
    again = forebay.reprocess(runs, brightest, force=True)
    assert (again.complete, again.computed) == (True, 6)


def test_reprocess_tells_honestly_what_it_could_not_do(
    runs: list[forebay.Run], write_run: WriteRun, tmp_path: Path
) -> None:
    """A failing block and a run that is gone keep nothing else from being computed."""
    gone = write_run("wednesday")
    shutil.rmtree(tmp_path / "wednesday")
    events: list[object] = []
    options: dict[str, Any] = {"refuse": 5, "cure": str(tmp_path / "cure")}
    report = forebay.reprocess([*runs, gone], brightest, on_event=events.append, **options)
    assert not report.complete
    assert report.computed == 4
    assert dict(report.progress.units) == {"done": 4, "dead": 2}
    assert {(each.target.job.run_name, each.start) for each in report.dead} == {
        ("monday", 4),
        ("tuesday", 4),
    }
    assert {each.error for each in report.dead} == {"ValueError: frame 5 is too dark"}
    (error,) = report.progress.errors
    assert "wednesday" in error
    assert sum(isinstance(each, UnitFailed) for each in events) == 2
    assert SubmittedJob(tmp_path / "results" / "ledger.sqlite", report.job).record().state == (
        JobState.FAILED
    )
    # Mended, and called once more.
    (tmp_path / "cure").touch()
    write_run("wednesday")
    mended = forebay.reprocess([*runs, gone], brightest, **options)
    assert (mended.complete, mended.computed, mended.dead) == (True, 5, ())
    assert mended.progress.errors == ()


def test_a_block_that_is_damaged_is_a_dead_letter(write_run: WriteRun, tmp_path: Path) -> None:
    """It names the damage, and the other blocks are published."""
    run = write_run()
    shard = sorted((tmp_path / "run" / "frames").glob("c*"))[1]
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    report = forebay.reprocess([run], brightest)
    assert not report.complete
    assert report.computed == 2
    (letter,) = report.dead
    assert letter.start == 4
    assert "Damaged" in letter.error


def test_reprocess_that_was_stopped_is_completed_by_the_next_call(
    runs: list[forebay.Run],
) -> None:
    """What was computed until then is published."""
    stop = threading.Event()

    def stop_at_once(event: object) -> None:
        if isinstance(event, UnitPublished):
            stop.set()

    with pytest.raises(JobInterruptedError, match="run it again to go on"):
        forebay.reprocess(runs, brightest, stop=stop, on_event=stop_at_once)
    report = forebay.reprocess(runs, brightest)
    assert report.complete
    assert 0 < report.computed < 6


def test_a_unit_is_reproduced_at_a_desk(write_run: WriteRun, tmp_path: Path) -> None:
    """It sees what a worker would see, and what the algorithm raises comes through."""
    run = write_run()
    unit = forebay.reproduce(run.location, brightest, frame=4)
    assert unit.frames.sizes["t"] == 4
    output = unit.compute()
    assert isinstance(output, xr.Dataset)
    report = forebay.reprocess([run], brightest)
    arrays = forebay.open_result(report.results[0]).arrays()
    xr.testing.assert_equal(output, arrays.sel(t=slice(4, 7)).compute())
    failing = forebay.reproduce(
        run.location, "brightest-of-many", parameters={"refuse": "5"}, frame=4
    )
    with pytest.raises(ValueError, match="frame 5 is too dark"):
        failing.compute()


def test_what_cannot_be_reproduced_is_told(write_run: WriteRun, tmp_path: Path) -> None:
    """A place where no unit begins, an unknown version, and a run that is not there."""
    location = write_run().location
    with pytest.raises(EngineError, match="begins at frame 3, row 0, column 0"):
        forebay.reproduce(location, brightest, frame=3)
    with pytest.raises(UnknownAlgorithmError, match=r"brightest-of-many 9\.0\.0"):
        forebay.reproduce(location, "brightest-of-many", version="9.0.0")
    with pytest.raises(ParameterError, match="depth"):
        forebay.reproduce(location, brightest, parameters={"depth": 1})
    with pytest.raises(RunNotFoundError):
        forebay.reproduce(str(tmp_path / "nothing"), brightest)
