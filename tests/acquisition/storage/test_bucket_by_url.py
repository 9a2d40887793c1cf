"""A run in a bucket from the command line, by its URL alone."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acquisition.storage.server import BUCKET

from forebay.errors import ExitCode

pytestmark = pytest.mark.s3

SECONDS = 60.0
"""Within which a recording comes to something."""


@dataclass
class Forebay:
    """The command line, with the server named as S3's own tools name it."""

    program: str
    environment: dict[str, str]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a command that does not end by itself."""
        process = subprocess.Popen(
            [self.program, *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def wait_for_frames(self, url: str, frames: int) -> None:
        """Wait until a run has so many frames."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            shown = self("runs", "show", url, "--json")
            if shown.returncode == 0 and json.loads(shown.stdout)["frames"] >= frames:
                return
        pytest.fail(f"{url} does not come to {frames} frames: {shown.stderr}")


@pytest.fixture
def forebay(server: int, warmed: Path) -> Forebay:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server}",
        "AWS_ALLOW_HTTP": "true",
    }
    return Forebay(str(warmed / "forebay"), environment)


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


def test_a_run_whose_writer_was_killed_is_gone_on_with_and_one_is_closed(forebay: Forebay) -> None:
    """Nothing but the log tells whether the writer is gone, so that is looked at first."""
    url = f"s3://{BUCKET}/by-url/killed"
    source = ["simulated:shape=32x32,emitters=2", url]
    endless = ["acquire", *source, "--rate", "50", "--frames-per-block", "4"]
    with forebay.running(*endless) as recording:
        forebay.wait_for_frames(url, 8)
        refused = forebay("acquire", *source, "--resume", "--frames", "4")
        assert refused.returncode == ExitCode.CONFLICT, refused.stderr
        assert "its log has just grown; stop that writer first" in refused.stderr
        assert recording.poll() is None
        recording.kill()
        recording.wait()
    shown = forebay("runs", "show", url)
    assert "state             open\n" in shown.stdout
    again = forebay("acquire", *source, "--resume", "--rate", "50", "--frames", "4")
    assert again.returncode == 0, again.stderr
    assert forebay("runs", "verify", url).returncode == 0
    described = json.loads(forebay("runs", "show", url, "--json").stdout)
    assert described["state"] == "closed"
    committed, dropped, counted = map(int, re.findall(r"\d+", described["accounts"]))
    assert committed >= 12
    assert committed + dropped == counted

    left = f"s3://{BUCKET}/by-url/left"
    with forebay.running(
        "acquire", source[0], left, "--rate", "50", "--frames-per-block", "4"
    ) as recording:
        forebay.wait_for_frames(left, 8)
        recording.kill()
        recording.wait()
    closed = forebay("runs", "close", left, "--take-over")
    assert closed.returncode == 0, closed.stderr
    assert re.fullmatch(f"{left} is closed with \\d+ frames\n", closed.stdout)
    assert forebay("runs", "close", left).returncode == ExitCode.CONFLICT


@pytest.mark.parametrize("url", ["s3://bucket", "http://bucket/run", f"s3://{BUCKET}/../x"])
def test_a_url_that_is_no_place_for_a_run_is_refused(forebay: Forebay, url: str) -> None:
    """Before anything is asked for."""
    done = forebay("acquire", "simulated:shape=32x32", url, "--frames", "2")
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "Traceback" not in done.stderr
