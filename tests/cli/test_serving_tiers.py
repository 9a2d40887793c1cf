"""``forebay serve`` moves runs beside its work, where that is configured."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.cli.conftest import Start, lines
from tests.cli.test_tier import CONFIGURATION, objects, publish, write


def test_a_service_moves_runs_and_results_until_it_is_told_to_stop(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `tier status` tells how fast, and why."""
    configured = CONFIGURATION.replace("[tiering]", "[tiering]\ninterval_seconds = 0.1")
    configured = configured.replace('runs = "a*"', 'runs = "a*"\ndata = "both"')
    (tmp_path / "forebay.toml").write_text(configured)
    for name in ("runs", "cold"):
        (tmp_path / name).mkdir()
    write(tmp_path / "runs" / "apple")
    _, result = publish(tmp_path)
    monkeypatch.chdir(tmp_path)
    process = start(tmp_path, "serve", "--cluster", "none", "--json")
    assert json.loads(lines(process.stdout).readline())["event"] == "ready"
    seen: list[object] = []
    moved = [{"run": each, "tiers": ["cold"]} for each in ("apple", result)]
    while not all(each in seen for each in moved):
        assert process.poll() is None
        told = objects("tier", "status")
        seen = [{key: each.get(key) for key in ("run", "tiers")} for each in told]
        (pace,) = [each for each in told if "because" in each]
        assert pace == {
            "interval_seconds": 0.1,
            "moves_bytes_per_second": None,
            "because": "nothing is recorded",
        }
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
