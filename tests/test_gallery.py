"""The gallery: each script draws, and the page shows what it draws."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    script for script in (ROOT / "examples" / "gallery").glob("*.py") if script.stem != "water"
)
SHOWN = ROOT / "docs" / "gallery"


def test_every_script_draws_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """In this process, one after the other; what is drawn has the panels that the page shows."""
    monkeypatch.syspath_prepend(str(SCRIPTS[0].parent))
    assert len(SCRIPTS) == 11
    for script in SCRIPTS:
        with subtests.test(script.stem):
            monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path)])
            runpy.run_path(str(script), run_name="__main__")
            with (
                Image.open(tmp_path / f"{script.stem}.png") as drawn,
                Image.open(SHOWN / f"{script.stem}.png") as shown,
            ):
                assert drawn.size == shown.size
                assert len(set(drawn.convert("L").get_flattened_data())) > 16
    sys.modules.pop("water")


def test_the_page_shows_every_script_with_its_picture() -> None:
    page = (SHOWN / "index.md").read_text()
    for script in SCRIPTS:
        assert f"({script.stem}.png)" in page
        assert f"examples/gallery/{script.name}\n" in page
