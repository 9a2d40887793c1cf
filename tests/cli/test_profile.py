"""Profiling a unit on the command line."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from tests.cli.conftest import Forebay

from forebay import ExitCode, acquire, open_run, open_source, process
from forebay.engine import REGISTRY
from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import UNITS

ALGORITHM = """
import forebay


@forebay.algorithm("lengthy", version="1.0.0")
def lengthy(frames, *, broken: bool = False):
    '''Takes its time.'''
    if broken:
        raise ValueError("out of focus")
    return takes_long(frames).mean(("y", "x"))


def takes_long(frames):
    for _ in range(20):
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
    # How long they took says more of the machine: the second one is the slowest from now on.
    with Database(folder / "results" / "ledger.sqlite") as database, database.write() as connection:
        for start, took in ((0, 1.0), (2, 2.0)):
            chosen = sa.update(UNITS).where(UNITS.c.start == start)
            connection.execute(chosen.values(seconds=took))
    return folder


@pytest.fixture
def processed(forebay: Forebay, tmp_path: Path, recorded: Path) -> None:
    """Settings that know them."""
    (tmp_path / "forebay.toml").write_text(
        f"runs = {str(recorded)!r}\nengine.algorithm_modules = [{str(recorded / 'lengthy.py')!r}]\n"
    )


RAW = """\
<module> (profiled.py:1);import_module (importlib/__init__.py:1) 70
<module> (profiled.py:1);profiled_unit (profiled.py:30);takes_long (lengthy.py:13) 6
<module> (profiled.py:1);profiled_unit (profiled.py:30);mean (xarray/core.py:7) 2
"""


def program(folder: Path, name: str, raw: str, told: dict[str, object]) -> None:
    """Make a profiler that has seen what is given; the guide's page is run with a real one."""
    path = folder / name
    path.write_text(
        f"""#!{sys.executable} -IS
import pathlib, sys
words = sys.argv[1:]
target = pathlib.Path(words[words.index("--output") + 1])
script, figures = words[-2:]
compile(pathlib.Path(script).read_text(), script, "exec")
pathlib.Path(str(target) + {".nsys-rep" if name == "nsys" else ""!r}).write_text({raw!r})
pathlib.Path(figures).write_text({json.dumps(told)!r})
"""
    )
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the only profilers there are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_unit_is_profiled(
    forebay: Forebay, processed: None, programs: Path, tmp_path: Path
) -> None:
    """The slowest unit of a job, and where its time goes, without what only loads it."""
    program(programs, "py-spy", RAW, FIGURES)
    before = forebay("jobs", "show", "1", "--json").json
    told = forebay("profile", "--job", "1", "--json")
    assert told.code == 0, told.err
    (found,) = told.json
    assert (found["times"], found["seconds"], found["profiler"]) == (3, 0.25, "py-spy")
    assert found["functions"][0] == {
        "function": "takes_long (lengthy.py:13)",
        "itself": 0.75,
        "altogether": 0.75,
    }
    drawn = ElementTree.parse(tmp_path / found["output"])
    titles = [each.text or "" for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "profiled_unit (profiled.py:30): 8 samples, 100.0%" in titles
    assert not any("import_module" in title for title in titles)
    assert "frames 2 to 3 of cell" in (tmp_path / found["output"]).read_text()
    assert forebay("jobs", "show", "1", "--json").json == before
    by_name = forebay("profile", found["unit"][:8], "--output", "again.svg")
    assert by_name.code == 0, by_name.err
    assert "75.0%" in by_name.out
    assert (tmp_path / "again.svg").read_text() == (tmp_path / found["output"]).read_text()


FIGURES: dict[str, object] = {"process": 2**30, "times": 3, "seconds": 0.25, "during": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("raw", "told", "code", "message"),
    [
        (
            "",
            {"process": 2**30, "error": "ValueError: out of focus"},
            ExitCode.INCOMPLETE,
            "fails, so that there is nothing to profile: ValueError: out of focus",
        ),
        (RAW.splitlines()[0], FIGURES, ExitCode.INPUT, "py-spy has seen nothing of the unit"),
        ("f", FIGURES, ExitCode.INPUT, "the profiler has written 'f', which is no stack"),
    ],
)
def test_what_shows_nothing_is_told(
    forebay: Forebay,
    processed: None,
    programs: Path,
    tmp_path: Path,
    raw: str,
    told: dict[str, object],
    code: ExitCode,
    message: str,
) -> None:
    program(programs, "py-spy", raw, told)
    refused = forebay("profile", "--job", "1", "--by", "py-spy")
    assert refused.code == code
    assert message in refused.error
    assert not list(tmp_path.glob("*.svg"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), ExitCode.USAGE, "name a unit, or a job by --job: one of them"),
        (("abcdef", "--job", "1"), ExitCode.USAGE, "one of them"),
        (("abc",), ExitCode.INPUT, "'abc' does not name a unit: give at least 6 characters"),
        (("ffffffff0000",), ExitCode.INPUT, "no unit begins with 'ffffffff0000'"),
        (("--job", "7"), ExitCode.INPUT, "there is no job 7"),
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
    forebay: Forebay, processed: None, programs: Path
) -> None:
    refused = forebay("profile", "--job", "1", "--by", "nsys")
    assert refused.code == ExitCode.INPUT
    assert "nsys is not there: install nsys (Nsight Systems" in refused.error


def test_a_report_of_another_program_is_put_where_it_is_wanted(
    forebay: Forebay, processed: None, programs: Path, tmp_path: Path
) -> None:
    program(programs, "nsys", "report", FIGURES)
    told = forebay("profile", "--job", "1", "--by", "nsys", "--output", "deep/unit.nsys-rep")
    assert told.code == 0, told.err
    assert "computed 3 times; deep/unit.nsys-rep shows where that went, by nsys" in told.out
    assert (tmp_path / "deep" / "unit.nsys-rep").read_text() == "report"
