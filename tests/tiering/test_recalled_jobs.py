"""A job over a run that lies in an archive: what it costs first, then it waits for its blocks."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ByteSize
from tests.acquisition.storage.server import BUCKET
from tests.tiering.site import GRACE, Site
from tests.tiering.stream import OPTIONS, Stream
from tests.tiering.test_archive import restores_take
from typer.testing import CliRunner, Result

import forebay
from forebay.cli.app import app
from forebay.engine import REGISTRY, RecallAgreement, SubmittedJob
from forebay.engine.errors import JobInterruptedError
from forebay.engine.execution.recalls import needed_recalls
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.execution.wanted import targets
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import JobRecord
from forebay.engine.queue.progress import Progress
from forebay.engine.queue.states import UnitState
from forebay.opening import open_run
from forebay.tiering.archive.signposted import archived_objects, recalls_of
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import ArchivedError
from forebay.tiering.moving.mover import Mover
from forebay.tiering.specification import TierSpecification

pytestmark = pytest.mark.s3

BLOCKS = 3
SUMS = """
import forebay

@forebay.algorithm("sums", version="1.0.0")
def sums(frames):
    return frames.sum(("y", "x"))
"""


@pytest.fixture
def lab(site: Site, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A laboratory whose cold tier is an archive; the run lies there alone."""
    site.specifications["cold"] = TierSpecification(
        url=f"s3://{BUCKET}/{site.folder.name}",
        storage_class="GLACIER",
        pack_bytes=ByteSize(300),
        recall_cost_per_1000=50.0,
    )
    site.database.close()
    site.open()
    site.move("cold")
    (tmp_path / "sums.py").write_text(SUMS)
    (tmp_path / "forebay.toml").write_text(
        f'runs = "{site.runs}"\nengine.algorithm_modules = ["sums.py"]\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(REGISTRY, "_algorithms", dict(REGISTRY._algorithms))
    REGISTRY.load([str(tmp_path / "sums.py")])
    return site


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def away(site: Site, name: str = "water") -> set[str]:
    """Return what of a run's blocks has to be asked for still."""
    folder = site.runs / name
    keys = [f"frames/c.{number}.0.0" for number in range(BLOCKS)]
    found = recalls_of(archived_objects(folder, keys).values())
    return {name for _, recall in found for name in recall.look().away}


@contextlib.contextmanager
def service(job: SubmittedJob) -> Iterator[None]:
    """Serve beside the test, looking for what was recalled all the time."""
    stop = threading.Event()
    with Database(job.ledger) as database:
        thread = threading.Thread(
            target=serve,
            args=(database, lambda: contextlib.nullcontext(None), REGISTRY.get),
            kwargs={"options": ServiceOptions(recall_seconds=0.05), "stop": stop},
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_a_job_waits_for_what_was_recalled_for_it(lab: Site, server: int) -> None:
    """The cost is told, and nothing asked for, until it is agreed to; no unit has failed."""
    restores_take(server, looks=10**6)
    refused = asked("jobs", "submit", "sums", "water")
    assert refused.exit_code == 3, refused.output
    assert "objects of water are to be recalled from 'cold', which costs about" in refused.stderr
    assert "give --recall if that is agreed to" in refused.stderr
    assert len(away(lab)) > 1
    agreed = asked("jobs", "submit", "sums", "water", "--recall", "--json")
    assert agreed.exit_code == 0, agreed.output
    assert "are to be recalled from 'cold', which costs about" in agreed.stderr
    assert away(lab) == set()
    job = SubmittedJob(lab.runs / "results" / "ledger.sqlite", json.loads(agreed.stdout)["job"])
    told = "was asked for: it can be read within about 5 hours"

    def end_the_wait_once_it_is_told(*_: object) -> None:
        if any(told in each for each in job.explain().reasons):
            restores_take(server, looks=0)

    with service(job):
        job.wait(timeout=60, on_progress=end_the_wait_once_it_is_told)
    assert job.progress().units == {UnitState.DONE: BLOCKS}
    # What is done needs nothing any more; only who wants it anew does.
    run, sums = open_run(lab.runs / "water"), REGISTRY.get("sums")
    wanted = targets([run], sums, sums.bind({}), results=lab.runs / "results")
    assert needed_recalls([run], wanted, ledger=job.ledger, force=False) == []
    (needed,) = needed_recalls([run], wanted, ledger=job.ledger, force=True)
    assert (needed.run, needed.tier) == ("water", "cold")


def test_what_is_computed_from_here_waits_as_well(lab: Site, server: int) -> None:
    """Where the archive does not let anybody wait, it goes on at once."""
    restores_take(server, looks=0)
    refused = asked("reprocess", "sums", "--here", "--cluster", "none")
    assert refused.exit_code == 3, refused.output
    assert "give --recall if that is agreed to" in refused.stderr
    done = asked("reprocess", "sums", "--here", "--cluster", "none", "--recall")
    assert done.exit_code == 0, done.output
    assert away(lab) == set()


def test_what_costs_more_than_was_agreed_to_is_refused(lab: Site, server: int) -> None:
    """With the figure, and before anything is asked for; from Python as at the command line."""
    restores_take(server, looks=0)
    cheap = asked("jobs", "submit", "sums", "water", "--recall-cost", "0.01")
    assert cheap.exit_code == 3, cheap.output
    assert "that is more than the 0.01 that were agreed to" in cheap.stderr
    refused = asked("reprocess", "sums", "--here", "--cluster", "none", "--recall-cost", "0.01")
    assert "that is more than the 0.01 that were agreed to" in refused.stderr
    run = open_run(lab.runs / "water")
    with pytest.raises(ArchivedError, match=r"recall=RecallAgreement\(\)"):
        forebay.submit(run, "sums")
    with pytest.raises(
        ArchivedError, match=r"which costs about 0\.\d\d for .* more than the 0\.01"
    ):
        forebay.submit(run, "sums", recall=RecallAgreement(most_cost=0.01))
    assert len(away(lab)) > 1
    enough = asked("jobs", "submit", "sums", "water", "--recall-cost", "1000", "--json")
    assert enough.exit_code == 0, enough.output
    assert away(lab) == set()


def test_no_more_is_spent_later_than_was_agreed_to(lab: Site, server: int) -> None:
    """What goes into an archive after the job was submitted counts; what it needs has failed."""
    restores_take(server, looks=0)
    lab.record("ice")
    runs = [open_run(lab.runs / name) for name in ("water", "ice")]
    sums = REGISTRY.get("sums")
    wanted = targets(runs, sums, sums.bind({}), results=lab.runs / "results")
    ledger = lab.runs / "results" / "ledger.sqlite"
    (needed,) = needed_recalls(runs, wanted, ledger=ledger, force=False)
    cost = needed.recall.cost(needed.recall.look().away)
    job = forebay.submit(runs, "sums", recall=RecallAgreement(most_cost=cost))
    assert job.record().recall_cost == pytest.approx(cost)
    lab.move("cold", name="ice")
    with service(job):
        job.wait(timeout=60)
    # All of the one, and nothing of the other.
    assert job.progress().units == {UnitState.DONE: BLOCKS, UnitState.DEAD: BLOCKS}
    assert job.record().recall_cost == pytest.approx(cost)
    assert away(lab) == set()
    assert len(away(lab, "ice")) > 1
    letters = asked("dead", "list", "--json").stdout
    assert f"has spent {cost:.2f} of the {cost:.2f} that were agreed to" in letters
    # Who agrees to more has it.
    again = forebay.submit(runs, "sums", recall=RecallAgreement())
    with service(again):
        again.wait(timeout=60)
    assert again.progress().units == {UnitState.DONE: 2 * BLOCKS}
    assert again.record().recall_cost == pytest.approx(cost)


def test_no_more_is_recalled_ahead_than_was_asked_for(lab: Site, server: int) -> None:
    """What comes behind that is asked for as units are done, until all of them are."""
    restores_take(server, looks=2)
    before = away(lab)
    run = open_run(lab.runs / "water")
    job = forebay.submit(run, "sums", recall=RecallAgreement(ahead_bytes=1))
    assert len(job.recalled) == 1
    # What the first block needs, and nothing else.
    assert set() < away(lab) < before
    with service(job):
        job.wait(timeout=60)
    assert job.progress().units == {UnitState.DONE: BLOCKS}


def test_blocks_stay_near_until_a_live_job_has_read_them(lab: Site, server: int) -> None:
    """A policy that sends blocks of an open run into an archive does not outrun who follows it."""
    restores_take(server, looks=8)
    lab.settings = lab.settings.model_copy(update=OPTIONS)
    stream = Stream(lab)
    stream.record(8)
    job = forebay.submit(
        open_run(stream.path), "sums", live=True, ledger=lab.ledger, results=lab.folder / "sums"
    )
    for volume in stream.known().pieces(stream.path):
        lab.moves.plan(volume, tier="cold", keep=False, why="a test")
    mover = Mover(lab.database, lab.tiers, lab.settings, work=lab.volumes())
    mover.work()
    lab.pass_by(GRACE + 1)
    for waiting in mover.work():
        assert waiting.state is MoveState.GRACE
        assert waiting.error is not None
        assert waiting.error.startswith(f"job {job.number} has yet to read it")
    assert stream.at_home() == list(range(8))
    with service(job):
        done = threading.Event()

        def look(_: JobRecord, progress: Progress) -> None:
            if progress.count(UnitState.DONE) == 8:
                done.set()

        with pytest.raises(JobInterruptedError):
            job.wait(timeout=60, stop=done, on_progress=look)
    # The job goes on, and so does the recorder; what was read may go.
    assert job.progress().count(UnitState.DEAD) == 0
    lab.pass_by(61)
    mover.work()
    assert stream.at_home() == [6, 7]
    assert not job.record().ended
    stream.writer.abandon()
