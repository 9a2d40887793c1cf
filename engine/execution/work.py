"""What a worker does for a unit: one task that reads, computes and stages."""

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask
import dask.array as da
import numpy as np
import xarray as xr
from zarr.core.buffer import BufferPrototype

from forebay.acquisition import Block, Run
from forebay.acquisition.errors import RunDamagedError
from forebay.engine.definition import Algorithm, WholeRun
from forebay.engine.errors import OutputError, ResultStorageError
from forebay.engine.execution.call import call
from forebay.engine.execution.dask_names import forget_names
from forebay.engine.execution.pieces import in_pieces
from forebay.engine.execution.placement import placed, prototype_of_worker
from forebay.engine.execution.recent_log import RecentLog
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.results.folder import new_part_name
from forebay.engine.results.output import Output
from forebay.engine.results.part import Part, read_state, write_part
from forebay.engine.results.provenance import provenance
from forebay.engine.unit import Unit
from forebay.tiering.errors import ArchivedError

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
    state: "KeptState | None" = None
    """What the unit before has left."""
    pieces: int = 1
    """In how many pieces, one after the other, to compute it."""


@dataclass(frozen=True, slots=True)
class KeptState:
    """The state that a published part holds for the next unit."""

    folder: Path
    """Folder of the part."""
    blake3: str
    """Digest of its manifest."""

    def read(self) -> Output | None:
        """Read it.

        Raises
        ------
        ResultDamagedError
            If it is missing or has changed.
        """
        return read_state(self.folder, blake3_digest=self.blake3)


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

    failure: Failure
    """Why."""


def compute_units(orders: Sequence[Order]) -> list[Computed | Failed]:
    """Compute units one after the other; see `compute_unit`."""
    return [compute_unit(order) for order in orders]


def compute_packed(packed: bytes, number: int) -> list[Computed | Failed]:
    """Compute units that were packed for another process; see `compute_unit`."""
    try:
        orders: list[Order] = cloudpickle.loads(packed)
    except Exception as error:  # noqa: BLE001 (an algorithm's own modules may raise anything)
        line = f"this worker cannot load the algorithm: {error_line(error)}"
        trace = traceback.format_exc()
        return [Failed(Failure(FailureClass.INVALID, line, trace, _worker()))] * number
    return compute_units(orders)


def compute_unit(order: Order) -> Computed | Failed:
    """Compute a unit and stage its part; an exception comes back as a value.

    As a value it reaches the engine whatever its type is, also where the exception itself could
    not be sent.  While it is computed a note says so: by it one knows what a worker was at when
    it died, and nothing is begun a second time under one attempt.
    """
    note = _begun_note(order)
    worker = _worker()
    try:
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return Failed(Failure(FailureClass.WORKER_LOST, WORKER_DIED, worker=noted_worker(order)))
    except OSError as error:
        gone = f"{type(error).__name__}: {order.staging} cannot be written here ({error.strerror})"
        advice = "; workers and this process must see the same folder"
        return Failed(Failure(FailureClass.INPUT_OUTPUT, gone + advice, worker=worker))
    with os.fdopen(descriptor, "w") as file:
        file.write(worker or "")
    try:
        return _computed(order, worker)
    finally:
        # An exception that is none of the unit's, such as the end of the worker, comes through.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)  # noqa: PTH108
        forget_names()


WORKER_DIED = "the worker died while it was at this unit"
"""The error of a unit whose worker was lost."""


def _begun_note(order: Order) -> str:
    """Return the file that is there while a worker is at a unit.

    A name that is used once is no `Path`: that interns it, and CPython 3.12 keeps it for ever.
    """
    return f"{order.staging}/{order.unit.identity}.{order.attempt}.begun"


def begun_at(order: Order) -> float | None:
    """Return when a unit was begun, by the storage's clock; None if no worker is at it."""
    try:
        return os.stat(_begun_note(order)).st_mtime  # noqa: PTH116
    except OSError:
        return None


def noted_worker(order: Order) -> str | None:
    """Return the worker that is, or was when it died, at a unit; None if it was not begun."""
    try:
        with open(_begun_note(order)) as note:  # noqa: PTH123
            return note.read()
    except OSError:
        return None


def failure_of(error: BaseException) -> FailureClass:
    """Return the class of what an algorithm, or what is done around it, has raised."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FailureClass.OUT_OF_MEMORY
    if isinstance(error, OutputError | ArchivedError):
        # The next attempt would find it the same: somebody has to do something first.
        return FailureClass.INVALID
    if isinstance(error, OSError) and not isinstance(error, RunDamagedError):
        return FailureClass.INPUT_OUTPUT
    return FailureClass.RAISED


def _computed(order: Order, worker: str | None) -> Computed | Failed:
    started = time.monotonic()
    recent = RecentLog()
    try:
        with recent, _local_dask():
            if order.pieces > 1:
                output: Output = in_pieces(
                    order.unit, order.pieces, lambda piece: _call(order, piece)[0]
                )
                state = None
            else:
                output, state = _call(order, order.unit)
        origin = provenance(order.unit, attempt=order.attempt, location=order.run.location)
        name = new_part_name(order.unit, order.staging)
        try:
            part = write_part(order.staging, name, output, state=state, provenance=origin)
        except OSError as error:
            cause = error.strerror or str(error)
            raise ResultStorageError(f"cannot write {order.staging}/{name}: {cause}") from error
    except Exception as error:  # noqa: BLE001 (whatever an algorithm raises is the unit's failure)
        line = error_line(error)
        story = traceback.format_exc()
        return Failed(Failure(failure_of(error), line, story, worker, recent.text()))
    return Computed(part, time.monotonic() - started)


def _call(order: Order, unit: Unit) -> tuple[Output, Output | None]:
    """Compute a unit, or a piece of it."""
    prototype = prototype_of_worker()
    before = placed(None if order.state is None else order.state.read(), prototype)
    frames = seen_frames(order.run, unit, order.blocks, prototype=prototype)
    return call(order.algorithm, unit, frames, order.arguments, state=before)


def _worker() -> str | None:
    """Return the address of the Dask worker that this runs on, if it does."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return None


def error_line(error: BaseException) -> str:
    """Return type and message of an exception in one line of bounded length."""
    message = " ".join(str(error).split())
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}…"


def seen_frames(
    run: Run,
    unit: Unit,
    blocks: tuple[Block, ...],
    *,
    prototype: BufferPrototype | None = None,
) -> xr.DataArray:
    """Return the frames that a unit has to see, lazily, where a `prototype` of Zarr's puts them.

    Those of a block are read here, once, whatever the algorithm does with them; those of a whole
    run are read as the algorithm's graph asks for them.
    """
    if isinstance(unit.job.needs, WholeRun):
        return run.frames_of(blocks, prototype=prototype)
    seen = unit.seen
    if unit.tiled:
        y, x = slice(seen.y.start, seen.y.stop), slice(seen.x.start, seen.x.stop)
        loaded = run.read(blocks, seen.t, y=y, x=x, prototype=prototype)
        loaded = loaded.assign_coords(y=np.arange(y.start, y.stop), x=np.arange(x.start, x.stop))
    else:
        loaded = run.read(blocks, seen.t, prototype=prototype)
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
