"""Profilers are found and run, and what they have seen is read and drawn."""

import stat
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.cluster.node.errors import ProfilerError
from forebay.cluster.node.profiling.flame_graph import flame_graph
from forebay.cluster.node.profiling.profiler import PROFILERS, found, record
from forebay.cluster.node.profiling.stacks import below, folded, from_perf, hottest

PERF = """\
python  4711 12345.678901:    5000000 cpu-clock:pppH: 
\t    7ffff7a1e0d0 __memmove_avx_unaligned_erms+0x80 (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t    7fffe8c31a2e DOUBLE_add+0x1e (/venv/lib/python3.12/site-packages/numpy/_core/_multiarray.so)
\t    7fffe8c31a2f merge_at_<npy::tag, (int)4>+0x1e (/venv/lib/_multiarray.so (deleted))
\t    7ffff7fc1e2f py::subtract:/work/ops/background.py+0xb (/tmp/perf-4711.map)
\t          5d1c3b _PyEval_EvalFrameDefault+0x4d2b (/usr/bin/python3.12)
\t    7ffff7fc0a0b py::profiled_unit:/tmp/forebay/profiled.py+0xb (/tmp/perf-4711.map)
\t    7ffff7fc0a0c py::<module>:/tmp/forebay/profiled.py+0xb (/tmp/perf-4711.map)

python  4711 12345.688901:    5000000 cpu-clock:pppH: 
\t    7ffff7fc0a0d py::find_spec:<frozen importlib._bootstrap_external>+0xb (/tmp/perf-4711.map)
\t    7ffff7fc0a0c py::<module>:/tmp/forebay/profiled.py+0xb (/tmp/perf-4711.map)

"""


def test_what_perf_prints_is_read() -> None:
    """The interpreter's own functions are left out, and what was not the unit."""
    seen = from_perf(PERF)
    assert seen == from_perf(PERF, (12345.6, 12345.7))
    assert sum(from_perf(PERF, (12345.68, 12346)).values()) == 1
    assert below(seen, "profiled_unit", script="profiled.py", rest="others") == {
        (
            "profiled_unit (profiled.py)",
            "subtract (background.py)",
            "merge_at_<npy::tag, (int)4> (_multiarray.so)",
            "DOUBLE_add (_multiarray.so)",
            "__memmove_avx_unaligned_erms (libc.so.6)",
        ): 1
    }


def test_other_threads_are_told_apart() -> None:
    """What loads the program is not the unit's time; what reads beside it is."""
    seen = folded(
        "<module> (profiled.py:9);profiled_unit (profiled.py:7);work (a.py:1) 5\n"
        "<module> (profiled.py:3);import (b.py:2) 40\n"
        "_bootstrap (threading.py:1);read (zarr.py:8) 2\n"
        "_bootstrap (threading.py:1);_worker (concurrent/futures/thread.py:69) 90\n"
        "_bootstrap (threading.py:1);EpollSelector.select (selectors.py:451) 90\n"
        " 17\n"
    )
    kept = below(seen, "profiled_unit", script="profiled.py", rest="other threads")
    assert kept == {
        ("profiled_unit (profiled.py:7)", "work (a.py:1)"): 5,
        ("other threads", "_bootstrap (threading.py:1)", "read (zarr.py:8)"): 2,
    }
    assert hottest(kept, 1) == [("work (a.py:1)", 5 / 7, 5 / 7)]


@pytest.mark.parametrize("text", ["no number", "f;g", "f x1", "f ²"])
def test_what_is_no_stack_is_named(text: str) -> None:
    with pytest.raises(ProfilerError, match=r"the profiler has written .*which is no stack"):
        folded(text)


@given(st.text(max_size=200))
def test_any_text_of_perf_is_read(text: str) -> None:
    assert all(count > 0 for count in from_perf(text).values())


@given(
    st.dictionaries(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=5).map(
            tuple
        ),
        st.integers(1, 1000),
        max_size=8,
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30),
)
def test_any_stacks_are_drawn(stacks: dict[tuple[str, ...], int], title: str) -> None:
    """As XML that is whole, whatever functions are called; boxes lie within their callers."""
    clean = {tuple(part.translate(_CONTROLS) for part in stack): n for stack, n in stacks.items()}
    drawn = ElementTree.fromstring(flame_graph(clean, title=title.translate(_CONTROLS)))
    boxes = [each.attrib for each in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert len(boxes) >= bool(stacks)
    by_level: Counter[str] = Counter()
    for box in boxes:
        by_level[box["y"]] += 1
        assert float(box["x"]) + float(box["width"]) <= 1200.5


_CONTROLS = dict.fromkeys([*range(32), 0xFFFE, 0xFFFF], "?")


def _program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_first_that_is_here_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where none is, what to install is said."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ProfilerError, match=r"py-spy is not there: install py-spy \(pip .* or perf"
    ):
        found(None)
    with pytest.raises(ProfilerError, match=r"nsys is not there: install nsys \(Nsight Systems"):
        found("nsys")
    with pytest.raises(ProfilerError, match="no profiler 'gdb'; there are py-spy, perf, nsys"):
        found("gdb")
    _program(tmp_path, "nsys", "exit 0")
    with pytest.raises(ProfilerError, match="py-spy is not there"):
        found(None)
    _program(tmp_path, "perf", "exit 0")
    assert found(None)[0].name == "perf"
    _program(tmp_path, "py-spy", "exit 0")
    assert found(None)[0].name == "py-spy"


def test_a_profiler_that_fails_says_why(tmp_path: Path) -> None:
    """In its own words, with what to do about it."""
    _program(tmp_path, "perf", "echo started; echo 'Access is not permitted' >&2; exit 255")
    (perf,) = [each for each in PROFILERS if each.name == "perf"]
    with pytest.raises(
        ProfilerError, match=r"perf ends with code 255: Access is not permitted; kernel\.perf_event"
    ):
        record(perf, str(tmp_path / "perf"), tmp_path / "s.py", [], tmp_path / "raw")


def test_each_is_given_the_program_and_the_file(tmp_path: Path) -> None:
    """The words of each, as it takes them."""
    for each in PROFILERS:
        raw = tmp_path / f"{each.name}{'' if each.read else each.ending}"
        _program(tmp_path, each.name, f'echo "$@" > {tmp_path}/words\ntouch {raw}')
        record(each, str(tmp_path / each.name), Path("s.py"), ["figures"], raw)
        words = (tmp_path / "words").read_text().split()
        assert words[-2:] == ["s.py", "figures"]
        assert str(raw).removesuffix(".nsys-rep") in words
        assert (words[-4:-2] == ["-X", "perf"]) == (each.name == "perf")
