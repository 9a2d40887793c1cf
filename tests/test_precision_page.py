"""The page on precision and speed tells what is so."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| (\S+) \| (\S+) \|$", re.MULTILINE)


@pytest.fixture
def precision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the script that makes the page."""
    place = ROOT / "benchmarks" / "precision.py"
    found = importlib.util.spec_from_file_location("precision_script", place)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "precision_script", module)
    found.loader.exec_module(module)
    return module


def test_the_errors_on_the_page_are_those_that_there_are(precision: ModuleType) -> None:
    """Each setting has its row, and its error is not larger than the page has it."""
    page = precision.PAGE.read_text()
    told = {found[:2]: found[2] for found in ROW.findall(page)}
    frames = precision.water()
    settings = 0
    for trade in precision.TRADES:
        for row in precision.measured(trade, frames, 1):
            settings += 1
            error = told[row.operation, row.setting]
            # Other processors round otherwise.
            assert row.error <= 3 * (0.0 if error == "–" else float(error)) + 1e-12, row
    assert len(told) == settings


def test_nearly_exact_settings_are_nearly_exact(precision: ModuleType) -> None:
    """What works in float32 is within the tolerance that the operations state."""
    told = {found[:2]: found[2] for found in ROW.findall(precision.PAGE.read_text())}
    for operation in ("bandpass", "fourier_bandpass", "wiener"):
        assert float(told[operation, "dtype='float32'"]) <= 1e-5


def test_the_page_ends_with_what_operations_say_of_float32(precision: ModuleType) -> None:
    """As it is in their docstrings today."""
    assert precision.PAGE.read_text().endswith(precision.promises())
    assert "|  |" not in precision.promises(), "an operation does not say how near it is"
    assert "| `gaussian_filter` | within 5e-7 of the largest value of `frames` |" in (
        precision.promises()
    )
