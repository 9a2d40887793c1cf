"""Kill a mover at each kind of point that it passes while a recorder appends, and then that one.

Run as a program, since it forks: ``killed_beside_recorder.py FOLDER TARGET [POINT]...``.  It prints the
names of the points.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

# What each child would import anew.
import dask.array
import numpy as np
import obstore
import xarray
from pydantic import ByteSize
from tests.children import in_a_child
from tests.tiering.site import GRACE, SHAPE, Site, pixels, points_of

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.format.layout import QUARANTINE
from forebay.opening import open_run
from forebay.tiering.catalogue.records import RunRecord
from forebay.tiering.moving.open_runs import OpenRuns

IMPORTED = (dask.array, obstore, xarray)
FRAMES_PER_BLOCK = 2
BEFORE, MOST = 6, 40
"""Blocks that are recorded before anything is moved, and in all."""


def site_at(folder: Path) -> Site:
    """Return the laboratory, in which two volumes of two blocks can be moved."""
    return Site(folder, newest_blocks=2, volume_bytes=ByteSize(300))


def subject(site: Site) -> RunRecord:
    """Return the first volume."""
    return OpenRuns(site.catalogue, site.tiers, site.settings).pieces(site.runs / "stream")[0]


def prepare(folder: Path) -> None:
    """Make a laboratory with a run whose recorder was killed."""
    with site_at(folder) as site:
        writer = RunWriter.create(
            site.runs / "stream",
            Geometry(("y", "x"), SHAPE, np.dtype("uint16")),
            frames_per_block=FRAMES_PER_BLOCK,
        )
        record(writer, BEFORE)
        subject(site)
        writer.abandon()


def record(writer: RunWriter, blocks: int) -> None:
    """Record some blocks."""
    first = writer.committed
    for counter in range(first, first + blocks * FRAMES_PER_BLOCK):
        writer.append(Frame(counter, counter * 10**9, pixels(counter)))


def record_until_killed(folder: Path, ready: int) -> None:
    """Go on with the run, and say so when the first block is there."""
    writer = RunWriter.resume(folder / "runs" / "stream")
    record(writer, 1)
    os.write(ready, b".")
    record(writer, MOST - BEFORE - 1)
    signal.pause()


def move_and_die(folder: Path, target: str, point: int) -> None:
    """Move the volume, and be killed at the point of that number."""
    points = itertools.count()

    def reached(_: str) -> None:
        if next(points) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with site_at(folder) as site:
        site.moves.plan(subject(site), tier=target, keep=False, why="a test")
        site.mover(reached).work()
        site.pass_by(GRACE + 1)
        site.mover(reached).work()


def check(folder: Path) -> int:
    """Read all of the run as anybody does; return how many blocks are committed."""
    run = open_run(folder / "runs" / "stream")
    blocks = len(run.blocks)
    expected = np.stack([pixels(counter) for counter in range(blocks * FRAMES_PER_BLOCK)])
    np.testing.assert_array_equal(run.frames.to_numpy(), expected)
    # What a recorder that was killed had not shown yet, or not written to the end, is no damage.
    assert [x for x in run.verify().problems if run.closed or x.block is not None] == []
    assert run.dropped == ()
    return blocks


def check_and_go_on(folder: Path, target: str) -> None:
    """See that all is there, resume the run, end the move, close the run, move the rest."""
    with site_at(folder) as site:
        volume = subject(site)
        before = check(folder)
        assert before > BEFORE
        assert site.lies_in_tiers(volume), "no tier has all of it"
        path = site.runs / "stream"
        writer = RunWriter.resume(path)
        assert writer.committed >= before * FRAMES_PER_BLOCK
        record(writer, 1)
        site.settle()
        assert site.moves.find() == []
        if site.lies_in_tiers(volume) != {target}:
            # Killed before it was asked for.
            site.moves.plan(volume, tier=target, keep=False, why="a test")
            site.settle()
        assert site.lies_in_tiers(volume) == {target}
        record(writer, 1)
        writer.close()
        assert check(folder) >= before + 2
        for piece in OpenRuns(site.catalogue, site.tiers, site.settings).pieces(path):
            if site.lies_in_tiers(piece) != {"cold"}:
                site.moves.plan(piece, tier="cold", keep=False, why="a test")
        site.settle()
        check(folder)
        quarantine = path / QUARANTINE
        assert not quarantine.exists() or not any(quarantine.rglob("*.0"))


def pass_all(folder: Path, target: str, told: Path) -> None:
    """Move it without being killed, and write down every point that is passed."""
    with site_at(folder) as site:
        told.write_text("\n".join(points_of(site, subject(site), target)))


def recorder_beside(folder: Path) -> int:
    """Start a recorder; return its process when it has recorded a block."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            record_until_killed(folder, write)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b".", "the recorder did not begin"
    os.close(read)
    return process


def main() -> None:
    """Kill at the middle one of the points of each name."""
    folder, target = Path(sys.argv[1]), sys.argv[2]
    # The catalogue knows folders by their paths: each mover works in the same one.
    used, kept, told = folder / "used", folder / "kept", folder / "points"
    used.mkdir()
    assert in_a_child(lambda: prepare(used)) == 0
    shutil.copytree(used, kept)
    assert in_a_child(lambda: pass_all(used, target, told)) == 0
    places: dict[str, list[int]] = {}
    for place, name in enumerate(told.read_text().split("\n")):
        places.setdefault(name, []).append(place)
    wanted = sys.argv[3:] or list(places)
    for name, passed in [(name, places[name]) for name in wanted]:
        shutil.rmtree(used)
        shutil.copytree(kept, used)
        recorder = recorder_beside(used)
        point = passed[len(passed) // 2]
        ended = in_a_child(lambda at=point: move_and_die(used, target, at))  # type: ignore[misc]
        os.kill(recorder, signal.SIGKILL)
        os.waitpid(recorder, 0)
        assert ended == -signal.SIGKILL, f"at '{name}' it ended with {ended}"
        assert in_a_child(lambda: check_and_go_on(used, target)) == 0, f"killed at '{name}'"
    sys.stdout.write("\n".join(wanted))


if __name__ == "__main__":
    main()
