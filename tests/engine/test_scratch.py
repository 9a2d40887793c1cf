"""Memory that an algorithm declares to need beside its frames, and what comes of it."""

from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import Algorithm, Blockwise, WholeRun, process
from forebay.engine.algorithms.particles import find_particles
from forebay.engine.errors import AlgorithmError
from forebay.engine.execution.executor import InProcessExecutor
from forebay.engine.unit import Job, needed_bytes, plan, seen_bytes
from forebay.ops import scratch_bytes


def doubled(frames: xr.DataArray, *, times: int = 2) -> xr.DataArray:
    return frames * times


def as_much(frames: xr.DataArray, *, times: int) -> int:
    return int(frames.nbytes * times)


def declared(scratch: Any, version: str = "1.0.0", **needs: int) -> Algorithm:
    return Algorithm("doubled", version, doubled, Blockwise(**needs), scratch)


def test_a_unit_needs_its_frames_and_its_scratch(write_run: WriteRun) -> None:
    """The scratch is of what the unit sees, halo and tile included, and of its parameters."""
    run = write_run(frames=8, frames_per_block=4, shape=(2, 6, 8))
    algorithm = declared(as_much, tile_pixels=4, halo_pixels=1, halo_frames=1)
    job = Job.of(run, algorithm, {"times": 3})
    for unit, _ in plan(run, job):
        seen = seen_bytes(run, unit)
        assert needed_bytes(run, unit, algorithm, {"times": 3}) == 4 * seen
        assert needed_bytes(run, unit, declared(None), {"times": 3}) == seen
        given = declared(lambda frames, times: frames.shape[1] * 1000 + times)
        assert needed_bytes(run, unit, given, {"times": 3}) == seen + 2003


@pytest.mark.parametrize("known", [True, False])
def test_no_more_units_are_out_than_memory_has_room_for(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Where it is known how much the workers have, frames with scratch have to go into it."""
    most = out = 0
    submit = InProcessExecutor.submit

    def counted(self: InProcessExecutor, orders: Any, done: Callable[..., None], **k: Any) -> None:
        nonlocal most, out
        out += len(orders)
        most = max(most, out)

        def back(outcome: Any) -> None:
            nonlocal out
            out -= len(orders)
            done(outcome)

        submit(self, orders, back, **k)

    run = write_run(frames=6, frames_per_block=1)
    frame = run.layout.geometry.frame_bytes
    monkeypatch.setattr(InProcessExecutor, "submit", counted)
    # Four tenths are for units: four frames, or one with three times its bytes beside it.
    monkeypatch.setattr(InProcessExecutor, "memory", 10 * frame)
    algorithm = declared(as_much if known else None)
    result = process(run, algorithm, times=3, units_in_flight_per_worker=6)
    assert (most, len(result.done)) == (1 if known else 4, 6)


def test_the_particles_of_a_block_need_what_the_operation_says(write_run: WriteRun) -> None:
    run = write_run(frames=4)
    arguments = find_particles.arguments(find_particles.bind({}))
    (unit, _), *_ = plan(run, Job.of(run, find_particles, {}))
    expected = scratch_bytes("find_particles", run.frames, diameter=11)
    assert needed_bytes(run, unit, find_particles, arguments) == seen_bytes(run, unit) + expected


def raising(frames: xr.DataArray, *, times: int) -> int:
    raise KeyError(times)


@pytest.mark.parametrize(
    ("scratch", "reason"),
    [
        (raising, "cannot be told: KeyError: 2"),
        (lambda frames, times: "much", "cannot be told: TypeError"),
        (lambda frames, times: -1, "is -1 bytes, but must be 0 or more"),
    ],
)
def test_a_scratch_that_cannot_be_told_is_an_error(
    write_run: WriteRun, scratch: Any, reason: str
) -> None:
    """Told when the units are planned; nothing is computed."""
    with pytest.raises(AlgorithmError, match=reason):
        process(write_run(), declared(scratch))


def test_workers_do_not_get_it() -> None:
    """It may be of a module that they lack; a whole run has its frames read as they are needed."""
    sent = cloudpickle.loads(cloudpickle.dumps(declared(as_much)))
    assert sent.scratch is None
    assert Algorithm("whole", "1.0.0", doubled, WholeRun(), as_much).scratch is as_much
