"""Planning: a job is cut into units that cover the run exactly once."""

import dataclasses
from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Block, Extent, Run
from forebay.acquisition.format.record import StoredObject
from forebay.engine import Blockwise, Sequential, WholeRun
from forebay.engine.definition import Needs
from forebay.engine.unit import Job, Unit, plan, plannable, unit_at


def run_of(lengths: Sequence[int], *, shape: tuple[int, int] = (6, 8), closed: bool = True) -> Run:
    """Return what planning sees of a run whose blocks have the given numbers of frames.

    As in every run, only the last one may have fewer than the others.
    """
    starts = np.cumsum([0, *lengths]).tolist()
    blocks = [
        Block(
            number=number,
            extent=Extent(starts[number], starts[number + 1]),
            frame_ids=(starts[number], starts[number + 1] - 1),
            timestamps=(starts[number] * 10, (starts[number + 1] - 1) * 10),
            dropped=(),
            objects=(StoredObject(f"frames/{number}", 1, f"digest of {number}"),),
        )
        for number in range(len(lengths))
    ]
    return cast(
        "Run",
        SimpleNamespace(
            blocks=tuple(blocks),
            history=SimpleNamespace(frames=starts[-1], blocks=blocks),
            closed=closed,
            layout=SimpleNamespace(
                geometry=SimpleNamespace(shape=shape), frames_per_block=max(lengths, default=1)
            ),
        ),
    )


def job(needs: Needs, **changes: Any) -> Job:
    return dataclasses.replace(Job("id", "run", "blur", "1.0.0", needs, {"sigma": 1.0}), **changes)


def units(run: Run, needs: Needs, **options: Any) -> list[Unit]:
    return [unit for unit, _ in plan(run, job(needs), **options)]


def lengths_of(whole: int, number: int, last: int) -> list[int]:
    return [*[whole] * number, min(last, whole)][: number + 1 if last else number]


blocks = st.builds(lengths_of, st.integers(1, 5), st.integers(0, 7), st.integers(0, 5))
halos = st.integers(0, 12)


@given(blocks, halos)
def test_every_frame_of_a_closed_run_is_in_one_core(lengths: list[int], halo: int) -> None:
    """The cores follow each other without gap or overlap, block by block."""
    run = run_of(lengths)
    cores = [unit.core.t for unit in units(run, Blockwise(halo_frames=halo))]
    assert cores == [block.extent for block in run.blocks]


@given(blocks, halos)
def test_a_halo_reaches_as_far_as_the_run_does(lengths: list[int], halo: int) -> None:
    """A unit sees its halo on both sides, clipped where the run ends, and the blocks for it."""
    run = run_of(lengths)
    total = sum(lengths)
    for unit, read in plan(run, job(Blockwise(halo_frames=halo))):
        core, seen = unit.core.t, unit.seen.t
        assert seen == Extent(max(0, core.start - halo), min(total, core.stop + halo))
        assert [
            b for b in run.blocks if b.extent.start < seen.stop and b.extent.stop > seen.start
        ] == [*read]
        assert unit.inputs == tuple(f"digest of {block.number}" for block in read)


@given(blocks, halos, st.data())
def test_units_are_the_same_live_and_afterwards(
    lengths: list[int], halo: int, data: st.DataObject
) -> None:
    """Planned as the run grows, in any steps, the units are those of the closed run."""
    needs = Blockwise(halo_frames=halo)
    live: list[Unit] = []
    planned = committed = 0
    while committed < len(lengths):
        committed += data.draw(st.integers(1, len(lengths) - committed))
        growing = run_of(lengths[:committed], closed=False)
        live += units(growing, needs, first_block=planned)
        planned = plannable(growing, needs)
    closed = run_of(lengths)
    live += units(closed, needs, first_block=planned)
    assert [each.identity for each in live] == [each.identity for each in units(closed, needs)]


@given(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.integers(1, 25), st.integers(0, 6))
def test_tiles_cover_a_frame_exactly(shape: tuple[int, int], side: int, halo: int) -> None:
    """Every pixel is in the core of one tile, and in sight of it with its halo."""
    covered = np.zeros(shape, int)
    for unit in units(run_of([2], shape=shape), Blockwise(tile_pixels=side, halo_pixels=halo)):
        core, seen = unit.core, unit.seen
        covered[core.y.start : core.y.stop, core.x.start : core.x.stop] += 1
        for axis, length in zip(("y", "x"), shape, strict=True):
            inner: Extent = getattr(core, axis)
            outer: Extent = getattr(seen, axis)
            assert outer == Extent(max(0, inner.start - halo), min(length, inner.stop + halo))
    assert (covered == 1).all()


@given(blocks, halos, st.sampled_from(["frames", "tiles", "sequential", "whole"]), st.booleans())
def test_each_unit_is_found_by_its_place(
    lengths: list[int], halo: int, kind: str, closed: bool
) -> None:
    """It is the one that was planned, with the blocks that it reads; elsewhere there is none."""
    known: dict[str, Needs] = {
        "frames": Blockwise(halo_frames=halo),
        "tiles": Blockwise(halo_frames=halo, tile_pixels=4, halo_pixels=1),
        "sequential": Sequential(state="state"),
        "whole": WholeRun(),
    }
    needs = known[kind]
    run = run_of(lengths, closed=closed)
    planned = {
        (unit.core.t.start, unit.core.y.start, unit.core.x.start): (unit, read)
        for unit, read in plan(run, job(needs))
    }
    for start, y, x in product(range(sum(lengths) + 2), (0, 1, 4, 8), (0, 3, 4, 8)):
        expected = planned.get((start, y, x))
        before = None if expected is None else expected[0].before
        assert unit_at(run, job(needs), start=start, y=y, x=x, before=before) == expected


def test_a_whole_run_is_one_unit_once_it_is_closed() -> None:
    """A whole-run algorithm waits for the end of the run, and then sees all of it."""
    assert units(run_of([4, 4], closed=False), WholeRun()) == []
    (unit,) = units(run_of([4, 4, 2]), WholeRun())
    assert unit.core == unit.seen
    assert unit.core.t == Extent(0, 10)
    assert len(unit.inputs) == 3


def test_an_empty_run_has_no_units() -> None:
    """A run that was closed without a frame gives nothing to do."""
    assert units(run_of([]), Blockwise()) == []
    assert units(run_of([]), WholeRun()) == []


BASE = units(run_of([4, 4, 4]), Blockwise(halo_frames=1))[1]


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BASE, job=dataclasses.replace(BASE.job, run_id="other")),
        dataclasses.replace(BASE, job=dataclasses.replace(BASE.job, algorithm="other")),
        dataclasses.replace(BASE, job=dataclasses.replace(BASE.job, version="1.0.1")),
        dataclasses.replace(BASE, job=dataclasses.replace(BASE.job, parameters={"sigma": 2.0})),
        dataclasses.replace(BASE, job=dataclasses.replace(BASE.job, needs=Blockwise())),
        dataclasses.replace(BASE, core=dataclasses.replace(BASE.core, t=Extent(4, 7))),
        dataclasses.replace(BASE, core=dataclasses.replace(BASE.core, x=Extent(0, 4))),
        dataclasses.replace(BASE, seen=dataclasses.replace(BASE.seen, t=Extent(2, 9))),
        dataclasses.replace(BASE, inputs=("another digest", *BASE.inputs[1:])),
    ],
    ids=[
        "run",
        "algorithm",
        "version",
        "parameters",
        "needs",
        "extent",
        "tile",
        "halo",
        "a block of the halo",
    ],
)
def test_whatever_decides_over_a_result_is_in_the_identity(other: Unit) -> None:
    """Two units that could give different results are never taken for one."""
    assert other.identity != BASE.identity


def test_what_does_not_decide_over_a_result_is_not_in_the_identity() -> None:
    """A run that is renamed, or timed anew, keeps its results."""
    renamed = dataclasses.replace(BASE.job, run_name="other")
    assert dataclasses.replace(BASE, job=renamed, taken_at=5).identity == BASE.identity


def test_a_unit_knows_when_its_last_frame_was_taken() -> None:
    """Latency counts from the core's last frame, not from the halo's."""
    assert BASE.seen.t.stop == 9
    assert BASE.taken_at == 70


def test_a_unit_that_goes_on_with_a_state_is_another_one_behind_another_state() -> None:
    """What was computed behind a block that is taken anew is not taken for what is behind it now."""
    first, second, third = units(run_of([2, 2, 2]), Sequential(state="state"))
    assert (first.before, second.before, third.before) == (None, first.identity, second.identity)
    for before in (None, "another one"):
        assert dataclasses.replace(second, before=before).identity != second.identity
