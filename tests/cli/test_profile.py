"""Profiling a unit on the command line."""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.cli.conftest import Forebay

from forebay import ExitCode, acquire, open_run, open_source, process
from forebay.engine import REGISTRY

ALGORITHM = """
import forebay


@forebay.algorithm("lengthy", version="1.0.0")
def lengthy(frames, *, broken: bool = False):
    '''Takes its time with frames from 2 on.'''
    if broken:
        raise ValueError("out of focus")
    return takes_long(frames).mean(("y", "x"))


def takes_long(frames):
    for _ in range(40 if int(frames["t"][0]) else 1):
        frames = (frames.astype("float64") + 1) ** 0.5
    return frames
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames in two units, which are done; and the algorithm."""
    folder = tmp_path_factory.mktemp("profiled")
    (folder / "lengthy.py").write_text(ALGORITHM)
    with open_source("simulated:shape=256x256", frames=4) as source:
        acquire(source, folder / "cell", frames_per_block=2)
    REGISTRY.load([str(folder / "lengthy.py")])
    process(open_run(folder / "cell"), "lengthy")
    return folder


@pytest.fixture
def processed(forebay: Forebay, tmp_path: Path, recorded: Path) -> None:
    """Settings that know them."""
    (tmp_path / "forebay.toml").write_text(
        f"runs = {str(recorded)!r}\nengine.algorithm_modules = [{str(recorded / 'lengthy.py')!r}]\n"
    )


@pytest.mark.skipif(
    shutil.which("py-spy", path=str(Path(sys.executable).parent)) is None,
    reason="py-spy is not installed",
)
def test_a_unit_is_profiled(forebay: Forebay, processed: None, tmp_path: Path) -> None:
    """The slowest unit of a job, and where its time goes; nothing is changed by it."""
    before = forebay("jobs", "show", "1", "--json").json
    told = forebay("profile", "--job", "1", "--seconds", "0.5", "--by", "py-spy", "--json")
    assert told.code == 0, told.err
    (found,) = told.json
    functions = {each["function"].partition(" ")[0]: each for each in found["functions"]}
    assert found["times"] >= 1
    assert "takes_long" in (tmp_path / found["output"]).read_text()
    assert functions, "it says where the time goes"
    drawn = ElementTree.parse(tmp_path / found["output"])
    titles = [each.text or "" for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("profiled_unit (") for title in titles)
    assert not any("import_module" in title for title in titles)
    assert "frames 2 to 3 of cell" in (tmp_path / found["output"]).read_text()
    assert forebay("jobs", "show", "1", "--json").json == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), ExitCode.USAGE, "name a unit, or a job by --job: one of them"),
        (("abcdef", "--job", "1"), ExitCode.USAGE, "one of them"),
        (("abc",), ExitCode.INPUT, "'abc' does not name a unit: give at least 6 characters"),
        (("ffffffff0000",), ExitCode.INPUT, "no unit begins with 'ffffffff0000'"),
        (("--job", "7"), ExitCode.INPUT, "no unit of job 7 is published"),
        (("--job", "1", "--by", "gdb"), ExitCode.INPUT, "there is no profiler 'gdb'"),
    ],
)
def test_mistakes_are_told(
    forebay: Forebay, processed: None, words: tuple[str, ...], code: ExitCode, message: str
) -> None:
    refused = forebay("profile", *words)
    assert refused.code == code
    assert message in refused.error


def test_a_profiler_that_is_not_there_is_named(
    forebay: Forebay, processed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = forebay("profile", "--job", "1", "--by", "nsys")
    assert refused.code == ExitCode.INPUT
    assert "nsys is not there: install nsys (Nsight Systems" in refused.error


def test_a_report_of_another_profiler_is_put_where_it_is_wanted(
    forebay: Forebay, processed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program that takes the words of nsys, which cannot be run without a GPU."""
    figures = json.dumps({"process": 2**30, "times": 3, "seconds": 0.25})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nsys").write_text(
        "#!/bin/sh\n"
        'while [ "$1" != --output ]; do shift; done\n'
        "printf report > $2.nsys-rep\n"
        f"while [ $# -gt 1 ]; do shift; done\nprintf '%s' '{figures}' > $1\n"
    )
    (programs / "nsys").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    told = forebay("profile", "--job", "1", "--by", "nsys", "--output", "deep/unit.nsys-rep")
    assert told.code == 0, told.err
    assert "computed 3 times; deep/unit.nsys-rep shows where that went, by nsys" in told.out
    assert (tmp_path / "deep" / "unit.nsys-rep").read_text() == "report"
    (programs / "nsys").write_text(
        "#!/bin/sh\n"
        'while [ "$1" != --output ]; do shift; done\n'
        "printf report > $2.nsys-rep\n"
        "while [ $# -gt 1 ]; do shift; done\n"
        'printf \'{"process": 1073741824, "error": "ValueError: out of focus"}\' > $1\n'
    )
    failed = forebay("profile", "--job", "1", "--by", "nsys")
    assert failed.code == ExitCode.INCOMPLETE
    assert "fails, so that there is nothing to profile: ValueError: out of focus" in failed.error
