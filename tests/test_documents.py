"""Every command and every example in README and docs runs as it stands there."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from tests.slurm import running_slurm, slurm

from forebay import ForebayError

__all__ = ["running_slurm", "slurm"]

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ON_SLURM = {ROOT / "docs" / "how-to" / "compute-on-slurm.md"}
"""Pages whose commands need a Slurm."""
# Where a command is not run, it is one of these: .ci/run runs each of them.
MADE = re.compile(r"make (?P<target>[a-z]+)$")
BLOCK = re.compile(
    r"^```(?P<kind>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#[^)]*)?\)")


MARKS: dict[bool, list[pytest.MarkDecorator]] = {True: [pytest.mark.slurm], False: []}


def blocks(page: Path) -> Iterator[tuple[str, str | None, str]]:
    for found in BLOCK.finditer(page.read_text()):
        yield found["kind"], found["file"], found["text"]


def script_of(page: Path) -> list[str]:
    """Return the page as lines of bash: its commands, its Python and its files, in order."""
    script = []
    for number, (kind, file, text) in enumerate(blocks(page)):
        if file is not None:
            script.append(f"cat > {file} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif kind == "python":
            script.append(f"cat > block{number}.py <<'END_OF_FILE'\n{text}END_OF_FILE")
            script.append(f"python -W error block{number}.py")
        elif kind == "console":
            commands = [line.removeprefix("$ ") for line in text.splitlines() if line[:2] == "$ "]
            script += [command for command in commands if not MADE.match(command)]
    return script


def shown_by(page: Path) -> list[str]:
    """Return the lines that a page shows below its commands."""
    return [
        line
        for kind, _, text in blocks(page)
        if kind == "console"
        for line in text.splitlines()
        if not line.startswith("$ ")
    ]


def printed(line: str, out: Iterator[str]) -> bool:
    """Go on in `out` behind the line that a page shows: … is any text, and alone any lines."""
    like = re.compile(r"\s+".join(map(re.escape, line.split())).replace("…", ".*"))
    return line == "…" or any(like.fullmatch(each.strip()) for each in out)


def test_what_a_page_shows_is_looked_for_in_its_order() -> None:
    out = ["run /tmp/water, closed", "frames   64  ", "took   3 s", "rows  5"]
    for lines, found in (
        (["run …/water, closed", "…", "took …", "rows 5"], True),
        (["frames 64", "run …"], False),
        (["rows 50"], False),
        (["row"], False),
    ):
        left = iter(out)
        assert all(printed(line, left) for line in lines) == found, lines


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=MARKS[page in ON_SLURM])
        for page in PAGES
        if script_of(page)
    ],
)
@pytest.mark.whole
@pytest.mark.timeout(300)
def test_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, warmed: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    # What programs do as they are installed is for the tests of the package and of the
    # demonstration, and what several workers do for those of the cluster.
    paths = [warmed, Path(sys.executable).parent, os.environ["PATH"]]
    settings = {"FOREBAY_CLUSTERS__LOCAL__WORKERS": "1"}
    if page in ON_SLURM:
        request.getfixturevalue("slurm")
        # Nothing of it is to be reached from outside.
        settings |= {"FOREBAY_CLUSTERS__SLURM__INTERFACE": "lo"}
    environment = {**os.environ, **settings, "PATH": ":".join(map(str, paths))}
    ended = subprocess.run(
        ["bash", "-x", "-euo", "pipefail", "-c", "\n".join(script_of(page))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    out = iter(ended.stdout.splitlines())
    for line in shown_by(page):
        assert printed(line, out), f"{page} shows {line!r}, and not this:\n{ended.stdout}"
    for drawn in tmp_path.glob("*.png"):
        if (shown := page.parent / drawn.name).is_file():
            with Image.open(drawn) as new, Image.open(shown) as old:
                assert new.size == old.size, f"{shown} is not what its page draws"


def test_the_reference_names_every_command() -> None:
    rows = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8").splitlines()
    named = [row.split(" | ")[0] for row in rows if row.startswith("| `forebay ")]
    for group, name in _commands():
        place = " ".join(each for each in ("forebay", group) if each)
        assert any(place in each and re.search(rf"\b{name}\b", each) for each in named), (
            group,
            name,
        )


def _commands() -> Iterator[tuple[str, str]]:
    """Give each command with its group, which is empty for those that have none."""
    from forebay.cli.app import app

    for group in app.registered_groups:
        assert group.typer_instance is not None
        for each in group.typer_instance.registered_commands:
            assert each.callback is not None
            yield str(group.name), each.name or each.callback.__name__.replace("_", "-")
    for each in app.registered_commands:
        assert each.callback is not None
        yield "", each.name or each.callback.__name__.replace("_", "-")


TOLD_AMONG_THE_SETTINGS = {"ClusterSpecification", "ReductionSettings", "Step"}


@pytest.mark.parametrize(
    "module",
    [
        "forebay",
        "forebay.ops",
        "forebay.acquisition.sources",
        "forebay.acquisition.reduction",
        "forebay.cluster",
        "forebay.tiering",
    ],
)
def test_the_reference_has_every_public_name(module: str) -> None:
    """By a directive of its own; errors by that of their module."""
    pages = "".join(page.read_text() for page in sorted((ROOT / "docs/reference").glob("*.md")))
    named = set(re.findall(r"^\.\. auto\w+:: (?:[\w.]+\.)?(\w+)$", pages, re.MULTILINE))
    for name in importlib.import_module(module).__all__:
        public = getattr(importlib.import_module(module), name)
        if isinstance(public, ModuleType | str) or name in TOLD_AMONG_THE_SETTINGS:
            continue
        if isinstance(public, type) and issubclass(public, ForebayError):
            told = f".. automodule:: {public.__module__}\n   :members:\n" in pages
        else:
            told = False
        assert told or name in named, name


def test_the_targets_that_pages_name_are_made_by_the_continuous_integration() -> None:
    named = {
        found["target"]
        for page in PAGES
        for kind, _, text in blocks(page)
        if kind == "console"
        for line in text.splitlines()
        if (found := MADE.match(line.removeprefix("$ ")))
    }
    assert {"demo", "test"} <= named
    steps = (ROOT / ".ci" / "run").read_text() + "make lint make types make imports make check"
    for target in named:
        assert f"make {target}" in steps, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for found in LINK.finditer(page.read_text()):
        target = found["target"]
        if target and "://" not in target:
            assert (page.parent / target).exists(), target


EXAMPLES = [
    each
    for each in sorted((ROOT / "examples").glob("*.py"))
    # Others have a test of their own.
    if not (ROOT / "tests" / f"test_{each.stem}_example.py").is_file()
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, tmp_path: Path, warmed: Path) -> None:
    ended = subprocess.run(
        [str(warmed / "python"), "-W", "error", str(example), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
