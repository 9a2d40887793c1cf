"""What is said of every public function, as far as that can be looked for."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import forebay.ops
from forebay.ops.catalogue import operations

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(forebay.ops, name)
    for name in forebay.ops.__all__
    if inspect.isfunction(getattr(forebay.ops, name))
}
SECTIONS = ("Parameters", "Returns", "Raises", "Notes", "Examples")

GAPS = r"NaN|not finite"
"""The rule for pixels that are not known."""
FORMULA = r"\(\d{4}\)|edition|``[^`]*[=/*·(Σ√][^`]*``|`(scipy|skimage|numpy)\.|`[a-z_]+`"
"""A publication, a formula, another library's function, or one of ours that has them."""
ERROR = r"\de-\d|[Ww]ithin|[Rr]ound|bit for bit|[Ee]xact|off by|[Aa]s of|It is `|nothing is changed"
"""How near a result is to what it should be."""
COUNTED = r"scratch|memory|holds?|Memory|held"
"""What it takes."""


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_docstring_has_all_of_its_sections(name: str) -> None:
    """Parameters with every one of them, what comes out, errors, notes and an example that runs."""
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    missing = [each for each in SECTIONS if not re.search(rf"^{each}\n-+$", text, re.MULTILINE)]
    assert not missing
    assert ">>> " in text
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        assert re.search(rf"^(\*\*)?(\w+, )*{parameter}\b", text, re.MULTILINE), parameter


@pytest.mark.parametrize("name", sorted(operations()))
def test_an_operation_says_its_formula_its_error_and_what_a_nan_does(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    notes = text[text.index("Returns\n") :]
    wanted = {"NaN": GAPS, "formula": FORMULA, "error": ERROR, "scratch": COUNTED, "Dask": "Dask"}
    missing = [
        what
        for what, pattern in wanted.items()
        if not re.search(pattern, text if what == "Dask" else notes)
    ]
    assert not missing
