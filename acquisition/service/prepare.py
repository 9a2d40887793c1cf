"""Putting an acquisition together, as the settings say."""

import contextlib
import dataclasses
import logging
import os
import threading
from typing import TYPE_CHECKING

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import FrameSource
from forebay.acquisition.run.finding import run_folder
from forebay.acquisition.run.reader import Run, open_run
from forebay.acquisition.run.writing.create import place_of_run
from forebay.acquisition.run.writing.leftovers import leftovers, spill_folders
from forebay.acquisition.run.writing.resume import resume_run
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.acquisition import Acquisition
from forebay.acquisition.service.continuing import check_continues, note_source, tell_kept
from forebay.acquisition.service.plan import Plan
from forebay.acquisition.service.raw_frames import (
    close_raw,
    earlier_raw,
    last_kept,
    settings_as_before,
    take_from_earlier,
)
from forebay.acquisition.settings import AcquisitionSettings

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket
    from zarr.storage import ObjectStore


_log = logging.getLogger("forebay.acquisition")


def prepare(
    source: FrameSource,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    settings: AcquisitionSettings,
    expected_frames: int | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Acquisition:
    """Make a new run and everything that an acquisition needs, and begin nothing.

    Parameters
    ----------
    source
        Where the frames come from.
    path
        Folder of the run to make.
    name
        What the run is called; as the last part of its folder if not given.
    settings
        How frames are recorded.
    expected_frames
        Frames that will come, where that is known: the disk must have room for them.
    clock
        Source of times.

    Returns
    -------
    Acquisition
        Its `run` does the rest; until then the run is there, without a frame.

    Raises
    ------
    RunExistsError, RunNameError
        If the run cannot be made.
    SourceError, FrameError, ReductionError
        If the frames cannot be recorded so.
    StorageError
        If the disk refuses, or has no room for the expected frames and their journal.
    """
    path = place_of_run(path)
    plan = Plan(source, settings, clock, expected=expected_frames)
    plan.check_room(path)
    if plan.raw is not None:
        plan.raw.check_place(path)
    with contextlib.ExitStack() as opened:
        called = path.name if name is None else name
        run = plan.create(path, called)
        opened.callback(run.abandon)
        raw = None if plan.raw is None else plan.raw.open(path, run.layout)
        if raw is not None:
            opened.callback(raw.abandon)
        acquisition = Acquisition(plan.parts(run, raw))
        opened.pop_all()
    return acquisition


def prepare_in(
    source: FrameSource,
    store: "ObjectStore[Bucket]",
    name: str,
    *,
    settings: AcquisitionSettings,
    clock: Clock = SYSTEM_CLOCK,
) -> Acquisition:
    """Make a new run in an object store, and everything that an acquisition needs.

    Parameters
    ----------
    source, settings, clock
        As for `prepare`.
    store
        Zarr store over the bucket, whose root is to be the run; for writing.
    name
        What the run is called.

    Returns
    -------
    Acquisition
        Its `run` does the rest.

    Raises
    ------
    RunExistsError, RunNameError
        If the run cannot be made.
    SourceError, FrameError, ReductionError
        If the frames cannot be recorded so, or the settings ask for what needs a folder.
    StorageError
        If the bucket refuses.
    """
    _check_for_bucket(settings)
    plan = Plan(source, settings, clock)
    with contextlib.ExitStack() as opened:
        run = plan.create_in(store, name)
        opened.callback(run.abandon)
        acquisition = Acquisition(plan.parts(run, None))
        opened.pop_all()
    return acquisition


def prepare_again(
    source: FrameSource,
    path: str | os.PathLike[str],
    *,
    settings: AcquisitionSettings,
    clock: Clock = SYSTEM_CLOCK,
) -> Acquisition:
    """Take up a run whose writer is gone, and make everything that an acquisition needs.

    The run keeps its compression and the size of its blocks, whatever the settings say.  Frames
    that were kept as they came are in a run beside it, which is gone on with if more are to be
    kept, and closed if not.

    Parameters
    ----------
    source, settings, clock
        As for `prepare`.
    path
        Folder of the run.

    Returns
    -------
    Acquisition
        Its `run` does the rest.

    Raises
    ------
    RunNotFoundError, RunLockedError, RunExistsError, RunDamagedError
        If there is no run, it has a writer, or it is closed or damaged.
    FrameError
        If the source delivers other frames than those in the run, or they are reduced otherwise.
    """
    path = run_folder(path)
    before = open_run(path)
    earlier = earlier_raw(before)
    settings = settings_as_before(settings, earlier)
    run = resume_run(
        path,
        known=before,
        clock=clock,
        direct=settings.direct_io,
        show_every=settings.show_seconds,
    )
    return _taken_up(source, run, before, earlier, settings=settings, clock=clock)


def prepare_again_in(
    source: FrameSource,
    store: "ObjectStore[Bucket]",
    *,
    settings: AcquisitionSettings,
    cancelled: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Acquisition:
    """Take up a run in an object store whose writer is gone, as `prepare_again` does in a folder.

    No lock tells whether it is gone, so the run is watched first for as long as a writer would take
    for two blocks.  One that is there and commits nothing meanwhile is shut out: what it has not
    committed is lost.

    Parameters
    ----------
    source, settings, clock
        As for `prepare`.
    store
        Zarr store over the bucket, whose root is the run; for writing.
    cancelled
        Ends the watching when it is set.

    Returns
    -------
    Acquisition
        Its `run` does the rest.

    Raises
    ------
    RunNotFoundError, RunLockedError, RunExistsError, RunDamagedError
        If there is no run, it is being written, or it is closed or damaged.
    SourceError
        If the settings ask for what needs a folder.
    FrameError
        If the source delivers other frames than those in the run, or they are reduced otherwise.
    StorageError
        If the bucket refuses, or does not answer.
    """
    from forebay.acquisition.run.writing.bucket import take_over_run
    from forebay.acquisition.run.writing.quiet import check_quiet

    _check_for_bucket(settings)
    check_quiet(store, cancelled=cancelled)
    run = take_over_run(store, clock=clock, show_every=settings.show_seconds)
    return _taken_up(source, run, open_run(store), None, settings=settings, clock=clock)


def _check_for_bucket(settings: AcquisitionSettings) -> None:
    if settings.durability == "frame" or settings.reduction.keep_raw_every is not None:
        raise SourceError(
            "durability = 'frame' and keep_raw_every need a run in a folder: record it there, or "
            "leave them out"
        )


def _taken_up(
    source: FrameSource,
    run: WritableRun,
    before: Run,
    earlier: Run | None,
    *,
    settings: AcquisitionSettings,
    clock: Clock,
) -> Acquisition:
    """Return what goes on with a run, behind what its earlier writer has left.

    Parameters
    ----------
    before
        The run as it was read.
    earlier
        That of its frames as they came, if there is one.
    """
    path = before.path
    with contextlib.ExitStack() as opened:
        opened.callback(run.abandon)
        plan = Plan(source, settings, clock, begun=run.layout, earlier_raw=earlier)
        metadata = plan.metadata()
        check_continues(run, plan.recorded, plan.provenance(), metadata.channels)
        tell_kept(run.layout, settings)
        left = spill_folders(before.notes, run.layout)
        through = plan.known_through(run, left)
        if left and left == plan.spills_to(run):
            spilled, left = plan.recorded_through(run), ()  # It is taken over as it is.
        else:
            spilled = through
        raw = given_up = None
        if path is not None:
            plan.check_room(path)
            if plan.raw is not None:
                plan.raw.check_place(path)
                raw = plan.raw.open(path, run.layout)
        if raw is None and earlier is not None:
            given_up = take_from_earlier(earlier, clock=clock)
        lost_from = None if through is None else through + 1
        beside = raw or given_up
        if beside is not None:
            opened.callback(beside.abandon)
        # Frames of the same number are to be the same in both.
        taken = [each for each in (through, last_kept(earlier, beside)) if each is not None]
        recovered = leftovers(path, run.layout, run.account, spilled=left, clock=clock)
        parts = dataclasses.replace(
            plan.parts(run, raw, spilled_after=spilled),
            recovered=recovered,
            following=max(taken) + 1 if taken else None,
            lost_from=lost_from,
            left=left,
        )
        if told := note_source(run, before.notes, metadata):
            _log.warning("%s", told)
        if raw is not None and earlier is not None:
            note_source(raw, earlier.notes, source.metadata)
        acquisition = Acquisition(parts)
        if given_up is not None:
            close_raw(given_up)
        opened.pop_all()
    return acquisition
