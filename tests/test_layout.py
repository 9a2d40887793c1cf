"""The folders at the top are the subpackages, and importing forebay costs next to nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import forebay

ROOT = Path(__file__).parents[1]
FOLDERS = ("acquisition", "cluster", "engine", "ops", "tiering")


@pytest.mark.parametrize("name", FOLDERS)
def test_each_folder_is_a_subpackage_by_a_relative_link(name: str) -> None:
    link = ROOT / "src" / "forebay" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", name)
    assert link.resolve() == ROOT / name
    assert (ROOT / name / "__init__.py").is_file()


def test_there_are_no_other_folders_at_the_top() -> None:
    """What a command leaves behind where it was called does not belong there."""
    tracked = subprocess.run(
        ["git", "ls-files", "[!.]*"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a checkout")
    tops = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
    assert tops - set(FOLDERS) <= {"src", "tests", "benchmarks", "examples", "docs"}


def test_importing_forebay_loads_nothing_but_itself() -> None:
    """The cost of an import is what it loads, so this is what keeps it far below 0.3 s."""
    script = "import sys, forebay; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "dask", "xarray", "zarr", "pandas", "pydantic", "typer"} & set(loaded)


def test_the_version_needs_no_array_library() -> None:
    script = (
        "import sys\nfrom forebay.cli import main\nsys.argv = ['forebay', '--version']\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.startswith(f"forebay {forebay.__version__}\n")
    assert not {"numpy", "dask", "xarray", "zarr", "pandas"} & set(loaded.split())


@pytest.mark.parametrize("name", [name for name in forebay.__all__ if name != "__version__"])
def test_everything_public_is_there_and_documented(name: str) -> None:
    assert getattr(forebay, name).__doc__
    assert name in dir(forebay)


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="opn_run"):
        getattr(forebay, "opn_run")  # noqa: B009 (a type checker would refuse it)
