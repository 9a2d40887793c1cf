"""A part: what one unit computed, as files with their digests."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from blake3 import blake3
from zarr.codecs import Crc32cCodec, ZstdCodec

from forebay.acquisition import durable
from forebay.engine.errors import OutputError, ResultDamagedError

ARRAY = "data.zarr"
TABLE = "table.parquet"
MANIFEST = "part.json"

type Output = xr.Dataset | pd.DataFrame
"""What a part holds: arrays with coordinates, or a table."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has been written."""

    name: str
    """Name of its folder."""
    blake3: str
    """Digest of its manifest, which holds the digest of every file."""
    bytes: int
    """Size of its files."""
    rows: int | None
    """Rows of a table; None for arrays."""


def normalise(returned: Any, *, algorithm: str) -> Output:
    """Return what an algorithm returned as a Dataset or a DataFrame, in host memory.

    Raises
    ------
    OutputError
        If it is neither an xarray object nor a table.
    """
    match returned:
        case xr.DataArray():
            return returned.to_dataset(name=returned.name or "result").as_numpy()
        case xr.Dataset():
            return returned.as_numpy()
        case pd.DataFrame():
            return returned
        case pa.Table():
            return returned.to_pandas()
    raise OutputError(
        f"{algorithm} returned a {type(returned).__name__}; return an xarray DataArray or "
        "Dataset, a pandas DataFrame or a pyarrow Table"
    )


def write_part(folder: Path, output: Output, *, provenance: dict[str, Any]) -> Part:
    """Write a part into a new folder, with its provenance beside it, and flush every byte."""
    folder.mkdir(parents=True)
    rows = None
    if isinstance(output, pd.DataFrame):
        table = pa.Table.from_pandas(output, preserve_index=False)
        pq.write_table(table, folder / TABLE, compression="zstd", write_page_checksum=True)
        rows = len(output)
    else:
        compressors = (ZstdCodec(level=1), Crc32cCodec())
        arrays = {name: _plain(output[name]) for name in output.variables}
        output = output.assign({name: arrays[name] for name in output.data_vars})
        output = output.assign_coords({name: arrays[name] for name in output.coords})
        output.to_zarr(
            folder / ARRAY,
            mode="w-",
            zarr_format=3,
            consolidated=False,
            write_empty_chunks=True,
            encoding={name: {"compressors": compressors} for name in output.variables},
        )
    files = {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    size = sum((folder / name).stat().st_size for name in files)
    manifest = json.dumps({**provenance, "rows": rows, "files": files}, indent=1).encode()
    _, digest = durable.write_aside(folder / MANIFEST, [manifest])
    _flush(folder)
    return Part(folder.name, digest, size, rows)


def publish_part(staged: Path, target: Path) -> None:
    """Move a flushed part to its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(target)
    durable.flush_folder(target.parent)


def discard_part(folder: Path) -> None:
    """Remove a part that is not, or no longer, published."""
    shutil.rmtree(folder, ignore_errors=False)


def read_part(folder: Path, *, blake3_digest: str) -> Output:
    """Read a part; arrays are lazy.

    Raises
    ------
    ResultDamagedError
        If the part is missing or its manifest has changed.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file() or _digest(manifest) != blake3_digest:
        raise ResultDamagedError(
            f"{folder} is missing or has changed since it was published; compute it again with "
            "--force"
        )
    if (folder / TABLE).is_file():
        table = pq.read_table(folder / TABLE, page_checksum_verification=True)
        return table.to_pandas()
    return xr.open_zarr(folder / ARRAY, consolidated=False)


def _plain(variable: xr.DataArray) -> xr.DataArray:
    """Return a variable without the encoding that it was read with."""
    return variable.drop_encoding()


def _digest(path: Path) -> str:
    return str(blake3().update_mmap(path).hexdigest())


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            durable.flush_folder(path)
        else:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    durable.flush_folder(folder)
    durable.flush_folder(folder.parent)
