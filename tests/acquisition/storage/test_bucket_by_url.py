"""A run in a bucket from the command line, by its URL alone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acquisition.storage.server import BUCKET

from forebay.errors import ExitCode

pytestmark = pytest.mark.s3


type Forebay = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def forebay(server: int, warmed: Path) -> Forebay:
    """Call the command line with the server named as S3's own tools name it."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server}",
        "AWS_ALLOW_HTTP": "true",
    }

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(warmed / "forebay"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return call


def test_a_run_is_recorded_into_a_bucket_verified_and_not_recorded_twice(forebay: Forebay) -> None:
    """What a run in a folder does, it does there."""
    url = f"s3://{BUCKET}/by-url/water"
    source = ["acquire", "simulated:shape=32x32,emitters=2", url]
    done = forebay(*source, "--frames", "20", "--frames-per-block", "8")
    assert done.returncode == 0, done.stderr
    verified = forebay("runs", "verify", url)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "3 blocks" in verified.stdout
    again = forebay(*source, "--frames", "20")
    assert again.returncode == ExitCode.CONFLICT
    assert "exists already" in again.stderr


@pytest.mark.parametrize("url", ["s3://bucket", "http://bucket/run", f"s3://{BUCKET}/../x"])
def test_a_url_that_is_no_place_for_a_run_is_refused(forebay: Forebay, url: str) -> None:
    """Before anything is asked for."""
    done = forebay("acquire", "simulated:shape=32x32", url, "--frames", "2")
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "Traceback" not in done.stderr
