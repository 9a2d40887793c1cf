"""A run in a bucket of an object store: making it, and taking it over."""

import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blake3 import blake3
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Bucket
from zarr.storage import ObjectStore

from forebay.acquisition.arguments import check_clock
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import (
    ArgumentError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    StorageError,
)
from forebay.acquisition.format import layout
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.format.history import History, replay
from forebay.acquisition.format.layout import METADATA
from forebay.acquisition.format.logs import row_object_key
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.run.reader import open_run
from forebay.acquisition.run.writing.account import NOT_DELIVERED, NOT_RECORDED
from forebay.acquisition.run.writing.create import first_lines, new_layout, opening_line
from forebay.acquisition.run.writing.folder import documents
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.storage.bucket import BucketStorage
from forebay.acquisition.storage.conditional import ConditionalPuts, KeyTakenError, refusal

SHOW_EVERY = 1.0
"""Seconds between two times that a growing run is shown; each takes five requests."""

_SEALINGS = 16
"""Times that the end of a log is sought while its writer goes on committing."""


def create_run_in(
    store: ObjectStore[Bucket],
    name: str,
    geometry: Geometry,
    *,
    metadata: ImageMetadata | None,
    provenance: Mapping[str, Any] | None = None,
    frames_per_block: int,
    compression: CompressionName,
    clock: Clock,
    show_every: float = SHOW_EVERY,
    gap: str = NOT_DELIVERED,
) -> WritableRun:
    """Make a new run in a bucket.

    Parameters
    ----------
    store
        Zarr store over the bucket, whose root is to be the run.
    name
        What the run is called.
    geometry, metadata, provenance, frames_per_block, compression, clock, show_every, gap
        As for `create_run`.

    Raises
    ------
    RunExistsError
        If there is something at that place.
    RunNameError, FrameError, SourceError
        If the name, the geometry or the metadata cannot be a run's.
    StorageError
        If the store is for reading only, or the bucket refuses, does not answer, or knows no
        conditional puts.
    """
    run = new_layout(
        name,
        geometry,
        metadata=metadata,
        provenance=provenance,
        frames_per_block=frames_per_block,
        compression=compression,
        clock=clock,
    )
    at = Position()
    where = _checked_writable(store)
    taken = RunExistsError(
        f"{where} exists already: give the run another name, or remove what is there"
    )
    puts = ConditionalPuts(store.store, where=where, epoch=at.epoch)
    # What a bucket refuses it says better when it is asked for an object than for a list.
    with _bucket_errors(where):
        if puts.look(METADATA) or Objects(store).names(""):
            raise taken
    lines = first_lines(run, at, clock)
    if not _put_first(puts, at.epoch, lines):
        raise taken
    if _put_first(puts, at.epoch, lines):
        raise StorageError(
            f"cannot write {where}: this store puts an object in the place of another although it "
            "was told not to; a run needs one that knows conditional puts (If-None-Match)"
        )
    storage = BucketStorage(store.store, where=where, epoch=at.epoch)
    storage.show(documents(run, 0))
    return WritableRun(
        run,
        storage,
        at,
        clock,
        gap=gap,
        usual_gap=gap,
        release=_hold_nothing,
        show_every=show_every,
    )


def take_over_run(
    store: ObjectStore[Bucket], *, clock: Clock, show_every: float = SHOW_EVERY
) -> WritableRun:
    """Become the writer of a run in a bucket, behind its last committed block.

    A bucket has no lock that ends with its holder, so nobody can tell whether the run has a
    writer.  One that is still there is shut out: what it has not committed is lost, and its next
    commit ends it with `RunTakenOverError`.

    Parameters
    ----------
    store
        Zarr store over the bucket, whose root is the run.
    clock, show_every
        As for `resume_run`.

    Raises
    ------
    RunNotFoundError
        If there is no run.
    RunLockedError
        If another writer takes the run over at the same time.
    RunExistsError
        If the run is closed, so that nothing can be added.
    RunDamagedError
        If its log has changed.
    StorageError
        If the store is for reading only, or the bucket refuses or does not answer.
    """
    check_clock(clock)
    where = _checked_writable(store)
    with _bucket_errors(where):
        history = _sealed(store, where=where)
    run = history.layout
    if run is None:
        raise RunNotFoundError(f"{where} is not a run: nothing says what its frames are")
    at = Position.after(history)
    puts = ConditionalPuts(store.store, where=where, epoch=at.epoch)
    if not _put_first(puts, at.epoch, opening_line(run, at, history.log_bytes, clock)):
        raise RunLockedError(f"{where} is being taken over by another writer: leave the run to it")
    storage = BucketStorage(store.store, where=where, epoch=at.epoch)
    storage.show(documents(run, at.frames))
    return WritableRun(
        run,
        storage,
        at,
        clock,
        gap=NOT_RECORDED,
        release=_hold_nothing,
        show_every=show_every,
    )


def _checked_writable(store: ObjectStore[Bucket]) -> str:
    """Return the name of the place, if it was opened for writing."""
    if not isinstance(store, ObjectStore):
        raise ArgumentError(
            f"{reprlib.repr(store)} is no store over a bucket: give a zarr.storage.ObjectStore"
        )
    if store.read_only:
        raise StorageError(f"cannot write {store}: it was opened for reading only")
    return str(store)


def _sealed(store: ObjectStore[Bucket], *, where: str) -> History:
    """Return what the logs of a run say once nothing can come to the last one any more."""
    objects = Objects(store)
    history = _history(store, objects, where=where)
    for _ in range(_SEALINGS):
        if history.closed:
            _show_again(store, history, where=where)
            raise RunExistsError(f"{where} is closed and whole: nothing is appended to it any more")
        if _seal(store, history, where=where):
            return history
        history = replay(objects, since=history)
    raise RunLockedError(
        f"{where} is being written, and its writer commits too often to be shut out: stop it"
    )


def _history(store: ObjectStore[Bucket], objects: Objects, *, where: str) -> History:
    # Whoever made the run may have died between its log and what is shown of it.
    shown = ConditionalPuts(store.store, where=where, epoch=0).look(METADATA)
    if not objects.names(layout.LOG):
        raise RunNotFoundError(
            f"{where} is not a run: it has no {layout.LOG}; check the name and the bucket"
        )
    history = open_run(store).history if shown else replay(objects)
    if history.log_objects is None:
        raise StorageError(
            f"cannot write {where}: its log is a file, as in a folder, and no file of a bucket can "
            "grow; copy the run to a folder and go on there"
        )
    return history


def _seal(store: ObjectStore[Bucket], history: History, *, where: str) -> bool:
    """Put the object that ends the last log; tell whether there is one."""
    puts = ConditionalPuts(store.store, where=where, epoch=history.epoch + 1)
    try:
        puts.put(
            row_object_key(history.epoch, history.log_objects or 0),
            [],
            digest=blake3().hexdigest(),
        )
    except KeyTakenError as taken:
        # An empty one is the seal of somebody who died before he went on, or is at it.
        return taken.found.bytes == 0
    return True


def _show_again(store: ObjectStore[Bucket], history: History, *, where: str) -> None:
    """Show all of a closed run: its writer may have died before it did.

    One whose documents are gone was moved elsewhere, and its frames are not here to be shown.
    """
    shown = ConditionalPuts(store.store, where=where, epoch=0).look(METADATA)
    if shown and history.layout is not None:
        storage = BucketStorage(store.store, where=where, epoch=history.epoch)
        storage.show(documents(history.layout, history.frames))


def _put_first(puts: ConditionalPuts, epoch: int, lines: bytes) -> bool:
    """Put the first object of a log; tell whether there was none."""
    try:
        puts.put(row_object_key(epoch, 0), [lines], digest=blake3(lines).hexdigest())
    except KeyTakenError:
        return False
    return True


@contextmanager
def _bucket_errors(where: str) -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StorageError(refusal(where, error)) from error


def _hold_nothing() -> None:
    """Let go of nothing: what holds a run in a bucket is its place in the log."""
