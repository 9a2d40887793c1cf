"""Runs that go away or cannot be read, and a folder that takes no results, in one job."""

import shutil
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, with_own_mounts

from forebay.acquisition import Run, open_run
from forebay.engine import open_result

pytestmark = pytest.mark.fault

BLOCKS = 24


def test_they_end_as_dead_letters_and_the_others_are_done(site: Site, give_run: GiveRun) -> None:
    site.configure({"most_retries": 1, "storage_seconds": 1})
    deleted, broken, unkept, good = (
        copied(give_run(BLOCKS, name), site.folder / "runs" / name)
        for name in ("a-deleted", "b-broken", "c-unkept", "d-good")
    )
    job = site.submit(deleted, broken, unkept, good, seconds=0.02)
    (site.folder / "runs/b-broken/zarr.json").write_text("no JSON")
    full = site.results / unkept.name
    full.mkdir(parents=True)
    read_only = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    service = site.serve(before=with_own_mounts(read_only, full))
    service.wait_for("published", 4)
    shutil.rmtree(site.folder / "runs" / "a-deleted")

    record = job.wait(timeout=60)
    assert record.state == "failed"
    site.check_result(good, site.folder_of(job, good))
    gone = open_result(site.folder_of(job, deleted))
    assert 4 <= len(gone.done) < BLOCKS
    assert 1 <= len(gone.failed) <= 4
    states = {row.state for row in site.units_of(job, deleted)}
    assert states == {"done", "dead", "cancelled"}
    assert len(gone.table()) == 4 * len(gone.done)
    errors = job.progress().errors
    assert any("b-broken" in each for each in errors), errors
    assert any("a-deleted is not there any more" in each for each in errors), errors
    rows = site.units_of(job, unkept)
    assert {row.state for row in rows} == {"dead"}
    assert len(rows) == BLOCKS
    assert all("cannot write" in row.error for row in rows)
    assert service.end() == 0
    site.check_nobody_is_there()


def copied(run: Run, path: Path) -> Run:
    """Return a run that the test may spoil."""
    path.parent.mkdir(exist_ok=True)
    shutil.copytree(run.location, path)
    return open_run(path)
