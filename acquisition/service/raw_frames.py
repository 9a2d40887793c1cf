"""The frames that are kept as they came, in a run of their own beside a reduced one."""

import logging
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import (
    AcquisitionError,
    FrameError,
    RunDamagedError,
    RunNotFoundError,
)
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.run.reader import Run, open_run
from forebay.acquisition.run.writing.create import create_run
from forebay.acquisition.run.writing.folder import check_free
from forebay.acquisition.run.writing.position import Position
from forebay.acquisition.run.writing.resume import resume_run
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.settings import AcquisitionSettings

NOT_KEPT_RAW = "only one frame of {every} is kept as it came"
_SUFFIX = ".raw"
_RAW_OF = "raw_of"
_RAW_OF_ID = "raw_of_run_id"
_EVERY = "every"

_log = logging.getLogger("forebay.acquisition")


def place_of_raw(path: Path) -> Path:
    """Return where the frames as they came lie, beside the run at `path`."""
    return path.with_name(path.name + _SUFFIX)


def earlier_raw(run: Run) -> Run | None:
    """Return the run with the frames as they came that was begun with another one, if one was.

    One that is damaged is told of, and keeps nobody from the other frames.
    """
    if run.path is None:
        return None
    try:
        raw = open_run(place_of_raw(run.path))
    except RunNotFoundError:
        return None
    except RunDamagedError as error:
        _log.warning("what was kept of frames as they came is left alone: %s", error)
        return None
    known = raw.layout.provenance
    # An older one knows the name alone.
    belongs = known.get(_RAW_OF) == run.name and known.get(_RAW_OF_ID, run.run_id) == run.run_id
    return raw if belongs and isinstance(known.get(_EVERY), int) else None


def settings_as_before(settings: AcquisitionSettings, earlier: Run | None) -> AcquisitionSettings:
    """Return the settings for going on with a run, and with its frames as they came."""
    every = settings.reduction.keep_raw_every
    if every is None or earlier is None:
        return settings
    before: int | None = earlier.layout.provenance[_EVERY]
    if earlier.closed:
        _log.warning("%s is closed: no more frames are kept as they came", earlier.location)
        before = None
    elif before != every:
        _log.warning("one frame of %s is kept as it came, as before", before)
    reduction = settings.reduction.model_copy(update={"keep_raw_every": before})
    return settings.model_copy(update={"reduction": reduction})


def last_kept(earlier: Run | None, beside: WritableRun | None) -> int | None:
    """Return the counter of the last frame that was kept as it came, if there is one.

    Parameters
    ----------
    earlier
        The run of such frames, if there is one.
    beside
        The same in the hands of a writer, if it can be written.
    """
    if beside is not None:
        following = beside.account.next_counter
    else:
        following = None if earlier is None else Position.after(earlier.history).next_counter
    return None if following is None else following - 1


def take_from_earlier(earlier: Run, *, clock: Clock) -> WritableRun | None:
    """Become the writer of such a run, to close it; None if it is closed, or that cannot be done."""
    if earlier.path is None or earlier.closed:
        return None
    try:
        return resume_run(earlier.path, known=earlier, clock=clock)
    except AcquisitionError as error:
        # Nobody is kept from the other frames by this.
        _log.warning("%s stays open: %s", earlier.location, error)
        return None


def close_raw(raw: WritableRun) -> None:
    """Close such a run, since no more frames are kept."""
    try:
        raw.close(None, reason="no more frames were kept as they came")
    except AcquisitionError as error:
        _log.warning("%s stays open: %s", raw.storage.where, error)
        raw.abandon()


class RawFrames:
    """How every so-many-th frame is kept as it came, and memory for those in flight.

    Parameters
    ----------
    came
        Layout of the frames as they come.
    settings
        How they are recorded.
    every
        How many of them there are for each that is kept.
    metadata
        What is known of the instrument.
    expected
        How many will come; None where that is not known.
    earlier
        The run that is gone on with; None where a new one is to be made.
    clock
        Source of times.
    """

    def __init__(
        self,
        came: Geometry,
        settings: AcquisitionSettings,
        *,
        every: int,
        metadata: ImageMetadata,
        expected: int | None,
        earlier: Run | None,
        clock: Clock,
    ) -> None:
        self._came = came
        self._settings = settings
        self._every = every
        self._metadata = metadata
        self._earlier = earlier
        self._clock = clock
        rate = metadata.frame_rate
        self._frames_per_block = settings.frames_for(
            came, frame_rate=None if rate is None else rate / every
        )
        if earlier is not None:
            self._frames_per_block = earlier.layout.frames_per_block
        self.slots = FrameSlots(
            came,
            settings.blocks_in_flight * self._frames_per_block,
            expected=None if expected is None else -(-expected // every),
        )
        """Memory for the frames of all blocks in flight."""

    def check_place(self, path: Path) -> None:
        """Refuse to record without a place for it beside the run at `path`.

        Raises
        ------
        RunExistsError
            If there is something at its place.
        FrameError
            If the run that is gone on with holds other frames.
        """
        if self._earlier is None:
            raw = place_of_raw(path)
            with durable.storage_errors(f"the run {raw}"):
                check_free(raw)
        elif self._earlier.layout.geometry != self._came:
            there = self._earlier.layout.geometry
            raise FrameError(
                f"the source delivers frames of {self._came.shape} {self._came.dtype}, and "
                f"{self._earlier.location} holds {there.shape} {there.dtype}: start another run "
                "for them"
            )

    def open(self, path: Path, run: RunLayout) -> WritableRun:
        """Make it, or take it up, beside the run at `path`."""
        settings, reason = self._settings, NOT_KEPT_RAW.format(every=self._every)
        if self._earlier is not None:
            return resume_run(
                place_of_raw(path),
                known=self._earlier,
                clock=self._clock,
                direct=settings.direct_io,
                show_every=settings.show_seconds,
                usual_gap=reason,
            )
        return create_run(
            place_of_raw(path),
            self._came,
            name=run.name + _SUFFIX,
            metadata=self._metadata,
            provenance={_RAW_OF: run.name, _RAW_OF_ID: run.run_id, _EVERY: self._every},
            frames_per_block=self._frames_per_block,
            compression=settings.compression,
            clock=self._clock,
            direct=settings.direct_io,
            show_every=settings.show_seconds,
            gap=reason,
        )
