"""The measurements of operations work; how fast they are is not asked here."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def printed(module: str, arguments: list[str], patch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Return what a benchmark prints, run in this process."""
    patch.syspath_prepend(str(ROOT))
    patch.setenv("OPENBLAS_NUM_THREADS", "1")
    patch.setattr(sys, "argv", [module, *arguments])
    runpy.run_module(module, run_name="__main__")
    figures: Any = json.loads(capsys.readouterr().out)
    return figures


def test_the_dry_run_of_the_gpu_measures_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """With NumPy in the GPU's place: every operation, transfers, and from Zarr to the result."""
    size = ["--numpy", "--json", "--frames=8", "--side=64", "--repeats=1"]
    figures = printed("benchmarks.gpu_ops", size, monkeypatch, capsys)
    assert figures["device"] == "NumPy (a dry run)"
    assert figures["copy_GB_per_s"] > 0
    rows = {row["operation"]: row for row in figures["operations"]}
    assert len(rows) == 15
    assert all(row["gpu_ms_per_frame"] > 0 and row["of_copy"] > 0 for row in rows.values())
    assert rows["power_spectrum"]["of_fft"] > 0
    assert rows["richardson_lucy (5 steps)"]["of_fft"] > 0
    assert rows["bandpass"]["of_fft"] is None
    assert rows["correct_camera (to uint16)"]["times_stepwise"] > 0
    assert rows["correct_camera"]["kernel_of_copy"] > 0
    assert figures["transfers"]["work_ms_per_block"] > 0
    assert {"hidden", "could_be_hidden"} <= set(figures["transfers"])
    assert figures["from_disk"]["gpu_MB_per_s"] > 0


@pytest.mark.gpu
def test_a_gpu_measures_the_same(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The same rows as in the dry run, on the device."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    size = ["--json", "--frames=8", "--side=64", "--repeats=2"]
    figures = printed("benchmarks.gpu_ops", size, monkeypatch, capsys)
    assert len(figures["operations"]) == 15


def test_operations_are_compared_with_naive_dask(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In one run, with ratios, and with how many tasks each has."""
    figures = printed("benchmarks.ops", ["--quick", "--json", "--only=chains"], monkeypatch, capsys)
    assert len(figures["chains"]) == 2
    for row in figures["chains"]:
        assert row["naive"] > 0
        assert row["tasks"] > 0
        assert row["naive_tasks"] > 0


def test_a_worker_is_measured_while_it_does_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """By how many megabytes it grows, beside what is said."""
    arguments = ["--quick", "--json", "--case", "median_filter"]
    (row,) = printed("benchmarks.ops_memory", arguments, monkeypatch, capsys)
    assert row["operation"] == "median_filter"
    assert 0 <= row["grown, MB"] < 200
    assert row["said, MB"] > 0


@pytest.mark.long
def test_a_worker_of_two_gigabytes_does_a_longer_run(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In blocks within what is said; by the histories of pixels, which go through its disk."""
    blockwise = ["gaussian_filter", "label", "bin_frames"]
    arguments = ["--json", "--gigabytes=2.5", "--seconds=600", "--case", *blockwise, "welch"]
    rows = printed("benchmarks.ops_memory", arguments, monkeypatch, capsys)
    assert [row["operation"] for row in rows] == [*blockwise, "welch"]
    for row in rows:
        assert row["run, GB"] > 2
        assert row["worker, MB"] < 2000
        assert row["grown, MB"] <= row["said, MB"] or row["operation"] == "welch"
