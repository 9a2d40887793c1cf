"""The header compiles as C and as C++ without a warning, and the example records what it takes."""

import contextlib
import runpy
import threading
from pathlib import Path

import pytest
from tests.acquisition.sources.shared_memory.conftest import Deliver, Open, Run
from tests.acquisition.sources.shared_memory.programs import (
    PATIENT,
    compile_example,
    ramp,
    ring_for,
)

from forebay.acquisition.errors import SourceError
from forebay.acquisition.ring.ring import Arrived, FrameRing
from forebay.acquisition.sources.shared_memory import SharedMemorySource, header_path
from forebay.acquisition.sources.testing import check_source


def counters_of(ring: FrameRing, *, pause: float = 0.0) -> list[int]:
    """Take all frames, slowly, and look at the pixels of each before its slot is given back."""
    counters = []
    while (item := ring.take(timeout=PATIENT)) is not None:
        assert isinstance(item, Arrived)
        assert (ring[item.slot].pixels == ramp(item.counter)).all()
        counters.append(item.counter)
        if pause and item.counter % 16 == 0:
            threading.Event().wait(pause)
        ring.free([item.slot])
    return counters


def test_two_thousand_frames_reach_a_slower_consumer(
    listen: Open, deliver: Deliver, run: Run
) -> None:
    """A program that waits for room loses none of them."""
    program = run(frames=2000)
    source = listen().wait(timeout=PATIENT)
    assert source.can_wait
    ring = ring_for(source.geometry, slots=20)
    delivered = deliver(source, ring)
    assert counters_of(ring, pause=0.002) == list(range(2000))
    delivered.result(PATIENT)
    assert program.communicate()[0].startswith("2000 frames, 0 without room")
    assert ring.depth == 0


def test_a_program_that_does_not_wait_counts_what_it_skips(
    listen: Open, deliver: Deliver, run: Run
) -> None:
    """So that what came and what is missing are all that the camera counted."""
    program = run(frames=600, rate=4000)
    source = listen().wait(timeout=PATIENT)
    assert not source.can_wait
    assert source.metadata.frame_rate == 4000
    ring = ring_for(source.geometry, slots=8)
    deliver(source, ring)
    counters = counters_of(ring, pause=0.05)
    assert counters == sorted(set(counters))
    skipped = int(program.communicate()[0].split()[2])
    assert skipped > 0
    assert len(counters) + skipped == 600


def test_a_program_that_is_killed_leaves_whole_frames(
    listen: Open, deliver: Deliver, run: Run
) -> None:
    """All that it published, without a gap, and not a slot is lost."""
    program = run(frames=10**9)
    source = listen().wait(timeout=PATIENT)
    ring = ring_for(source.geometry, slots=20)
    delivered = deliver(source, ring)
    for counter in range(500):
        item = ring.take(timeout=PATIENT)
        assert isinstance(item, Arrived)
        assert item.counter == counter
        ring.free([item.slot])
    program.kill()
    counters = counters_of(ring)
    assert counters == list(range(500, 500 + len(counters)))
    with pytest.raises(SourceError, match=f"process {program.pid}, .* has died"):
        delivered.result(PATIENT)
    assert ring.depth == 0


def test_a_program_hears_that_the_recording_has_ended(
    listen: Open, deliver: Deliver, run: Run
) -> None:
    program = run(frames=10**9)
    source = listen(frames=100).wait(timeout=PATIENT)
    ring = ring_for(source.geometry, slots=20)
    deliver(source, ring)
    assert counters_of(ring) == list(range(100))
    program.communicate(timeout=PATIENT)
    assert program.returncode == 1


def test_the_memory_of_a_program_is_there_before_its_first_frame(
    listen: Open, deliver: Deliver, run: Run
) -> None:
    """All of it: no frame waits for a page."""
    program = run(frames=2, rate=0.01)
    source = listen().wait(timeout=PATIENT)
    ring = ring_for(source.geometry, slots=2000)
    deliver(source, ring)
    assert ring.take(timeout=PATIENT) is not None
    text = Path(f"/proc/{program.pid}/smaps").read_text()
    first = text[text.index("/memfd:forebay (deleted)") :].split("VmFlags")[0].split()
    size, resident = (int(first[first.index(key) + 1]) for key in ("Size:", "Rss:"))
    assert size == resident == ring.memory.mapping.size // 1024


def test_it_keeps_what_a_source_promises(opened: contextlib.ExitStack, run: Run) -> None:
    """Where frames are asked for one by one, from memory of the source's own."""

    def open_anew() -> SharedMemorySource:
        source = opened.enter_context(SharedMemorySource("camera", lent_slots=4))
        run(frames=10**9)
        return source.wait(timeout=PATIENT)

    assert check_source(open_anew) == ()


def test_the_same_header_serves_cpp(
    listen: Open, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    program = compile_example("g++", "-std=c++17", "-x", "c++", to=tmp_path / "camera")
    run(frames=50, program=program)
    source = listen().wait(timeout=PATIENT)
    ring = ring_for(source.geometry, slots=8)
    deliver(source, ring)
    assert counters_of(ring) == list(range(50))


@pytest.mark.parametrize(
    ("compiler", "options"),
    [
        ("gcc", ("-std=c11", "-Wconversion", "-Wshadow", "-O3")),
        ("gcc", ("-std=gnu2x",)),
        ("g++", ("-std=c++20", "-x", "c++")),
        ("clang", ("-std=c11",)),
    ],
)
def test_it_compiles_without_a_warning(
    compiler: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    compile_example(compiler, *options, to=tmp_path / "camera")


def test_the_folder_of_the_header_is_printed_for_a_compiler(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_module("forebay.acquisition.sources.shared_memory", run_name="__main__")
    assert Path(capsys.readouterr().out.strip()) / "forebay_ring.h" == header_path()
    assert header_path().is_file()
