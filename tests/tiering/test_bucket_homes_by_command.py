"""Runs that were recorded into a bucket, moved, recalled and computed by commands alone."""

import json
import time
from pathlib import Path

import pytest
from tests.tiering.site import GEOMETRY, pixels
from tests.tiering.test_archive import restores_take
from tests.tiering.test_recalled_jobs import SUMS, service
from typer.testing import CliRunner

from forebay.acquisition import Frame, RunWriter
from forebay.cli.app import app
from forebay.config import load_settings
from forebay.engine import REGISTRY, SubmittedJob
from forebay.engine.queue.database import Database
from forebay.engine.queue.states import UnitState
from forebay.tiering import open_bucket
from forebay.tiering.moving.mover import Mover
from forebay.tiering.storage.tiers import Tiers

pytestmark = pytest.mark.s3

CONFIGURATION = """
runs = "runs"
engine.algorithm_modules = ["sums.py"]
[tiers.hot]
url = "runs"
[tiers.lake]
url = "BUCKET/lake"
[tiers.deep]
url = "BUCKET/deep"
CLASS
[tiering]
grace_seconds = 0
"""
ARCHIVE = 'storage_class = "GLACIER"\nrecall_cost_per_1000 = 50.0'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a program in it that knows an algorithm."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "sums.py").write_text(SUMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(REGISTRY, "_algorithms", dict(REGISTRY._algorithms))
    return tmp_path


def recorded(bucket: str, *, storage_class: str = "") -> str:
    """Configure the tiers, and record a run into the bucket; return its URL."""
    text = CONFIGURATION.replace("BUCKET", bucket).replace("CLASS", storage_class)
    Path("forebay.toml").write_text(text)
    url = f"{bucket}/lake/water"
    record(RunWriter.create_in(open_bucket(url), "water", GEOMETRY, frames_per_block=2))
    return url


def record(writer: RunWriter) -> None:
    """Record five frames, and close the run."""
    for counter in range(5):
        writer.append(Frame(counter, counter * 10**9, pixels(counter)))
    writer.close()


def told(*words: str, code: int = 0) -> str:
    """Return what a command says, which must end with a code."""
    ended = CliRunner().invoke(app, [*words])
    assert ended.exit_code == code, ended.output
    assert "Traceback" not in ended.output
    return ended.output


def lies_in(url: str) -> list[str]:
    """Return the tiers that the status names for a run."""
    lines = map(json.loads, told("tier", "status", url, "--json").splitlines())
    (tiers,) = [line["tiers"] for line in lines if "tiers" in line]
    return list(tiers)


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_run_is_moved_out_of_its_bucket_and_back_by_its_url(here: Path, bucket: str) -> None:
    """On a server that people keep their data on; the commands are those for runs in folders."""
    url = recorded(bucket)
    assert lies_in(url) == ["lake"]
    for tier in ("hot", "deep", "lake"):
        assert f"water to {tier}: done" in told("tier", "move", url, "--to", tier)
        assert lies_in(url) == [tier]
        assert "all as committed" in told("runs", "verify", url)
    assert "lies in 'lake' already" in told("tier", "move", url, "--to", "lake", code=4)
    assert "says what lies in the tiers" in told("tier", "scan")


def test_a_job_over_a_run_in_a_bucket_waits_for_its_recall_and_the_run_comes_back(
    here: Path, bucket: str, server: int
) -> None:
    """From its bucket into an archive in another one, as is told by the signpost in the bucket."""
    url = recorded(bucket, storage_class=ARCHIVE)
    told("tier", "move", url, "--to", "deep")
    restores_take(server, looks=4)
    assert "are to be recalled from 'deep', which costs about" in told(
        "jobs", "submit", "sums", url, code=3
    )
    agreed = CliRunner().invoke(app, ["jobs", "submit", "sums", url, "--recall", "--json"])
    assert agreed.exit_code == 0, agreed.output
    job = SubmittedJob(
        here / "runs" / "results" / "ledger.sqlite", json.loads(agreed.stdout)["job"]
    )
    with service(job):
        job.wait(timeout=60)
    assert job.progress().units == {UnitState.DONE: 3}
    restores_take(server, looks=0)
    told("tier", "recall", url, "--yes", "--wait")
    # The log is a part of the copy that is made, and lies in the archive as well.
    told("tier", "move", url, "--to", "lake", "--yes")
    settings = load_settings(here / "forebay.toml").settings
    tomorrow = time.time_ns() + 24 * 3600 * 10**9
    with Database(job.ledger, now=lambda: tomorrow) as database:
        for _ in range(2):
            Mover(database, Tiers(settings.tiers), settings.tiering).work()
    assert lies_in(url) == ["lake"]
    assert "all as committed" in told("runs", "verify", url)


def test_a_run_whose_blocks_were_recalled_comes_home_without_a_further_agreement(
    here: Path, bucket: str, server: int
) -> None:
    """Its log, which never left its folder, is neither recalled nor paid for."""
    recorded(bucket, storage_class=ARCHIVE)
    record(RunWriter.create(here / "runs" / "ice", GEOMETRY, frames_per_block=2))
    told("tier", "move", "ice", "--to", "deep")
    restores_take(server, looks=0)
    assert "give --yes if that is agreed to" in told("tier", "move", "ice", "--to", "hot", code=2)
    told("tier", "recall", "ice", "--yes", "--wait")
    assert "ice to hot: done" in told("tier", "move", "ice", "--to", "hot")
    assert "all as committed" in told("runs", "verify", "ice")
