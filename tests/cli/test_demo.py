"""The demonstration, from end to end, shortened."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.cli.conftest import EXAMPLES

pytestmark = pytest.mark.whole

from forebay import ExitCode, open_result, open_run

REAL = (sys.executable, "-m", "forebay")


def start(
    folder: Path, *words: str, forebay: Sequence[str] = REAL, **settings: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*forebay, "demo", str(EXAMPLES), *words],
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_it_records_processes_and_draws_and_its_sums_agree(tmp_path: Path, warmed: Path) -> None:
    process = start(tmp_path, "--frames", "32", "--json", forebay=[str(warmed / "forebay")])
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert summary["frames_counted"] == 32
    assert summary["frames_recorded"] + summary["frames_dropped"] == 32
    assert summary["frames_processed"] == summary["frames_recorded"]
    assert 0 < summary["latency_median_seconds"] <= summary["latency_p99_seconds"]
    run = open_run(tmp_path / summary["run"])
    assert run.verify().ok
    table = open_result(tmp_path / summary["particles"]).table().query("mass > 300")
    reference = pd.read_csv(EXAMPLES.parent / "bulk_water_trackpy.csv")
    expected = reference.groupby("file").size().iloc[:32].mean()
    assert table.groupby("t").size().mean() == pytest.approx(expected, rel=0.02)
    with Image.open(tmp_path / summary["picture"]) as picture:
        assert min(picture.size) > 500
        extrema = picture.convert("L").getextrema()
    assert extrema[0] != extrema[1], "the picture shows something"


@pytest.mark.parametrize(("step", "frames"), [("starting", 2000), ("is closed", 24)])
def test_it_can_be_stopped_at_any_time_and_leaves_a_closed_run_and_no_process(
    tmp_path: Path, step: str, frames: int
) -> None:
    process = start(tmp_path, "--frames", str(frames), FOREBAY_CLUSTERS__LOCAL__WORKERS="1")
    runs = tmp_path / "demo" / "runs"
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
    for path in runs.glob("*") if runs.is_dir() else ():
        assert open_run(path).closed
    mine = str(tmp_path)
    left = subprocess.run(["pgrep", "-f", mine], capture_output=True, text=True, check=False).stdout
    assert left == ""
