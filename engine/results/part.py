"""A part: what one unit computed, as files with their digests."""

import json
import os
from collections.abc import Buffer, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from forebay.acquisition import durable
from forebay.engine.errors import OutputError
from forebay.engine.results.arrays import open_arrays
from forebay.engine.results.encoding import encode_arrays
from forebay.engine.results.files import MANIFEST, PartFiles
from forebay.engine.results.form import form_of
from forebay.engine.results.output import Output, keepable

ARRAYS = "data.zarr"
TABLE = "table.parquet"
STATE_ARRAYS = "state.zarr"
STATE_TABLE = "state.parquet"


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
    form: str | None = None
    """What it has in common with the other parts of its result; None for one that stands alone."""


def write_part(
    parent: Path,
    name: str,
    output: Output,
    *,
    state: Output | None = None,
    fixed: Collection[str] | None = None,
    provenance: Mapping[str, Any],
) -> Part:
    """Write a part into a new folder, with its provenance beside it, and flush every byte.

    Parameters
    ----------
    parent
        Where its folder goes.
    name
        The part's name, and that of its folder.
    output
        What it holds.
    state
        What the next unit goes on with.
    fixed
        The axes along which all parts of its result are alike; None for a part that stands alone.
    provenance
        Where it comes from, as JSON.

    Raises
    ------
    OutputError
        If an output cannot be kept.
    """
    kept = keepable(output)
    form = None if fixed is None else form_of(kept, fixed=fixed)
    rows = len(output) if isinstance(output, pd.DataFrame) else None
    # A name that is used once is no `Path`: that interns it, and CPython 3.12 keeps it for ever.
    folder = f"{parent}/{name}"
    # A late worker must not make anew the place that was taken away from it.
    os.mkdir(folder)  # noqa: PTH102
    files: dict[str, dict[str, Any]] = {}
    # The name of the part's own folder is made durable by whoever moves it to its place.
    folders = {folder}
    for key, content in encode_part(kept, state).items():
        above = os.path.dirname(key)  # noqa: PTH120
        os.makedirs(f"{folder}/{above}", exist_ok=True)  # noqa: PTH103
        size, digest = durable.write_aside(f"{folder}/{key}", [content])
        files[key] = {"bytes": size, "blake3": digest}
        while above:
            folders.add(f"{folder}/{above}")
            above = os.path.dirname(above)  # noqa: PTH120
    manifest = json.dumps({**provenance, "rows": rows, "files": files}, indent=1).encode()
    _, digest = durable.write_aside(f"{folder}/{MANIFEST}", [manifest])
    for each in folders:
        durable.flush_folder(each)
    return Part(name, digest, sum(file["bytes"] for file in files.values()), rows, form)


def encode_part(kept: pa.Table | xr.Dataset, state: Output | None) -> dict[str, Buffer]:
    """Return the files of a part, but for its manifest, by their place in its folder.

    Raises
    ------
    OutputError
        If something cannot be kept.
    """
    encoded = _encode(kept, ARRAYS, TABLE)
    if state is not None:
        encoded |= _encode(keepable(state), STATE_ARRAYS, STATE_TABLE)
    return encoded


def read_part(folder: Path, *, blake3_digest: str) -> Output:
    """Read a part, from whichever tier it lies in; arrays are lazy.

    Raises
    ------
    ResultDamagedError
        If something of it is missing or has changed.
    """
    files = PartFiles(folder)
    return _read(files, files.digests(blake3_digest), ARRAYS, TABLE)


def read_state(folder: Path, *, blake3_digest: str) -> Output | None:
    """Read the state that a part has left for the next unit; None if it has left none.

    Raises
    ------
    ResultDamagedError
        If something of it is missing or has changed.
    """
    files = PartFiles(folder)
    digests = files.digests(blake3_digest)
    if STATE_TABLE not in digests and f"{STATE_ARRAYS}/zarr.json" not in digests:
        return None
    state = _read(files, digests, STATE_ARRAYS, STATE_TABLE)
    return state.load() if isinstance(state, xr.Dataset) else state


def _read(files: PartFiles, digests: Mapping[str, str], arrays: str, table: str) -> Output:
    if table in digests:
        content = files.read(table, digests[table])
        rows: pd.DataFrame = pq.ParquetFile(pa.BufferReader(content)).read().to_pandas()
        return rows
    within = {
        name.removeprefix(f"{arrays}/"): digest
        for name, digest in digests.items()
        if name.startswith(f"{arrays}/")
    }
    return open_arrays(files, arrays, within)


def _encode(kept: pa.Table | xr.Dataset, arrays: str, table: str) -> dict[str, Buffer]:
    """Return the files of an output."""
    if isinstance(kept, xr.Dataset):
        try:
            encoded = encode_arrays(kept)
        except (TypeError, ValueError) as error:
            raise OutputError(
                f"the arrays cannot be kept as Zarr ({' '.join(map(str, error.args))}); give them "
                "numbers, times or texts, and attributes that JSON can hold"
            ) from error
        return {f"{arrays}/{key}": content for key, content in encoded.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(kept, sink, compression="zstd", write_page_checksum=True)
    return {table: sink.getvalue()}
