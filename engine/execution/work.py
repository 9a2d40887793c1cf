"""What a worker does for a unit: one task that reads, computes and stages."""

import threading
import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask.array as da
import numpy as np
import xarray as xr
from zarr.core.buffer import BufferPrototype

from forebay.acquisition import Block, Run
from forebay.acquisition.errors import RunDamagedError
from forebay.cluster.keeping.time_left import time_left
from forebay.engine.definition import Algorithm, WholeRun
from forebay.engine.errors import OutputError, ResultStorageError
from forebay.engine.execution.call import call
from forebay.engine.execution.dask_names import forget_names
from forebay.engine.execution.local_dask import computed_here
from forebay.engine.execution.notes import WORKER_DIED, AttemptNotes, Computed, Failed, NotBegun
from forebay.engine.execution.pieces import in_pieces
from forebay.engine.execution.placement import placed, prototype_of_worker
from forebay.engine.execution.recent_log import RecentLog
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.results.folder import new_part_name
from forebay.engine.results.output import Output
from forebay.engine.results.part import read_state, write_part
from forebay.engine.results.provenance import provenance
from forebay.engine.unit import Unit, seen_bytes
from forebay.tiering.errors import ArchivedError, RecallUnderWayError

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
    blocks: Sequence[Block]
    """The blocks to read."""
    staging: Path
    """Folder in which to put the part."""
    state: "KeptState | None" = None
    """What the unit before has left."""
    pieces: int = 1
    """In how many pieces, one after the other, to compute it."""
    seconds: float | None = None
    """How long it takes, as estimated; None where nobody knows."""

    @property
    def notes(self) -> AttemptNotes:
        """What workers note of this attempt."""
        return AttemptNotes.of(self.unit.identity, self.attempt, self.staging)


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


def compute_units(orders: Sequence[Order]) -> list[Computed | Failed | NotBegun]:
    """Compute units one after the other; see `compute_unit`."""
    return [compute_unit(order) for order in orders]


def compute_packed(packed: bytes, number: int) -> list[Computed | Failed | NotBegun]:
    """Compute units that were packed for another process; see `compute_unit`."""
    try:
        orders: list[Order] = cloudpickle.loads(packed)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (an algorithm's own modules may raise anything)
        line = f"this worker cannot load the algorithm: {error_line(error)}"
        trace = traceback.format_exc()
        return [Failed(Failure(FailureClass.INVALID, line, trace, _worker()))] * number
    return compute_units(orders)


def compute_unit(order: Order) -> Computed | Failed | NotBegun:
    """Compute a unit and stage its part; an exception comes back as a value.

    As a value it reaches the engine whatever its type is, also where the exception itself could
    not be sent.  Notes say that it is computed, and what has come of it: by them one knows what a
    worker was at when it died, and nothing is computed a second time under one attempt.
    """
    notes, worker = order.notes, _worker()
    left = time_left()
    if order.seconds is not None and left is not None and not left.is_enough(order.seconds):
        # It would be lost at the end of the worker's job.
        return NotBegun(
            f"its worker has {left.seconds:.0f} s left, and it takes {order.seconds:.0f} s"
        )
    try:
        with notes.making(worker) as making:
            outcome = _computed(order, worker)
            making.end(outcome)
            return outcome
    except FileExistsError:
        died = Failed(Failure(FailureClass.WORKER_LOST, WORKER_DIED, worker=notes.worker()))
        return notes.outcome() or died
    except OSError as error:
        gone = f"{type(error).__name__}: {order.staging} cannot be written here ({error.strerror})"
        missing = isinstance(error, FileNotFoundError)
        advice = "; workers and this process must see the same folder" if missing else ""
        return Failed(Failure(FailureClass.INPUT_OUTPUT, gone + advice, worker=worker))
    finally:
        forget_names()


def failure_of(error: BaseException) -> FailureClass:
    """Return the class of what an algorithm, or what is done around it, has raised."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FailureClass.OUT_OF_MEMORY
    if isinstance(error, RecallUnderWayError):
        return FailureClass.RECALLED
    if isinstance(error, ArchivedError):
        return FailureClass.ARCHIVED
    if isinstance(error, OutputError):
        # The next attempt would find it the same: somebody has to do something first.
        return FailureClass.INVALID
    if isinstance(error, OSError) and not isinstance(error, RunDamagedError):
        return FailureClass.INPUT_OUTPUT
    return FailureClass.RAISED


def _computed(order: Order, worker: str | None) -> Computed | Failed:
    started = time.monotonic()
    recent = RecentLog()
    try:
        with recent, computed_here(seen_bytes(order.run, order.unit)):
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
            part = write_part(
                order.staging,
                name,
                output,
                state=state,
                fixed=fixed_axes(order.unit, order.run),
                provenance=origin,
            )
        except OSError as error:
            cause = error.strerror or str(error)
            raise ResultStorageError(f"cannot write {order.staging}/{name}: {cause}") from error
    except BaseException as error:
        # Whatever an algorithm raises is the unit's failure, be it the end of the process or a
        # panic of compiled code: taken for the end of its worker, it would be tried for ever.
        if _interrupted_here(error):
            raise
        line = error_line(error)
        story = traceback.format_exc()
        return Failed(Failure(failure_of(error), line, story, worker, recent.text()))
    return Computed(part, time.monotonic() - started)


def fixed_axes(unit: Unit, run: Run) -> Collection[str] | None:
    """Return the axes that are as long in each part; None where there is but one part."""
    if isinstance(unit.job.needs, WholeRun):
        return None
    axes = run.layout.geometry.dims
    return axes[:-2] if unit.tiled else axes


def _interrupted_here(error: BaseException) -> bool:
    """Tell whether somebody has pressed Ctrl-C, which only the main thread is told of."""
    here = threading.current_thread() is threading.main_thread()
    return here and isinstance(error, KeyboardInterrupt)


def _call(order: Order, unit: Unit) -> tuple[Output, Output | None]:
    """Compute a unit, or a piece of it."""
    prototype = prototype_of_worker()
    before = placed(None if order.state is None else order.state.read(), prototype)
    frames = seen_frames(
        order.run, unit, order.blocks, prototype=prototype, eager=order.algorithm.eager
    )
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
    blocks: Sequence[Block],
    *,
    prototype: BufferPrototype | None = None,
    eager: bool = False,
) -> xr.DataArray:
    """Return the frames that a unit has to see, where a `prototype` of Zarr's puts them.

    Those of a block are read here, once, whatever the algorithm does with them; unless it is
    `eager`, they are given lazily all the same. Those of a whole run are read as the algorithm's
    graph asks for them.
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
    if eager:
        return loaded
    name = f"frames-{unit.identity}"
    return loaded.copy(data=da.from_array(loaded.data, chunks=-1, name=name))  # type: ignore[no-untyped-call]
