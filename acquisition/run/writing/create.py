"""Making a new run, and becoming its writer."""

import json
import os
import reprlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forebay.acquisition import durable
from forebay.acquisition.arguments import check_clock
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import ArgumentError, FrameError, RunNameError
from forebay.acquisition.format import layout
from forebay.acquisition.format.codec import Compression, CompressionName
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import Created, Opened, Record, encode_line, line_digest
from forebay.acquisition.frames import Geometry, ImageMetadata, check_geometry, check_metadata
from forebay.acquisition.run.lock import writer_name
from forebay.acquisition.run.writing.account import NOT_DELIVERED
from forebay.acquisition.run.writing.folder import check_free, make_folder
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.storage.folder import FolderStorage


def create_run(
    path: str | os.PathLike[str],
    geometry: Geometry,
    *,
    name: str | None = None,
    metadata: ImageMetadata | None,
    provenance: Mapping[str, Any] | None = None,
    frames_per_block: int,
    compression: CompressionName,
    clock: Clock,
    run_id: str | None = None,
    direct: bool = False,
    show_every: float = 0.0,
    gap: str = NOT_DELIVERED,
) -> WritableRun:
    """Make a new run in a folder of its own.

    Parameters
    ----------
    path
        The folder.
    geometry
        The layout of every frame to come.
    name
        What the run is called; as the last part of its folder if not given.
    metadata
        What is known of the instrument.
    provenance
        What is done to the frames before they are recorded, as JSON.
    frames_per_block
        Frames that are committed together.
    compression
        How frames are packed.
    clock
        Source of the times in the log.
    run_id
        Identity of the run, a UUID; a new one if not given.
    direct
        Whether frames are written past the page cache where that can be done.
    show_every
        Seconds between two times that the arrays are shown while the run grows.
    gap
        Why counters are missing between its frames.

    Raises
    ------
    RunExistsError
        If there is something at `path`.
    RunNameError, FrameError, SourceError
        If the name, the geometry or the metadata cannot be a run's.
    StorageError
        If the folder cannot be made.
    """
    path = place_of_run(path)
    run = new_layout(
        path.name if name is None else name,
        geometry,
        metadata=metadata,
        provenance=provenance,
        frames_per_block=frames_per_block,
        compression=compression,
        clock=clock,
        run_id=run_id,
    )
    at = Position()
    lines = first_lines(run, at, clock)
    with durable.storage_errors(f"the run {path}"):
        check_free(path)
        lock = make_folder(path, run, lines)
        try:
            storage = FolderStorage(path, epoch=at.epoch, direct=direct)
        except BaseException:
            lock.release()
            raise
    return WritableRun(
        run,
        storage,
        at,
        clock,
        gap=gap,
        usual_gap=gap,
        release=lock.release,
        show_every=show_every,
    )


def place_of_run(path: object) -> Path:
    """Return the absolute path at which a run is to be made.

    Raises
    ------
    RunNameError
        If what was given is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise RunNameError(f"{path!r} is no place for a run: give its folder as text or as a path")
    return Path(path).absolute()


def new_layout(
    name: str,
    geometry: Geometry,
    *,
    metadata: ImageMetadata | None,
    provenance: Mapping[str, Any] | None,
    frames_per_block: int,
    compression: CompressionName,
    clock: Clock,
    run_id: str | None = None,
) -> RunLayout:
    """Return what never changes about a new run.

    Raises
    ------
    RunNameError, FrameError, SourceError, ArgumentError
        If the name, the geometry, the metadata or something else cannot be a run's.
    """
    layout.check_run_name(name)
    check_geometry(geometry)
    check_clock(clock)
    if frames_per_block < 1:
        raise FrameError(f"a block of {frames_per_block} frames cannot be; use 1 or more")
    return RunLayout(
        run_id=str(uuid.uuid4()) if run_id is None else _identity(run_id),
        name=name,
        created=datetime.fromtimestamp(clock.time_ns() / 1e9, UTC).isoformat(),
        geometry=geometry,
        frames_per_block=frames_per_block,
        compression=_compression(compression),
        metadata=check_metadata(ImageMetadata() if metadata is None else metadata),
        provenance=_json(provenance),
    )


def first_lines(run: RunLayout, at: Position, clock: Clock) -> bytes:
    """Return the first two lines of a run's first log, and move the position behind them."""
    return next_line(Created(run.attributes()), at) + opening_line(run, at, 0, clock)


def opening_line(run: RunLayout, at: Position, sealed_bytes: int, clock: Clock) -> bytes:
    """Return the line with which a writer's log begins, and move the position behind it."""
    opened = Opened(
        run_id=run.run_id,
        epoch=at.epoch,
        writer=writer_name(),
        at=clock.time_ns(),
        sealed_bytes=sealed_bytes,
    )
    return next_line(opened, at)


def next_line(record: Record, at: Position) -> bytes:
    """Return the line for a record behind a position of the log, and move the position on."""
    line = encode_line(record, previous=at.digest)
    at.digest = line_digest(line)
    return line


def _json(provenance: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the provenance if every JSON reader will understand it."""
    given = {} if provenance is None else provenance
    if not isinstance(given, Mapping):
        raise ArgumentError(f"provenance is {reprlib.repr(given)}: give a mapping, as JSON has it")
    try:
        json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the provenance cannot be kept as JSON: {error}") from error
    return given


def _compression(name: CompressionName) -> Compression:
    try:
        return Compression(name)
    except ValueError as error:
        raise ArgumentError(f"{error}: choose one of them") from error


def _identity(given: str) -> str:
    """Return the identity of a run if it is one."""
    try:
        uuid.UUID(given)
    except (AttributeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"run_id is {reprlib.repr(given)}: give the text of a UUID, or leave it out"
        ) from error
    return given
