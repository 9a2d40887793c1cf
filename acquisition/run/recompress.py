"""Packing the frames of a closed run anew: another run, with the same pixels.

An object of a run is written once and never changed, the log has the digest of each, and each line
of the log has that of the line before.  So frames that are packed otherwise are those of another
run.  It has an identity of its own, says what it was made from, and tells of the same frames, the
same losses and the same notes at the same times.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from blake3 import blake3

from forebay.acquisition.arguments import check_run
from forebay.acquisition.clock import SystemClock
from forebay.acquisition.errors import RunDamagedError, RunNotFoundError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.format.layout import COORDINATES, FRAMES
from forebay.acquisition.format.record import Block, Dropped
from forebay.acquisition.frames import Frame, FrameFlag
from forebay.acquisition.run.blocks import BlockArray
from forebay.acquisition.run.reader import Run, open_run
from forebay.acquisition.run.writing.writer import RunWriter

PROVENANCE = "recompressed"
"""Where the provenance of the new run says what it was made from."""
_NAMESPACE = uuid.UUID("0b9f6d1e-52a4-4c41-9f0e-6f3c1a6f1d57")


def recompressed_id(run: Run, compression: CompressionName) -> str:
    """Return the identity of what `recompress` makes of a run: the same one each time."""
    return str(uuid.uuid5(_NAMESPACE, f"{run.run_id} {run.history.last_digest} {compression}"))


def recompress(
    run: Run,
    path: str | os.PathLike[str],
    compression: CompressionName,
    *,
    on_block: Callable[[Block], None] = lambda _: None,
) -> Run:
    """Write the frames of a closed run into a new run, packed otherwise.

    Parameters
    ----------
    run
        The run; its frames are of any integer or float type.
    path
        Folder of the new run; its last part is the new run's name.
    compression
        How its frames are packed.
    on_block
        Called after each block, to show progress.

    Returns
    -------
    Run
        The new run, closed.  A digest of all pixels, taken from the first run, has been compared
        with what was read back from it, and stands in its last note.

    Raises
    ------
    RunNotFoundError
        If the run is not closed.
    RunExistsError
        If there is something at `path`.
    RunDamagedError
        If a block of the run is missing or has changed, or the new one does not give back the same
        pixels.
    StorageError
        If the new run cannot be written.
    """
    check_run(run)
    closed = run.history.closed
    if closed is None:
        raise RunNotFoundError(f"{run.location} is not closed: only what is whole is packed anew")
    made_from = {
        "run_id": run.run_id,
        "compression": run.layout.compression.name,
        "log": run.history.last_digest,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    clock = _Retold(datetime.fromisoformat(run.layout.created))
    writer = RunWriter.create(
        path,
        run.layout.geometry,
        metadata=run.layout.metadata,
        provenance={**run.layout.provenance, PROVENANCE: made_from},
        frames_per_block=run.layout.frames_per_block,
        compression=compression,
        clock=clock,
        run_id=recompressed_id(run, compression),
    )
    try:
        pixels = _retell(run, writer, clock, on_block)
        clock.now = closed.at
        writer.note(
            "event",
            f"packed anew as {compression} from {run.run_id}; BLAKE3 digest of all pixels {pixels}",
        )
        writer.close(reason=closed.reason)
    finally:
        writer.abandon()
    made = open_run(Path(path))
    if pixels_digest(made) != pixels or made.frames.shape != run.frames.shape:
        raise RunDamagedError(
            f"{path} does not give back the pixels of {run.location}: remove it, and look after "
            "the storage that it lies on"
        )
    return made


def pixels_digest(run: Run) -> str:
    """Return the BLAKE3 digest of all pixels of a run, frame after frame, however it packs them.

    Parameters
    ----------
    run
        The run; its pixels are taken in C order and little-endian.

    Raises
    ------
    RunDamagedError
        If a block is missing or has changed.
    """
    digest = blake3()
    for block in run.blocks:
        digest.update(_pixel_bytes(_array(run, FRAMES, block)))
    return str(digest.hexdigest())


class _Retold(SystemClock):
    """The times of the run that is told again.

    Parameters
    ----------
    begin
        When it was made.
    """

    def __init__(self, begin: datetime) -> None:
        self.now = round(begin.timestamp() * 1e6) * 1000

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return self.now


def _retell(run: Run, writer: RunWriter, clock: _Retold, on_block: Callable[[Block], None]) -> str:
    """Give a writer everything that is in a run; return the digest of its pixels."""
    digest = blake3()
    notes = list(run.notes)

    def note_before(counter: int | None) -> None:
        while notes and (
            counter is None or notes[0].counter is None or notes[0].counter <= counter
        ):
            clock.now = notes[0].at
            writer.note(notes[0].topic, notes[0].text)
            del notes[0]

    def drop(dropped: Dropped) -> None:
        note_before(dropped.first)
        clock.now = dropped.at
        writer.drop(dropped.first, dropped.last, reason=dropped.reason)

    for block in run.blocks:
        dropped = list(block.dropped)
        for frame in _frames(run, block):
            while dropped and dropped[0].first < frame.counter:
                drop(dropped.pop(0))
            note_before(frame.counter)
            digest.update(_pixel_bytes(frame.data))
            writer.append(frame)
        for each in dropped:
            drop(each)
        on_block(block)
    if run.history.closed is not None:
        for each in run.history.closed.dropped:
            drop(each)
    note_before(None)
    return str(digest.hexdigest())


def _frames(run: Run, block: Block) -> Iterator[Frame]:
    pixels = _array(run, FRAMES, block)
    along = {name: _array(run, name, block) for name in COORDINATES}
    for place, data in enumerate(pixels):
        yield Frame(
            counter=int(along["frame_id"][place]),
            timestamp=int(along["timestamp"][place]),
            data=data,
            flags=FrameFlag(int(along["flags"][place])),
        )


def _array(run: Run, name: str, block: Block) -> np.ndarray:
    return np.asarray(BlockArray(name, run.layout, (block,), run.objects)[:])


def _pixel_bytes(pixels: np.ndarray) -> memoryview:
    """Return pixels as they are digested: in C order, little-endian."""
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return memoryview(plain.reshape(-1).view("u1"))
