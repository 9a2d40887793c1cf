"""The parts of a result are of one form; what is of another one is a dead letter."""

import decimal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import REGISTRY, Algorithm, Blockwise, WholeRun, open_result, process
from forebay.engine.definition import Needs
from forebay.engine.errors import (
    OutputError,
    ResultDamagedError,
    ResultFormError,
    UnitsFailedError,
)
from forebay.engine.execution.pieces import in_pieces
from forebay.engine.execution.reproduce import script
from forebay.engine.queue.database import Database
from forebay.engine.queue.dead import DeadLetters
from forebay.engine.queue.published import ResultRecord, enter, published
from forebay.engine.unit import Job, plan

type Function = Callable[[xr.DataArray], Any]


def of(function: Function, needs: Needs | None = None) -> Algorithm:
    return Algorithm("tried", "1.0.0", function, needs or Blockwise())


def table(frames: xr.DataArray, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t.to_numpy(), **columns})


def second(frames: xr.DataArray) -> bool:
    """Tell whether these are the frames of the second block of three."""
    return int(frames.t[0]) == 4


def other_type(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, mass=0.5 if second(frames) else 1)


def fewer_columns(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames) if second(frames) else table(frames, mass=1.0, size=2.0)


def more_columns(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, mass=1.0) if second(frames) else table(frames)


def other_dtype(frames: xr.DataArray) -> xr.DataArray:
    return frames.astype("float64") if second(frames) else frames


def smaller(frames: xr.DataArray) -> xr.DataArray:
    return frames.isel(y=slice(0, 3)) if second(frames) else frames


def turned(frames: xr.DataArray) -> xr.DataArray:
    return frames.transpose("t", "x", "y") if second(frames) else frames


def one_variable_more(frames: xr.DataArray) -> xr.Dataset:
    found = {"still": frames, "moving": frames} if second(frames) else {"still": frames}
    return xr.Dataset(found)


def sometimes_a_table(frames: xr.DataArray) -> Any:
    return table(frames) if second(frames) else frames


@pytest.mark.parametrize(
    ("function", "difference"),
    [
        (other_type, "'mass' is double, and int64 in the parts before"),
        (fewer_columns, "'mass' is missing, which the parts before have; 'size' is missing"),
        (more_columns, "'mass' is not in the parts before"),
        (other_dtype, "'frames' is float64(t, y=6, x=8), and uint16(t, y=6, x=8) in the parts"),
        (smaller, "'frames' is uint16(t, y=3, x=8), and uint16(t, y=6, x=8) in the parts before"),
        (turned, "'frames' is uint16(t, x=8, y=6), and uint16(t, y=6, x=8) in the parts before"),
        (one_variable_more, "'moving' is not in the parts before"),
        (sometimes_a_table, "this part is a table, and those before are arrays"),
    ],
)
def test_a_part_of_another_form_is_a_dead_letter(
    write_run: WriteRun, tmp_path: Path, function: Function, difference: str
) -> None:
    """It is not published, nothing of it stays, and what is there can be read as one."""
    with pytest.raises(UnitsFailedError, match="failed on 1 of 3 units"):
        process(write_run(), of(function))
    (folder,) = (tmp_path / "results" / "run").iterdir()
    result = open_result(folder)
    (failed,) = result.failed
    assert failed.start == 4
    assert failed.error is not None
    assert failed.error.startswith(f"OutputError: {difference}")
    assert failed.error.endswith(
        "if the parts before are the wrong ones, compute all anew with --force"
    )
    assert failed.attempt == 1, "a wrong form is wrong again"
    assert len(list((folder / "parts").iterdir())) == 2
    read = result.table() if isinstance(next(result.parts()), pd.DataFrame) else result.arrays()
    assert np.asarray(read["t"]).tolist() == [0, 1, 2, 3, 8, 9]


def test_an_exported_dead_letter_is_refused_again(write_run: WriteRun, tmp_path: Path) -> None:
    """The script computed it without a fault, though its form was what was wrong."""
    module = tmp_path / "wavering.py"
    module.write_text(
        "import forebay, pandas as pd, xarray as xr\n"
        "@forebay.algorithm('wavering', version='1.0.0')\n"
        "def wavering(frames: xr.DataArray) -> pd.DataFrame:\n"
        "    mass = 0.5 if int(frames.t[0]) == 4 else 1\n"
        "    return pd.DataFrame({'t': frames.t.to_numpy(), 'mass': mass})\n"
    )
    REGISTRY.load([str(module)])
    run = write_run()
    with pytest.raises(UnitsFailedError, match="failed on 1 of 3 units"):
        process(run, REGISTRY.get("wavering", "1.0.0"))
    with Database(tmp_path / "results" / "ledger.sqlite", create=False) as database:
        letters = DeadLetters(database)
        (letter,) = letters.find()
        text = script(*letters.get(letter.unit), modules=[str(module)])
    with pytest.raises(OutputError, match="'mass' is double, and int64 in the parts before"):
        exec(compile(text, "again.py", "exec"), {})


def nothing_at_first(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, mass=1) if second(frames) else pd.DataFrame({"t": [], "mass": []})


def no_columns_of_nothing(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, mass=1) if second(frames) else pd.DataFrame({"t": pd.Series(dtype=object)})


def no_name(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, name="rod" if second(frames) else None)


def lists(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, near=[[1.0] if second(frames) else []] * frames.sizes["t"])


def categories(frames: xr.DataArray) -> pd.DataFrame:
    number = 200 if second(frames) else 2
    kinds = pd.CategoricalDtype([f"kind {each}" for each in range(number)])
    return table(frames, kind=pd.Series(["kind 1"] * frames.sizes["t"], dtype=kinds))


def decimals(frames: xr.DataArray) -> pd.DataFrame:
    return table(frames, price=decimal.Decimal("1.25" if second(frames) else "1000.5"))


def other_order(frames: xr.DataArray) -> pd.DataFrame:
    found = table(frames, mass=1.0)
    return found[["mass", "t"]] if second(frames) else found


@pytest.mark.parametrize(
    "function",
    [nothing_at_first, no_columns_of_nothing, no_name, lists, categories, decimals, other_order],
)
def test_tables_may_differ_in_what_depends_on_the_data(
    write_run: WriteRun, function: Function
) -> None:
    """Tables without rows, and columns without values, neither set the form nor break it."""
    result = process(write_run(), of(function))
    assert len(result.done) == 3
    assert result.table()["t"].dtype == np.int64


def lags(frames: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(np.zeros(frames.sizes["t"]), dims="lag")


def names(frames: xr.DataArray) -> xr.DataArray:
    kind = "long name" if second(frames) else "name"
    return xr.DataArray([kind] * frames.sizes["t"], dims="t", coords={"t": frames.t})


@pytest.mark.parametrize(
    ("function", "needs"),
    [
        (lags, None),
        (names, None),
        (lambda frames: frames, Blockwise(tile_pixels=4)),
        (lambda frames: frames[:0] if second(frames) else frames, None),
    ],
    ids=["axes of its own", "lengths of texts", "tiles at the edge", "no frames"],
)
def test_arrays_may_differ_in_what_depends_on_the_data(
    write_run: WriteRun, function: Function, needs: Needs | None
) -> None:
    """Axes that the algorithm makes, the frames, and tiles may be of any length."""
    result = process(write_run(), of(function, needs))
    assert result.failed == ()
    assert {each.state for each in result.done} == {"done"}


def test_channels_and_pixels_are_of_one_length(write_run: WriteRun) -> None:
    """The channels of tiles too, whose pixels are not."""

    def channels(frames: xr.DataArray) -> xr.DataArray:
        return frames.isel(c=slice(0, 1)) if second(frames) else frames

    with pytest.raises(UnitsFailedError, match="failed on 4 of 12 units") as failed:
        process(write_run(shape=(2, 6, 8)), of(channels, Blockwise(tile_pixels=4)))
    assert "'frames' is uint16(t, c=1, y, x)" in str(failed.value)


def test_what_is_computed_anew_may_be_of_another_form(write_run: WriteRun) -> None:
    """The parts before may have been the wrong ones: with `force`, the first one says it again."""
    run = write_run()
    with pytest.raises(UnitsFailedError):
        process(run, of(other_type))
    mended = of(lambda frames: table(frames, mass=0.5))
    with pytest.raises(UnitsFailedError, match="failed on 1 of 3 units"):
        process(run, mended)
    result = process(run, mended, force=True)
    assert len(result.done) == 3
    assert result.table()["mass"].tolist() == [0.5] * 10


def test_what_stands_alone_has_no_form(write_run: WriteRun) -> None:
    """The part of a whole run is put together with nothing, so that it may be anything."""
    run = write_run()
    process(run, of(lambda frames: frames.mean("t"), WholeRun()))
    again = of(lambda frames: table(frames), WholeRun())
    assert len(process(run, again, force=True).table()) == 10
    with Database(run_ledger(run)) as database:
        record = published(database, process(run, again).job.identity)
    assert record is not None
    assert record.form is None


def run_ledger(run: Any) -> Path:
    return Path(run.location).parent / "results" / "ledger.sqlite"


@pytest.mark.parametrize("function", [other_type, other_dtype, sometimes_a_table, fewer_columns])
def test_pieces_of_a_unit_are_of_one_form_too(write_run: WriteRun, function: Function) -> None:
    """Put together they would be promoted to a form that nobody has returned."""
    run = write_run(frames=8, frames_per_block=8)
    job = Job(run.run_id, run.name, "tried", "1.0.0", Blockwise(), {})
    ((unit, _),) = plan(run, job)

    def compute(piece: Any) -> Any:
        found = function(run.frames[piece.core.t.start : piece.core.t.stop])
        return found if isinstance(found, pd.DataFrame) else found.to_dataset(name="frames")

    with pytest.raises(OutputError, match="tried did not return the same form for all frames of"):
        in_pieces(unit, 2, compute)


def test_parts_from_elsewhere_are_of_the_form_of_those_that_are_here(
    write_run: WriteRun, tmp_path: Path
) -> None:
    """The form goes along with them; of another one, nothing of them is entered."""
    run = write_run()
    here = process(run, of(lambda frames: table(frames, mass=1)))
    ledger = run_ledger(run)
    with Database(ledger) as database:
        record = published(database, here.job.identity)
    assert record is not None
    assert record.form == '{"table": {"mass": "int64", "t": "int64"}}'
    assert ResultRecord.from_json(record.to_json(), where="here") == record
    first = replace(record, units=record.units[:1])
    others = replace(record, units=record.units[1:])
    of_another = replace(others, form='{"table": {"mass": "double", "t": "int64"}}')
    with Database(tmp_path / "new.sqlite") as database:
        enter(database, first, folder=here.path)
        with pytest.raises(
            ResultFormError, match="'mass' is double, and int64 in the parts before"
        ):
            enter(database, of_another, folder=here.path)
        assert published(database, here.job.identity) == first
        enter(database, others, folder=here.path)
        assert published(database, here.job.identity) == record


@pytest.mark.parametrize(
    "form",
    ["", "{}", '"table"', '{"heap": {}}', '{"table": {"t": 1}}', '{"table": [["t", "int64"]]}', 7],
)
def test_a_form_that_is_none_is_not_taken_in(write_run: WriteRun, form: Any) -> None:
    """A bundle that somebody has changed is refused before anything of it is entered."""
    run = write_run()
    here = process(run, of(lambda frames: table(frames)))
    with Database(run_ledger(run)) as database:
        record = published(database, here.job.identity)
    assert record is not None
    with pytest.raises(ResultDamagedError, match="contradicts itself"):
        ResultRecord.from_json(replace(record, form=form).to_json(), where="the bundle")
