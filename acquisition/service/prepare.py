"""Putting an acquisition together, as the settings say."""

import contextlib
import dataclasses
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError, SourceError
from forebay.acquisition.format.record import Noted
from forebay.acquisition.frames import FrameSource
from forebay.acquisition.run.finding import run_folder
from forebay.acquisition.run.reader import open_run
from forebay.acquisition.run.writing.create import place_of_run
from forebay.acquisition.run.writing.leftovers import leftovers, spill_folders
from forebay.acquisition.run.writing.resume import resume_run
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.acquisition import Acquisition
from forebay.acquisition.service.plan import Plan
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
    plan.check_raw_place(path)
    with contextlib.ExitStack() as opened:
        called = path.name if name is None else name
        run = plan.create(path, called)
        opened.callback(run.abandon)
        raw = plan.create_raw(path, called)
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

    The run keeps its compression and the size of its blocks, whatever the settings say.

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
        If the source delivers other frames than those in the run.
    """
    settings = _nothing_raw(settings)
    path = run_folder(path)
    before = open_run(path)
    run = resume_run(path, clock=clock, direct=settings.direct_io, show_every=settings.show_seconds)
    return _taken_up(source, run, path, before.notes, settings=settings, clock=clock)


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
        If the source delivers other frames than those in the run.
    StorageError
        If the bucket refuses, or does not answer.
    """
    from forebay.acquisition.run.writing.bucket import take_over_run
    from forebay.acquisition.run.writing.quiet import check_quiet

    settings = _nothing_raw(settings)
    _check_for_bucket(settings)
    check_quiet(store, cancelled=cancelled)
    run = take_over_run(store, clock=clock, show_every=settings.show_seconds)
    return _taken_up(source, run, None, open_run(store).notes, settings=settings, clock=clock)


def _check_for_bucket(settings: AcquisitionSettings) -> None:
    if settings.durability == "frame" or settings.reduction.keep_raw_every is not None:
        raise SourceError(
            "durability = 'frame' and keep_raw_every need a run in a folder: record it there, or "
            "leave them out"
        )


def _nothing_raw(settings: AcquisitionSettings) -> AcquisitionSettings:
    """Return the settings for a run that is gone on with: its raw frames were another run."""
    if settings.reduction.keep_raw_every is None:
        return settings
    _log.warning("no more frames are kept as they came: keep_raw_every is left out")
    reduction = settings.reduction.model_copy(update={"keep_raw_every": None})
    return settings.model_copy(update={"reduction": reduction})


def _taken_up(
    source: FrameSource,
    run: WritableRun,
    path: Path | None,
    notes: tuple[Noted, ...],
    *,
    settings: AcquisitionSettings,
    clock: Clock,
) -> Acquisition:
    """Return what goes on with a run, behind what its earlier writer has left.

    Parameters
    ----------
    path
        Folder of the run; None where it lies in a bucket.
    notes
        What was noted in it until now.
    """
    with contextlib.ExitStack() as opened:
        opened.callback(run.abandon)
        kept = {"frames_per_block": run.layout.frames_per_block}
        plan = Plan(source, settings.model_copy(update=kept), clock, again=True)
        if plan.recorded != run.layout.geometry:
            raise FrameError(
                f"the source delivers frames of {plan.recorded.shape} {plan.recorded.dtype}, and "
                f"{run.storage.where} holds {run.layout.geometry.shape} "
                f"{run.layout.geometry.dtype}: start another run for them"
            )
        left = spill_folders(notes, run.layout)
        through = plan.known_through(run, left)
        if left and left == plan.spills_to(run):
            spilled, left = plan.recorded_through(run), ()  # It is taken over as it is.
        else:
            spilled = through
        following = run.account.next_counter
        after = None if following is None else following - 1
        if path is not None:
            plan.check_room(path)
        recovered = leftovers(path, run.layout, after=after, spilled=left)
        parts = dataclasses.replace(
            plan.parts(run, None, spilled_after=spilled),
            recovered=recovered,
            following=None if through is None else through + 1,
            left=left,
        )
        acquisition = Acquisition(parts)
        opened.pop_all()
    return acquisition
