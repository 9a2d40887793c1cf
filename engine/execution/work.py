"""What a worker does for a unit: one task that reads, computes and stages."""

import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import compute

from forebay.acquisition import Block, Run
from forebay.engine.algorithm import Algorithm, WholeRun
from forebay.engine.errors import ResultStorageError
from forebay.engine.results.folder import new_part_name
from forebay.engine.results.output import normalise
from forebay.engine.results.part import Part, write_part
from forebay.engine.results.provenance import provenance
from forebay.engine.results.trim import trim
from forebay.engine.unit import Unit

_LINE_CHARACTERS = 500
"""How much of an exception's message is kept: an algorithm may put a whole array into it."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that a worker needs to know to compute a unit."""

    unit: Unit
    """The unit."""
    attempt: int
    """Number of this attempt."""
    algorithm: Algorithm
    """What to compute."""
    arguments: dict[str, Any]
    """Its parameters, of the types that it declares."""
    run: Run
    """The run, without its history."""
    blocks: tuple[Block, ...]
    """The blocks to read."""
    staging: Path
    """Folder in which to put the part."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A unit was computed, and its part lies in the staging folder."""

    part: Part
    """The part."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit could not be computed."""

    error: str
    """Type and message of the exception, in one line."""
    traceback: str
    """Where it was raised."""


def compute_unit(order: Order) -> Computed | Failed:
    """Compute a unit and stage its part; an exception comes back as a value.

    As a value it reaches the engine whatever its type is, also where the exception itself could
    not be sent.
    """
    started = time.monotonic()
    try:
        with _local_dask():
            returned = order.algorithm(_frames(order), **order.arguments)
            (returned,) = compute(returned)  # type: ignore[no-untyped-call]
        output = trim(normalise(returned, algorithm=order.algorithm.label), order.unit)
        origin = provenance(order.unit, attempt=order.attempt, location=order.run.location)
        folder = order.staging / new_part_name(order.unit, order.staging)
        try:
            part = write_part(folder, output, provenance=origin)
        except OSError as error:
            cause = error.strerror or str(error)
            raise ResultStorageError(f"cannot write {folder}: {cause}") from error
    except Exception as error:  # noqa: BLE001 (whatever an algorithm raises is the unit's failure)
        return Failed(error_line(error), traceback.format_exc())
    return Computed(part, time.monotonic() - started)


def error_line(error: BaseException) -> str:
    """Return type and message of an exception in one line of bounded length."""
    message = " ".join(str(error).split())
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}…"


def _frames(order: Order) -> xr.DataArray:
    """Return the frames that the unit has to see, lazily.

    Those of a block are read here, once, whatever the algorithm does with them; those of a whole
    run are read as the algorithm's graph asks for them.
    """
    frames = order.run.frames_of(order.blocks)
    unit = order.unit
    if isinstance(unit.job.needs, WholeRun):
        return frames
    seen = unit.seen
    first = order.blocks[0].extent.start
    frames = frames.isel(t=slice(seen.t.start - first, seen.t.stop - first))
    if unit.tiled:
        frames = frames.isel(y=slice(seen.y.start, seen.y.stop), x=slice(seen.x.start, seen.x.stop))
        frames = frames.assign_coords(
            y=np.arange(seen.y.start, seen.y.stop), x=np.arange(seen.x.start, seen.x.stop)
        )
    loaded = frames.compute()
    name = f"frames-{unit.identity}"
    return loaded.copy(data=da.from_array(loaded.data, chunks=-1, name=name))  # type: ignore[no-untyped-call]


_computing = 0
_computing_lock = threading.Lock()
_configured: Any = None


@contextmanager
def _local_dask() -> Iterator[None]:
    """Make Dask compute within this process, on threads, while any unit is at it.

    A worker's own tasks would otherwise be sent to the cluster that waits for them.  Dask keeps
    the setting for the whole process, so that it is taken back only when the last unit is done.
    """
    global _computing, _configured
    with _computing_lock:
        if _computing == 0:
            _configured = dask.config.set(scheduler="threads")
            _configured.__enter__()
        _computing += 1
    try:
        yield
    finally:
        with _computing_lock:
            _computing -= 1
            if _computing == 0:
                _configured.__exit__(None, None, None)
