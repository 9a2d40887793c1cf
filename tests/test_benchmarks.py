"""The measurements of recording work, and what they record is right; how fast is not asked here."""

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "raw": "numpy",
    "raw_buffered": "numpy",
    "forebay": "forebay",
    "forebay_in_ring": "forebay",
    "acquire_zarr": "acquire_zarr",
    "tensorstore": "tensorstore",
    "zarr_python": "zarr",
    "zarrs": "zarrs",
    "hdf5": "h5py",
}

type Rows = list[dict[str, Any]]


def measure(warmed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(warmed / "python"), "-m", "benchmarks.acquisition", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, warmed: Path) -> dict[str, Rows]:
    """All measurements, of next to nothing."""
    disk = tmp_path_factory.mktemp("disk")
    done = measure(warmed, "--quick", "--json", "--disk", str(disk), "--only", "disk", "all")
    assert done.returncode == 0, done.stderr
    assert list(disk.iterdir()) == [], "what was recorded is still there"
    read: dict[str, Rows] = json.loads(done.stdout)
    return read


def test_every_writer_that_is_installed_is_compared_with_raw_writing(
    figures: dict[str, Rows],
) -> None:
    measured = {(row["peer"], row["compression"]) for row in figures["append"] if row.get("of_raw")}
    installed = {peer for peer, package in PACKAGES.items() if find_spec(package)}
    assert {peer for peer, compression in measured if compression == "none"} == installed
    assert {peer for peer, compression in measured if compression == "lz4"} == installed - {"hdf5"}


def test_each_part_of_recording_is_left_out_in_turn(figures: dict[str, Rows]) -> None:
    rows = {row["way"]: row for row in figures["parts, disk"]}
    ways = {"as it is", "without the digest", "not copied into the ring", "small pages"}
    assert {"raw", "tensorstore", *ways} <= set(rows)
    assert all(row["of_raw"] > 0 for row in rows.values())


def test_a_rate_is_found_and_the_sums_close_under_each_policy(figures: dict[str, Rows]) -> None:
    (highest,) = figures["rate, disk: highest without a drop"]
    assert highest["frames_per_s"] > 0
    above = figures["rate, disk: 1.5 times what a slow disk holds"]
    assert [row["policy"] for row in above] == [
        "block",
        "spill",
        "reduce",
        "drop-oldest",
        "drop-newest",
        "decimate",
    ]
    for row in [highest, *above]:
        assert row["sums_close"]
        assert row["committed"] + row["dropped"] == row["counted"]


def test_latency_is_measured_with_a_busy_process_and_without(figures: dict[str, Rows]) -> None:
    rows = figures["latency, disk"]
    assert [row["busy_processes"] for row in rows] == [0, 1]
    for row in rows:
        assert 0 < row["commit_median_ms"] <= row["commit_p99_ms"] <= row["commit_p999_ms"]
        assert row["sums_close"]


def test_small_and_large_frames_and_several_cameras_are_measured(figures: dict[str, Rows]) -> None:
    assert {row["side"] for row in figures["small and large frames"]} == {256, 512}
    assert all(row["sums_close"] for row in figures["small frames at a rate, disk"])
    assert [row["cameras"] for row in figures["cameras, disk"]] == [1, 2, 4]


def test_a_long_recording_tells_of_memory_descriptors_and_threads(figures: dict[str, Rows]) -> None:
    (outcome,) = figures["soak, disk"]
    assert outcome["sums_close"]
    samples = figures["soak, disk: samples"]
    assert samples
    for sample in samples:
        assert min(sample[name] for name in ("resident_MB", "descriptors", "threads")) > 0


def test_figures_are_printed_as_tables_too(warmed: Path) -> None:
    done = measure(warmed, "--quick", "--only", "memory", "append", "--peers", "raw,hdf5")
    assert done.returncode == 0, done.stderr
    assert "of raw" in done.stdout
    assert "hdf5" in done.stdout


def test_an_unknown_peer_is_named_and_not_measured(warmed: Path) -> None:
    done = measure(
        warmed, "--quick", "--json", "--only", "memory", "append", "--peers", "raw,papyrus"
    )
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout)["append"] if row["peer"] == "papyrus"]
    assert "No module named" in row["durable"]
