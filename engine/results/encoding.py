"""Arrays as the objects of a Zarr group, quickly where others of their kind came before.

xarray and Zarr take some ten milliseconds to write a few small arrays, nearly all of it for metadata
that are the same for each unit of a job.  What they wrote for the first arrays of a kind, of the same
names, types and shapes, serves for all that follow, if the bytes that come of it for those are the
same as theirs.
"""

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from forebay.acquisition.format.codec import crc32c

_METADATA = "zarr.json"
_CHUNK_BYTES = 64 * 2**20
_FLAT_KEYS = {"name": "default", "separator": "."}
"""A folder for each axis would have to be made and flushed."""
_ZSTD_LEVEL = 1
_TIMES = "mM"
"""Kinds of dtypes whose values are kept as numbers, with a unit that depends on them."""
_MOST_KINDS = 256

type _Objects = dict[str, memoryview]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What Zarr has written for arrays of a kind, but for their values."""

    group: dict[str, Any]
    """The metadata of the group, without those of the arrays."""
    documents: Mapping[str, dict[str, Any]]
    """The metadata of each array, in their order."""
    texts: Mapping[str, bytes]
    """The same as they were written."""


_kinds: dict[Hashable, _Kind | None] = {}


def encode_arrays(arrays: xr.Dataset) -> _Objects:
    """Return the objects of a Zarr group that holds `arrays`, by key.

    A variable is one chunk, or several along its first axis if it is large; the group's metadata
    hold those of all variables, so that one object tells a reader everything.
    """
    plain = arrays.drop_encoding()
    values = _values(plain)
    name = _name_of_kind(plain, values)
    if name is not None and (known := _kinds.get(name)) is not None:
        return _as_before(values, known)
    objects, kind = _by_zarr(plain)
    if name is not None and name not in _kinds:
        if len(_kinds) >= _MOST_KINDS:
            _kinds.clear()
        _kinds[name] = kind if _as_before(values, kind) == objects else None
    return objects


def _values(arrays: xr.Dataset) -> dict[str, xr.Variable]:
    """Return variables as they are kept, times as numbers with their unit."""
    # The same arrays are to be the same bytes: coordinates of arrays that were put together come
    # in any order.
    names = [*arrays.data_vars, *sorted(arrays.coords, key=str)]
    return {
        str(name): xr.conventions.encode_cf_variable(variable)
        if variable.dtype.kind in _TIMES
        else variable
        for name in names
        for variable in (arrays.variables[name],)
    }


def _name_of_kind(arrays: xr.Dataset, values: Mapping[str, xr.Variable]) -> Hashable | None:
    """Return what tells one kind of arrays from another; None for those that are too large."""
    if any(each.ndim and _chunks(each)[0] < each.shape[0] for each in values.values()):
        return None
    variables = tuple(
        (name, each.dims, each.dtype.str, each.shape, arrays[name].dtype.kind in _TIMES,
         repr(arrays[name].attrs))
        for name, each in values.items()
    )  # fmt: skip
    return variables, tuple(arrays.coords), repr(arrays.attrs)


def _by_zarr(arrays: xr.Dataset) -> tuple[_Objects, _Kind]:
    """Return the objects as xarray and Zarr write them, and what others of the kind need of them."""
    stored: dict[str, Buffer] = {}
    arrays.to_zarr(
        MemoryStore(stored),
        mode="w-",
        zarr_format=3,
        consolidated=False,
        write_empty_chunks=True,
        encoding={name: _encoding(variable) for name, variable in arrays.variables.items()},
    )
    names = [str(each) for each in (*arrays.data_vars, *sorted(arrays.coords, key=str))]
    texts = {name: stored.pop(f"{name}/{_METADATA}").to_bytes() for name in names}
    documents = {name: json.loads(text) for name, text in texts.items()}
    kind = _Kind(json.loads(stored.pop(_METADATA).to_bytes()), documents, texts)
    chunks = {key: memoryview(stored[key].as_numpy_array()) for key in sorted(stored)}
    return _together(kind, documents, texts, chunks), kind


def _as_before(values: Mapping[str, xr.Variable], kind: _Kind) -> _Objects:
    """Return the objects of arrays of a kind that is known."""
    documents, texts = dict(kind.documents), dict(kind.texts)
    chunks: _Objects = {}
    for name, variable in values.items():
        before = documents[name]["attributes"]
        changed = {key: variable.attrs[key] for key in ("units",) if key in variable.attrs}
        if {**before, **changed} != before:
            documents[name] = {**documents[name], "attributes": {**before, **changed}}
            texts[name] = json.dumps(documents[name], indent=2).encode()
        if variable.size:
            chunks[f"{name}/c{'.0' * variable.ndim}"] = _chunk(variable.to_numpy())
    return _together(kind, documents, texts, {key: chunks[key] for key in sorted(chunks)})


def _together(
    kind: _Kind, documents: Mapping[str, Any], texts: Mapping[str, bytes], chunks: _Objects
) -> _Objects:
    consolidated = {"kind": "inline", "must_understand": False, "metadata": documents}
    group = json.dumps({**kind.group, "consolidated_metadata": consolidated})
    metadata = {f"{name}/{_METADATA}": memoryview(text) for name, text in texts.items()}
    return {**chunks, **metadata, _METADATA: memoryview(group.encode())}


def _chunk(values: np.ndarray[Any, Any]) -> memoryview:
    """Return values as Zarr's codecs pack them."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    packed = bytes(numcodecs.Zstd(level=_ZSTD_LEVEL).encode(little.reshape(-1).view(np.uint8)))
    return memoryview(packed + crc32c(packed))


def _chunks(variable: xr.Variable) -> tuple[int, ...]:
    if not variable.ndim:
        return ()
    row = variable.dtype.itemsize * math.prod(variable.shape[1:])
    rows = max(1, min(variable.shape[0], _CHUNK_BYTES // max(1, row)))
    return rows, *(max(1, length) for length in variable.shape[1:])


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    encoding: dict[str, Any] = {
        "compressors": (ZstdCodec(level=_ZSTD_LEVEL), Crc32cCodec()),
        "chunk_key_encoding": _FLAT_KEYS,
    }
    if variable.ndim:
        encoding["chunks"] = _chunks(variable)
    return encoding
