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

from forebay.acquisition import Block, Run
from forebay.engine.algorithm import Algorithm, Blockwise
from forebay.engine.results.part import Part, normalise, write_part
from forebay.engine.results.provenance import provenance
from forebay.engine.results.trim import trim
from forebay.engine.unit import Unit


@dataclass(frozen=True, slots=True)
class Order:
    """All that a worker needs to know to compute a unit."""

    unit: Unit
    """The unit."""
    attempt: int
    """Number of this attempt."""
    algorithm: Algorithm
    """What to compute."""
    run: Run
    """The run, as far as it had come; its history holds no more than the blocks to read."""
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
    folder = order.staging / f"{order.unit.label}-{order.unit.identity[:12]}.{order.attempt}"
    try:
        with _local_dask():
            returned = order.algorithm(_frames(order), **order.unit.job.parameters)
            if isinstance(returned, xr.DataArray | xr.Dataset):
                returned = returned.compute()
        output = trim(normalise(returned, algorithm=order.algorithm.label), order.unit)
        origin = provenance(order.unit, attempt=order.attempt, location=order.run.location)
        part = write_part(folder, output, provenance=origin)
    except Exception as error:  # noqa: BLE001 (whatever an algorithm raises is the unit's failure)
        line = " ".join(str(error).split())
        return Failed(f"{type(error).__name__}: {line}", traceback.format_exc())
    return Computed(part, time.monotonic() - started)


def _frames(order: Order) -> xr.DataArray:
    """Return the frames that the unit has to see, lazily.

    Those of a block are read here, once, whatever the algorithm does with them; those of a whole
    run are read as the algorithm's graph asks for them.
    """
    frames = order.run.frames_of(order.blocks)
    if not isinstance(order.algorithm.needs, Blockwise):
        return frames
    seen = order.unit.seen
    first = order.blocks[0].extent.start
    frames = frames.isel(t=slice(seen.t.start - first, seen.t.stop - first))
    if order.algorithm.needs.tile_pixels is not None:
        frames = frames.isel(y=slice(seen.y.start, seen.y.stop), x=slice(seen.x.start, seen.x.stop))
        frames = frames.assign_coords(
            y=np.arange(seen.y.start, seen.y.stop), x=np.arange(seen.x.start, seen.x.stop)
        )
    loaded = frames.compute()
    return loaded.copy(data=da.from_array(loaded.data, chunks=-1, name=f"frames-{order.unit.label}"))


_computing = 0
_computing_lock = threading.Lock()
_configured: Any = None


@contextmanager
def _local_dask() -> Iterator[None]:
    """Make Dask compute within this process, on threads, while any unit is at it.

    A worker's own tasks would otherwise be sent to the cluster that waits for them.  Dask keeps
    the setting for the whole process, so that it is taken back only when the last unit is done.
    """
    global _computing, _configured  # noqa: PLW0603
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
