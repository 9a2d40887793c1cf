"""Recording a source into a new run: the whole of it in one call."""

import os
import threading
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.frames import FrameSource
from forebay.acquisition.service.flow import OverloadPolicy
from forebay.acquisition.service.prepare import prepare
from forebay.acquisition.service.status import AcquisitionStatus
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources.parameters import whole


def acquire(
    source: FrameSource,
    path: str | os.PathLike[str],
    *,
    frames_per_block: int | None = None,
    compression: CompressionName | None = None,
    buffer_bytes: int | None = None,
    overload: OverloadPolicy | None = None,
    settings: AcquisitionSettings | None = None,
    expected_frames: int | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[AcquisitionStatus], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AcquisitionStatus:
    """Record a source into a new run until it ends or is stopped.

    A thread of its own receives the frames, so that committing a block does not hold up the
    camera.  What happens when frames come faster than they can be recorded is a matter of the
    policy `overload`; every frame that is not recorded is written down as dropped, with its
    counter, the time and the reason.

    Parameters
    ----------
    source
        Where the frames come from, as `open_source` gives it; an object of your own that is a
        `FrameSource` will do.
    path
        Folder of the run to make.
    frames_per_block, compression, buffer_bytes, overload
        In the place of the settings of these names.
    settings
        How frames are recorded.
    expected_frames
        Frames that will come, where that is known: the disk must have room for them.
    stop
        Ends the acquisition when it is set; what has come until then is committed.
    on_status
        Called in the caller's thread once the run is there, after commits, and every second;
        commits that come while it runs are told of together.
        If it raises, it is not called again, and the exception is raised when the run is closed.
    clock
        Source of times.

    Returns
    -------
    AcquisitionStatus
        The state at the end: the run is closed, and ``committed + dropped == counted``.

    Raises
    ------
    RunExistsError, RunNameError
        If the run cannot be made.
    SourceError
        If a setting cannot be what is given; no run is made.
    SourceError, FrameError
        If the source fails, delivers what does not fit, or does not end when it is stopped.  What
        came before is committed, and the run is closed with the error as its reason.
    StorageError
        If a block cannot be written.  What was committed before stays readable.
    NoSpaceError
        If the disk has no room for the expected frames; no run is made.  Or if it is full when
        all has ended, and nobody makes room within some seconds.
    KeyboardInterrupt
        On Ctrl-C, as anything else that is raised in the caller's thread: what has come is
        committed first and the run is closed.

    Examples
    --------
    >>> import tempfile
    >>> from forebay.acquisition import acquire
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
    ...         status = acquire(source, f"{folder}/water", frames_per_block=2)
    >>> status.committed, status.dropped, status.counted, status.bytes == 5 * 48 * 64 * 2
    (5, 0, 5, True)
    """
    if expected_frames is not None:
        expected_frames = whole("expected_frames", expected_frames, 0, 2**62)
    if stop is not None and not isinstance(stop, threading.Event):
        raise SourceError(f"stop cannot be {stop!r}: give a threading.Event or None")
    chosen = _chosen(
        settings,
        frames_per_block=frames_per_block,
        compression=compression,
        buffer_bytes=buffer_bytes,
        overload=overload,
    )
    acquisition = prepare(
        source, path, settings=chosen, expected_frames=expected_frames, clock=clock
    )
    return acquisition.run(stop=stop, on_status=on_status)


def _chosen(settings: AcquisitionSettings | None, **given: Any) -> AcquisitionSettings:
    """Return the settings with what is given in the place of those of the same names."""
    if settings is None:
        settings = AcquisitionSettings()
    elif not isinstance(settings, AcquisitionSettings):
        raise SourceError(f"settings cannot be {settings!r}: give AcquisitionSettings(...) or None")
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return AcquisitionSettings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where} cannot be {first['input']!r}: " if where else ""
        raise SourceError(what + first["msg"].removeprefix("Value error, ")) from error
