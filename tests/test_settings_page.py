"""The page of all settings tells what there is."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docs" / "reference" / "settings.py"


def test_the_page_is_what_the_code_says() -> None:
    """If not: ``python docs/reference/settings.py``."""
    made = runpy.run_path(str(SCRIPT))["page"]()
    assert SCRIPT.with_suffix(".md").read_text(encoding="utf-8") == made
    for told in ("| `compression` | `none`, `blosc-lz4`", "`[[tiering.policies]]`", "## `engine`"):
        assert told in made
