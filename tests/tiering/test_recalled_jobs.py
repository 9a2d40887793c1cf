"""A job over a run that lies in an archive: what it costs first, then it waits for its blocks."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ByteSize
from tests.acquisition.storage.server import BUCKET
from tests.tiering.site import Site
from tests.tiering.test_archive import restores_take
from typer.testing import CliRunner, Result

from forebay.cli.app import app
from forebay.engine import REGISTRY, SubmittedJob
from forebay.engine.execution.recalls import needed_recalls
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.execution.wanted import targets
from forebay.engine.queue.database import Database
from forebay.engine.queue.states import UnitState
from forebay.opening import open_run
from forebay.tiering.archive.signposted import archived_objects
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
    return site


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def away(site: Site) -> set[str]:
    """Return what of the run's blocks has to be asked for still."""
    folder = site.runs / "water"
    keys = [f"frames/c.{number}.0.0" for number in range(BLOCKS)]
    return {name for each in archived_objects(folder, keys) for name in each.recall.look().away}


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
    restores_take(server, looks=8)
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
    said: set[str] = set()
    with service(job):
        job.wait(timeout=60, on_progress=lambda *_: said.update(job.explain().reasons))
    assert any("was asked for: it can be read within about 5 hours" in each for each in said)
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
