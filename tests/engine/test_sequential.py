"""Algorithms that carry a state from block to block: in order, once, from any point on."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun
from tests.engine.test_agreement import being_written

from forebay.acquisition import Run
from forebay.engine import (
    Algorithm,
    Result,
    Sequential,
    open_result,
    process,
    reproduce,
    submit,
)
from forebay.engine.errors import (
    AlgorithmError,
    JobError,
    JobInterruptedError,
    UnitsFailedError,
)
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.reproduce import script
from forebay.engine.queue.database import Database
from forebay.engine.queue.dead import DeadLetters
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.ledger import Ledger
from forebay.engine.results.folder import ResultFolder


def less_background(
    frames: xr.DataArray, *, state: xr.Dataset | None, weight: float = 0.25
) -> tuple[xr.DataArray, xr.Dataset]:
    """Subtract a running mean, which the state carries on with its number of frames."""
    values = frames.astype("float64").compute()
    mean = values[0].to_numpy() if state is None else state["mean"].to_numpy()
    seen = 0 if state is None else int(state["seen"])
    given = []
    for frame in values.to_numpy():
        given.append(frame - mean)
        mean = mean + weight * (frame - mean)
    left = xr.Dataset({"mean": (("y", "x"), mean), "seen": ((), seen + len(given))})
    return values.copy(data=np.stack(given)), left


def numbered(
    frames: xr.DataArray, *, state: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count bright pixels on and on, from block to block."""
    counted = 0 if state is None else int(state["counted"].iloc[0])
    t, *_ = np.nonzero(frames.to_numpy() > 190)
    rows = pd.DataFrame({"t": frames.t.to_numpy()[t], "number": counted + np.arange(len(t))})
    return rows, pd.DataFrame({"counted": [counted + len(t)]})


LESS_BACKGROUND = Algorithm("less-background", "1.0.0", less_background, Sequential())
NUMBERED = Algorithm("numbered", "1.0.0", numbered, Sequential())
SLOW = {"frames": 11, "frames_per_block": 2}


def one_after_the_other(run: Run, algorithm: Algorithm) -> list[Any]:
    """Call the function block by block, as one would do by hand."""
    state, given = None, []
    for block in run.blocks:
        frames = run.frames.isel(t=slice(block.extent.start, block.extent.stop))
        part, state = algorithm(frames, state=state)
        given.append(part)
    return given


def check_arrays(result: Result, run: Run) -> None:
    expected = xr.concat(one_after_the_other(run, LESS_BACKGROUND), "t")
    (found,) = result.arrays().data_vars.values()
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())


@contextmanager
def travelling(module: ModuleType) -> Iterator[None]:
    """Send what a module holds whole, and not by its name."""
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def what_is_there(run: Run) -> Result:
    """Return the only result of a run, whole or not."""
    (folder,) = (Path(run.location).parent / "results" / run.name).iterdir()
    return open_result(folder)


def failed(run: Run, algorithm: Algorithm) -> Result:
    """Compute what can be, and return what there is."""
    with pytest.raises(UnitsFailedError):
        process(run, algorithm)
    return what_is_there(run)


def test_each_block_goes_on_with_the_state_of_the_one_before(write_run: WriteRun) -> None:
    run = write_run(**SLOW)
    check_arrays(process(run, LESS_BACKGROUND), run)


def test_a_state_may_be_a_table(write_run: WriteRun) -> None:
    run = write_run(**SLOW)
    table = process(run, NUMBERED).table()
    pd.testing.assert_frame_equal(
        table, pd.concat(one_after_the_other(run, NUMBERED), ignore_index=True)
    )
    assert table["number"].tolist() == list(range(len(table)))


def test_a_cluster_keeps_the_order(write_run: WriteRun, client: Any) -> None:
    """Whichever worker is free gets the state from where it was published."""
    run = write_run(**SLOW)
    order: list[int] = []

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            order.append(event.unit.core.t.start)

    # Workers cannot import the tests.
    with travelling(sys.modules[__name__]):
        check_arrays(process(run, LESS_BACKGROUND, client=client, on_event=observe), run)
    assert order == [0, 2, 4, 6, 8, 10]


def test_live_gives_what_batch_gives(tmp_path: Path) -> None:
    """The writer dies once and goes on: so does the state."""
    with being_written(tmp_path / "run") as run:
        live = process(run, LESS_BACKGROUND, follow=True)
    check_arrays(live, run.refresh())
    assert process(run.refresh(), LESS_BACKGROUND).computed == 0


def test_it_is_stopped_and_goes_on_where_it_was(write_run: WriteRun) -> None:
    run, stop = write_run(**SLOW), threading.Event()

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished) and event.unit.core.t.start == 4:
            stop.set()

    with pytest.raises(JobInterruptedError):
        process(run, LESS_BACKGROUND, stop=stop, on_event=observe)
    result = process(run, LESS_BACKGROUND)
    assert result.computed == 3
    check_arrays(result, run)


def test_computing_it_anew_begins_with_the_first_block(write_run: WriteRun) -> None:
    """No block goes on with a state of before."""
    run, versions = write_run(**SLOW), [1]

    def counting(
        frames: xr.DataArray, *, state: xr.Dataset | None
    ) -> tuple[xr.DataArray, xr.Dataset]:
        made = versions[0] if state is None else int(state["made"])
        return frames.astype("int64") * 0 + made, xr.Dataset({"made": made})

    algorithm = Algorithm("counting", "1.0.0", counting, Sequential())
    process(run, algorithm)
    versions[0] = 2
    again = process(run, algorithm, force=True)
    assert again.computed == 6
    (name,) = again.arrays().data_vars
    assert (again.arrays()[name] == 2).all()


def test_a_block_that_fails_stops_what_comes_behind_it_and_no_job(
    write_run: WriteRun, tmp_path: Path
) -> None:
    """The blocks before it are published; tried again, it goes on from there."""
    run, cured = write_run(**SLOW), list[bool]()

    def fragile(
        frames: xr.DataArray, *, state: xr.Dataset | None
    ) -> tuple[xr.DataArray, xr.Dataset]:
        if int(frames.t[0]) == 4 and not cured:
            raise ValueError("too dark")
        return less_background(frames, state=state)

    algorithm = Algorithm("fragile", "1.0.0", fragile, Sequential())
    result = failed(run, algorithm)
    states = {unit.start: unit.state for unit in result.units}
    assert states == {
        0: "done", 2: "done", 4: "dead", 6: "cancelled", 8: "cancelled", 10: "cancelled"
    }  # fmt: skip
    assert [unit.start for unit in result.failed] == [4]
    assert "the state of frame 4, which could not be computed" in str(result.units[-1].error)
    # A second call tries it again, and fails again, in bounded time.
    assert [unit.start for unit in failed(run, algorithm).failed] == [4]
    cured.append(True)
    whole = process(run, algorithm)
    assert whole.computed == 4
    check_arrays(whole, run)


def test_a_dead_letter_is_replayed_with_all_that_waits_for_it(
    write_run: WriteRun, tmp_path: Path
) -> None:
    run, cured = write_run(**SLOW), list[bool]()

    def fragile(
        frames: xr.DataArray, *, state: xr.Dataset | None
    ) -> tuple[xr.DataArray, xr.Dataset]:
        if int(frames.t[0]) == 4 and not cured:
            raise ValueError("too dark")
        return less_background(frames, state=state)

    algorithm = Algorithm("fragile", "1.0.0", fragile, Sequential())
    result = failed(run, algorithm)
    ledger = ResultFolder(result.path).ledger
    with Database(ledger, create=False) as database:
        letters = DeadLetters(database)
        (letter,) = letters.find()
        assert letters.replay([letter.unit]) == 1
        states = [unit.state for unit in Ledger(database).units(result.job.identity)]
    assert states == ["done", "done", "ready", "waiting", "waiting", "waiting"]
    cured.append(True)
    check_arrays(process(run, algorithm), run)


def test_a_unit_is_computed_at_a_desk_with_the_state_of_the_ledger_or_its_own(
    write_run: WriteRun,
) -> None:
    """Both are the same: what was kept is what is computed from the first block on."""
    run = write_run(**SLOW)
    result = process(run, LESS_BACKGROUND)
    after = result.path / "parts" / str(result.done[2].part)
    kept = reproduce(run.location, LESS_BACKGROUND, frame=6, after=after).compute()
    alone = reproduce(run.location, LESS_BACKGROUND, frame=6).compute()
    assert isinstance(kept, xr.Dataset)
    assert isinstance(alone, xr.Dataset)
    xr.testing.assert_identical(kept, alone)
    assert reproduce(run.location, LESS_BACKGROUND, frame=6, after=after).unit.identity == (
        result.done[3].unit
    )
    np.testing.assert_array_equal(
        kept.to_dataarray()[0], result.arrays().to_dataarray()[0].isel(t=slice(6, 8))
    )


def test_an_exported_dead_letter_goes_on_with_the_state_that_was_kept(
    write_run: WriteRun, tmp_path: Path
) -> None:
    run = write_run(**SLOW)
    module = tmp_path / "fragile.py"
    module.write_text(
        "import forebay, xarray as xr\n"
        "@forebay.algorithm('fragile', version='1.0.0', needs=forebay.Sequential())\n"
        "def fragile(frames: xr.DataArray, *, state: xr.Dataset | None):\n"
        "    seen = 0 if state is None else int(state['seen'])\n"
        "    if seen == 4:\n"
        "        raise ValueError(f'tired after {seen} frames')\n"
        "    return frames, xr.Dataset({'seen': seen + frames.sizes['t']})\n"
    )
    from forebay.engine import REGISTRY

    REGISTRY.load([str(module)])
    result = failed(run, REGISTRY.get("fragile", "1.0.0"))
    with Database(ResultFolder(result.path).ledger, create=False) as database:
        letters = DeadLetters(database)
        (letter,) = letters.find()
        letter, attempts = letters.get(letter.unit)
        part, _ = Ledger(database).part(str(letter.before)) or ("", "")
    text = script(letter, attempts, modules=[str(module)], after=result.path / "parts" / part)
    with pytest.raises(ValueError, match="tired after 4 frames"):
        exec(compile(text, "again.py", "exec"), {})


def test_the_state_is_a_part_of_the_part(write_run: WriteRun) -> None:
    """Its files are in the manifest, whose digest the ledger keeps; each names what was before."""
    result = process(write_run(**SLOW), NUMBERED)
    manifests = [
        json.loads((result.path / "parts" / str(unit.part) / "part.json").read_text())
        for unit in result.done
    ]
    assert all("state.parquet" in each["files"] for each in manifests)
    assert [each["before"] for each in manifests] == [
        None, *(unit.unit for unit in result.done[:-1])
    ]  # fmt: skip


def test_what_is_no_pair_is_told(write_run: WriteRun) -> None:
    def single(frames: xr.DataArray, *, state: xr.Dataset | None) -> xr.DataArray:
        return frames

    result = failed(
        write_run(frames=2, frames_per_block=2),
        Algorithm("single", "1.0.0", single, Sequential()),
    )
    (unit,) = result.failed
    assert unit.error == (
        "OutputError: single-1.0.0 returned an object of the type DataArray; a sequential algorithm returns a pair of "
        "its result and the state for the next block"
    )


def test_a_state_that_cannot_be_kept_is_told(write_run: WriteRun) -> None:
    def odd(frames: xr.DataArray, *, state: object) -> tuple[xr.DataArray, object]:
        return frames, {"seen": 4}

    result = failed(
        write_run(frames=2, frames_per_block=2), Algorithm("odd", "1.0.0", odd, Sequential())
    )
    (unit,) = result.failed
    assert str(unit.error).startswith(
        "OutputError: odd-1.0.0's state returned an object of the type dict"
    )


def test_a_function_without_the_argument_is_refused() -> None:
    def stateless(frames: xr.DataArray, *, weight: float = 1.0) -> xr.DataArray:
        return frames * weight

    with pytest.raises(AlgorithmError, match="has no argument 'state'"):
        Algorithm("stateless", "1.0.0", stateless, Sequential())


def test_the_state_is_no_parameter() -> None:
    assert list(LESS_BACKGROUND.parameters.model_fields) == ["weight"]
    background = Algorithm(
        "named",
        "1.0.0",
        lambda frames, *, background: (frames, background),
        Sequential(state="background"),
    )
    assert list(background.parameters.model_fields) == []


def test_blocks_cannot_be_left_for_later(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run(**SLOW, close=False)
    with pytest.raises(JobError, match="goes from each block to the next one"):
        submit(
            run, NUMBERED, ledger=tmp_path / "ledger.sqlite", lane="realtime", live=True, keep_up=4
        )
    with Database(tmp_path / "ledger.sqlite") as database:
        assert Jobs(database).find() == []
