"""The page that says what lies where agrees with the header, which a compiler is asked about."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from forebay.acquisition.sources.shared_memory import header_path
from forebay.acquisition.sources.shared_memory.messages import GOODBYE, HELLO, LAST_MAGIC

PAGE = (Path(__file__).parents[4] / "docs/reference/shared-memory-ring.md").read_text()
TABLE = re.compile(r"<!-- struct: (\w+), (\d+) bytes -->\n((?:\|.*\n)+)")
ROW = re.compile(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", re.MULTILINE)
ASSERTION = 'static_assert(offsetof(struct {0}, {1}) == {2} && sizeof(({0}.{1})) == {3}, "{1}");'


def test_every_field_is_where_the_page_says(tmp_path: Path) -> None:
    """No byte of a struct is left out, and the compiler puts each field there."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc here")
    lines = ['#include "forebay_ring.h"']
    for name, size, table in TABLE.findall(PAGE):
        rows = ROW.findall(table)
        ends = [int(offset) + int(length) for offset, length, _ in rows]
        assert [int(offset) for offset, _, _ in rows] == [0, *ends[:-1]]
        assert ends[-1] == int(size)
        lines.append(f"static struct {name} {name};")
        lines += [ASSERTION.format(name, field, offset, length) for offset, length, field in rows]
    assert len(lines) == 1 + 3 + 10 + 12 + 5
    (tmp_path / "layout.c").write_text("\n".join(lines))
    command = [compiler, "-std=c11", "-fsyntax-only", "-I", str(header_path().parent)]
    asked = subprocess.run(
        [*command, str(tmp_path / "layout.c")], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr


def test_the_words_are_those_of_the_page() -> None:
    assert f"`{GOODBYE.decode()}`" in PAGE
    assert f"`{LAST_MAGIC.decode()}`" in PAGE
    assert HELLO.size == 64
