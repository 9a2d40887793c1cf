"""Published parts: where they come from, and what happens when their bytes change."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorstore
import xarray as xr
import zarr
from blake3 import blake3
from tests.engine.conftest import WriteRun

from forebay.engine import Algorithm, Blockwise, Result, process
from forebay.engine.errors import ResultDamagedError, ResultStorageError, UnitsFailedError
from forebay.engine.results.folder import ResultFolder, part_name


def blurred(frames: xr.DataArray, *, sigma: float = 1.5) -> xr.DataArray:
    return frames / sigma


def listed(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t, "value": frames.mean(("y", "x"))})


BLURRED = Algorithm("blurred", "2.1.0", blurred, Blockwise(halo_frames=1))
LISTED = Algorithm("listed", "1.0.0", listed)


def folder_of(result: Result, place: int) -> Path:
    part = result.done[place].part
    assert part is not None
    return result.path / "parts" / part


def test_a_part_tells_where_it_comes_from(write_run: WriteRun) -> None:
    """Run, extent, halo, inputs, algorithm, version, parameters and packages stand beside it."""
    run = write_run()
    result = process(run, BLURRED, sigma=2)
    told = json.loads((folder_of(result, 1) / "part.json").read_bytes())
    assert told["unit"] == result.done[1].unit
    assert told["run"] == {"id": run.run_id, "name": "run", "location": run.location}
    assert told["extent"] == {"start": 4, "stop": 8}
    assert told["seen"]["t"] == {"start": 3, "stop": 9}
    assert told["inputs_blake3"] == [
        stored.blake3 for block in run.blocks for stored in block.objects
    ]
    assert told["algorithm"]["name"] == "blurred"
    assert told["algorithm"]["version"] == "2.1.0"
    assert told["algorithm"]["needs"]["halo_frames"] == 1
    assert told["parameters"] == {"sigma": 2.0}
    for package in ("forebay", "dask", "numpy", "xarray", "zarr"):
        assert told["environment"][package] == version(package)
    assert told["environment"]["python"]


def test_a_part_names_the_digest_of_each_of_its_files(write_run: WriteRun) -> None:
    """The manifest covers every file, and the ledger covers the manifest."""
    result = process(write_run(), BLURRED)
    folder = folder_of(result, 0)
    files = json.loads((folder / "part.json").read_bytes())["files"]
    found = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "blake3": blake3(path.read_bytes()).hexdigest(),
        }
        for path in folder.rglob("*")
        if path.is_file() and path.name != "part.json"
    }
    assert files == found
    assert result.done[0].part_bytes == sum(file["bytes"] for file in files.values())
    assert result.done[0].part_blake3 == blake3((folder / "part.json").read_bytes()).hexdigest()


def test_a_result_tells_what_it_is(write_run: WriteRun) -> None:
    """The folder of a result names its job for whoever finds it."""
    run = write_run()
    result = process(run, BLURRED)
    told = json.loads((result.path / "result.json").read_bytes())
    assert (told["run_id"], told["algorithm"], told["version"]) == (run.run_id, "blurred", "2.1.0")
    assert (told["parameters"], told["job"]) == ({"sigma": 1.5}, result.job.identity)
    short = (
        f"<Result {str(result.path)!r}: blurred-2.1.0(sigma=1.5) over run, 10 frames in 3 parts>"
    )
    assert repr(result) == short


def test_stock_readers_read_the_parts(write_run: WriteRun) -> None:
    """zarr-python, xarray, tensorstore and pandas read a part without forebay."""
    run = write_run()
    expected = run.frames[:4].to_numpy() / 1.5
    folder = folder_of(process(run, BLURRED), 0) / "data.zarr"
    group = zarr.open_group(folder, mode="r")
    np.testing.assert_array_equal(np.asarray(group["frames"]), expected)
    np.testing.assert_array_equal(xr.open_zarr(folder)["frames"], expected)
    stored = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "frames")}}
    np.testing.assert_array_equal(tensorstore.open(stored).result().read().result(), expected)
    table = pd.read_parquet(folder_of(process(run, LISTED), 0) / "table.parquet")
    assert table["t"].tolist() == [0, 1, 2, 3]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, shorten, Path.unlink])
@pytest.mark.parametrize(
    ("algorithm", "file"),
    [
        (LISTED, "part.json"),
        (LISTED, "table.parquet"),
        (BLURRED, "part.json"),
        (BLURRED, "data.zarr/zarr.json"),
        (BLURRED, "data.zarr/frames/c.0.0.0"),
        (BLURRED, "data.zarr/frame_id/c.0"),
    ],
)
def test_a_damaged_part_is_an_error_when_it_is_read(
    write_run: WriteRun, algorithm: Algorithm, file: str, damage: Callable[[Path], None]
) -> None:
    """A byte that changed or is missing never becomes a value: the message names the file."""
    result = process(write_run(), algorithm)
    damage(folder_of(result, 1) / file)
    with pytest.raises(ResultDamagedError, match=file.rpartition("/")[2]) as damaged:
        _ = result.table() if algorithm is LISTED else result.arrays().compute()
    assert "--force" in str(damaged.value)


def test_a_part_that_goes_away_while_it_is_open_is_an_error(write_run: WriteRun) -> None:
    """Lazy arrays whose chunks are removed before they are computed are not filled in."""
    result = process(write_run(), BLURRED)
    arrays = result.arrays()
    shutil.rmtree(folder_of(result, 2))
    with pytest.raises(ResultDamagedError, match="is missing"):
        arrays.compute()


def test_a_folder_of_another_job_is_not_written_into(write_run: WriteRun) -> None:
    """Should two jobs ever have one folder, the second is refused."""
    run = write_run()
    result = process(run, LISTED)
    description = result.path / "result.json"
    description.write_text(description.read_text().replace(result.job.identity, "0" * 64))
    with pytest.raises(ResultDamagedError, match="is that of another job"):
        process(run, LISTED)


def test_a_sweep_never_takes_what_a_running_call_has(tmp_path: Path) -> None:
    """However calls come and go, each keeps its staging folder to its end, and none stays."""
    folder = ResultFolder(tmp_path / "results" / "run" / "listed")

    def come_and_go(number: int) -> None:
        for turn in range(40):
            with folder.session() as staging:
                (staging / "part").mkdir()
                folder.sweep(frozenset)
                (staging / "part" / "file").write_text(f"{number} {turn}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come_and_go, range(6)))
    folder.sweep(frozenset)
    assert list(folder.staging.iterdir()) == []


def test_a_sweep_leaves_what_a_running_call_has_put_among_the_parts(tmp_path: Path) -> None:
    """It is there before the ledger names it; when its call has ended, nobody will publish it."""
    folder = ResultFolder(tmp_path / "results" / "run" / "listed")
    with folder.session() as staging:
        name = part_name("t0-4", "0" * 64, staging)
        (staging / name).mkdir()
        folder.take_in(staging, [name])
        folder.sweep(frozenset)
        assert [path.name for path in folder.parts.iterdir()] == [name]
    folder.sweep(lambda: frozenset({name}))
    assert [path.name for path in folder.parts.iterdir()] == [name]
    folder.sweep(frozenset)
    assert list(folder.parts.iterdir()) == []


def test_no_space_left_is_said_in_one_line(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the storage refuses fails the unit, names the cause, and leaves nothing behind."""
    run = write_run()
    calls: list[Any] = []

    def full(path: Path, parts: Any) -> tuple[int, str]:
        calls.append(path)
        if len(calls) >= 4:
            raise OSError(28, "No space left on device")
        content = b"".join(bytes(part) for part in parts)
        path.write_bytes(content)
        return len(content), blake3(content).hexdigest()

    monkeypatch.setattr("forebay.acquisition.durable.write_aside", full)
    with pytest.raises(UnitsFailedError, match="No space left on device") as failed:
        process(run, LISTED)
    assert "\n" not in str(failed.value)
    monkeypatch.undo()
    result = process(run, LISTED)
    assert result.table()["t"].tolist() == list(range(10))
    assert list((result.path / "staging").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(write_run: WriteRun, tmp_path: Path) -> None:
    """A file where the result should go is a storage error with the name of the place."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "run").write_text("in the way")
    with pytest.raises(ResultStorageError, match=r"cannot write the result .*/results/run/listed"):
        process(write_run(), LISTED, results=results)
