"""A repair where objects are damaged, too: what can be restored stays, and nothing is given up unasked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.run.damaged_logs import (
    COUNTERS,
    KEYS,
    check_sound,
    damage_line,
    flip,
    logs_of,
    pixels,
    tree,
    write,
)

from forebay.acquisition import Frame, RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.run.recovery.repair import repair_run


@pytest.fixture(scope="module")
def whole(memory: Callable[[], Path]) -> Path:
    return write(memory() / "run")


@pytest.fixture(scope="module")
def unclosed(memory: Callable[[], Path]) -> Path:
    return write(memory() / "run", close=False)


@pytest.fixture
def run(whole: Path, memory: Callable[[], Path]) -> Path:
    """A closed run, to do harm to."""
    return Path(shutil.copytree(whole, memory() / "run"))


@pytest.fixture
def open_one(unclosed: Path, memory: Callable[[], Path]) -> Path:
    """A run whose second writer died with a frame in hand."""
    return Path(shutil.copytree(unclosed, memory() / "run"))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_block_whose_line_is_readable_stays(
    run: Path, tmp_path: Path, key: str, how: str
) -> None:
    """It is reported; once the object is restored from a copy, nothing is wrong."""
    damage_line(run, 3)
    path = run / key.format(1)
    copy = shutil.copy(path, tmp_path / "copy")
    if how == "changed":
        flip(path)
    else:
        path.unlink()
    report = repair_run(run)
    (what,) = report.damaged
    assert key.format(1) in what
    assert (report.rebuilt, report.kept, report.set_aside) == ((0,), 3, ())
    verification = verify_run(open_run(run))
    assert [problem.block for problem in verification.problems] == [1]
    np.testing.assert_array_equal(open_run(run).frames[4].to_numpy(), pixels(COUNTERS[4]))
    shutil.copy(copy, path)
    check_sound(run, counters=COUNTERS)


def test_sound_objects_that_are_not_those_of_the_line_are_damage(run: Path) -> None:
    """However right their own checksums are."""
    damage_line(run, 3)
    for key in KEYS:
        shutil.copy(run / key.format(0), run / key.format(1))
    (what,) = repair_run(run).damaged
    assert "is not the one that was committed" in what


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_block_without_line_and_sound_objects_is_not_given_up_unasked(
    run: Path, number: int
) -> None:
    """The run is refused, the block named, and nothing changed."""
    damage_line(run, [3, 4, 6, 7][number])
    flip(run / f"frames/c.{number}.0.0")
    before = tree(run)
    with pytest.raises(RunDamagedError, match=rf"block {number}: .*frames/c.{number}.0.0.*aside"):
        repair_run(run)
    assert tree(run) == before


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("line", ["line lost", "line kept"])
def test_set_aside_the_others_move_up(run: Path, number: int, line: str) -> None:
    """All other frames are kept, and the lost ones written down; the objects are kept, too."""
    original = open_run(run)
    damage_line(run, [3, 4, 6, 7][number] if line == "line lost" else 2)
    flip(run / f"frames/c.{number}.0.0")
    damaged = (run / f"frames/c.{number}.0.0").read_bytes()
    report = repair_run(run, set_aside=True)
    left = [each for place, each in enumerate(COUNTERS) if place // 2 != number]
    repaired = check_sound(run, counters=left)
    assert report.frames == 7
    assert repaired.closed
    (what,) = report.set_aside
    assert f"frames/c.{number}.0.0" in what
    quarantine = run / "_forebay/quarantine/00000003"
    assert (quarantine / f"frames.c.{number}.0.0").read_bytes() == damaged
    assert len(list(quarantine.iterdir())) == 5
    assert all(not (run / key.format(4)).exists() for key in KEYS)
    reasons = {each.reason for each in repaired.dropped}
    if line == "line kept":
        assert {each.reason for each in original.dropped} < reasons
        assert any(f"it was in block {number}, which was damaged" in each for each in reasons)


def test_committed_frames_at_the_end_are_not_given_up_unasked(open_one: Path) -> None:
    """The arrays showed them: they were committed, though the log knows nothing of them."""
    path = open_one
    log = logs_of(path)[1]
    log.write_bytes(b"".join(log.read_bytes().splitlines(True)[:-1]))
    flip(path / "frames/c.3.0.0")
    with pytest.raises(RunDamagedError, match="block 3"):
        repair_run(path)
    report = repair_run(path, set_aside=True)
    assert report.frames == 6
    check_sound(path, counters=COUNTERS[:6], last=9)


def test_what_was_never_committed_is_out_of_the_way(open_one: Path) -> None:
    """Objects of a writer that died are in the quarantine, and the next writer can go on."""
    path = open_one
    damage_line(path, 3)
    (path / "timestamp/c.4").write_bytes(b"torn")
    assert repair_run(path).set_aside == ()
    assert (path / "_forebay/quarantine/00000003/timestamp.c.4").read_bytes() == b"torn"
    with RunWriter.resume(path) as writer:
        writer.append(Frame(22, 220, pixels(22)))
    check_sound(path, counters=COUNTERS, last=22)


def test_a_stored_block_that_was_not_committed_is_taken_in(open_one: Path) -> None:
    path = open_one
    for log in logs_of(path)[1:]:
        log.write_bytes(b"".join(log.read_bytes().splitlines(True)[:1]))
    damage_line(path, 3)
    assert repair_run(path).rebuilt == (0, 2, 3)
    check_sound(path, counters=COUNTERS[:8], last=21)
