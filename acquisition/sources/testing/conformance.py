"""Whether a source keeps what `FrameSource` promises."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from forebay.acquisition.frames import Frame, FrameFlag, FrameSource, Geometry, ImageMetadata


def check_source(
    open_anew: Callable[[], FrameSource], *, frames: int = 8, seconds: float = 5.0
) -> tuple[str, ...]:
    """Try a source out and say what it does wrong; what it raises comes through.

    Parameters
    ----------
    open_anew
        Opens the source; called several times.
    frames
        Frames to look at.
    seconds
        Longest time that the source may take to end after it is stopped.

    Returns
    -------
    tuple of str
        A sentence for each promise that is broken; empty for a source as it should be.

    Examples
    --------
    >>> from forebay.acquisition.sources import Scene, SimulatedSource
    >>> check_source(lambda: SimulatedSource(Scene(shape=(16, 16), emitters=1)))
    ()
    """
    first: object = open_anew()  # which the types vouch for, but not at run time
    if not isinstance(first, FrameSource):
        return ("it lacks a member of FrameSource",)
    return (
        *_announced(first),
        *_delivered(open_anew(), frames),
        *_stopped_before(open_anew()),
        *_stopped_between(open_anew()),
        *_stopped_from_elsewhere(open_anew(), seconds),
        *_left(open_anew()),
    )


def _announced(source: FrameSource) -> Iterator[str]:
    """Look at what the source says of itself."""
    with source:
        geometry = source.geometry
        metadata: object = source.metadata
        if geometry.dims not in (("y", "x"), ("c", "y", "x")):
            yield f"the axes are {geometry.dims}, not (y, x) or (c, y, x)"
        if len(geometry.shape) != len(geometry.dims) or min(geometry.shape, default=0) < 1:
            yield f"the shape {geometry.shape} is not that of frames with the axes {geometry.dims}"
        if geometry.dtype.kind not in "uif" or not geometry.dtype.isnative:
            yield f"the pixels are {geometry.dtype!r}, not native numbers"
        if not isinstance(metadata, ImageMetadata):
            yield f"the metadata are {type(metadata).__name__}, not ImageMetadata"
            return
        try:
            json.dumps(dict(metadata.instrument), allow_nan=False)
        except (TypeError, ValueError) as error:
            yield f"the facts about the instrument are not JSON: {error}"


def _delivered(source: FrameSource, count: int) -> Iterator[str]:
    with source:
        geometry = source.geometry
        before: Frame | None = None
        for frame in itertools.islice(source.frames(), count):
            yield from _frame(frame, before, geometry)
            before = frame
        if before is None:
            yield "no frame came"
        if source.geometry != geometry:
            yield "the geometry changed while frames came"


def _frame(frame: Frame, before: Frame | None, geometry: Geometry) -> Iterator[str]:
    name = f"frame {frame.counter}"
    if frame.counter < 0:
        yield f"{name} has a counter below 0"
    if before is not None and frame.counter <= before.counter:
        yield f"{name} came after frame {before.counter}; counters must grow"
    if before is not None and frame.timestamp <= before.timestamp:
        yield f"{name} is not later than the one before it; timestamps must grow"
    data: object = frame.data
    flags: object = frame.flags
    if not isinstance(data, np.ndarray):
        yield f"{name} is {type(data).__name__}, not a NumPy array"
    elif data.shape != geometry.shape or data.dtype != geometry.dtype:
        yield f"{name} is {data.shape} {data.dtype}, not as the geometry says"
    if not isinstance(flags, FrameFlag):
        yield f"{name} has flags that are {type(flags).__name__}, not FrameFlag"


def _stopped_before(source: FrameSource) -> Iterator[str]:
    with source:
        source.stop()
        if len(list(itertools.islice(source.frames(), 2))) > 1:
            yield "it goes on delivering though it was stopped before"


def _stopped_between(source: FrameSource) -> Iterator[str]:
    with source:
        delivered = source.frames()
        next(delivered, None)
        source.stop()
        if len(list(itertools.islice(delivered, 2))) > 1:
            yield "it goes on delivering after stop()"


def _stopped_from_elsewhere(source: FrameSource, seconds: float) -> Iterator[str]:
    """Stop the source from this thread while another one receives or waits for a frame."""
    begun = threading.Event()

    def receive() -> None:
        for _ in source.frames():
            begun.set()

    with source:
        receiver = threading.Thread(target=receive, daemon=True)
        receiver.start()
        begun.wait(seconds)
        stopped = time.monotonic()
        source.stop()
        receiver.join(seconds)
        if receiver.is_alive():
            yield f"it has not ended {time.monotonic() - stopped:.1f} s after stop()"


def _left(source: FrameSource) -> Iterator[str]:
    """Leave the ``with`` block in the middle, and leave it once more."""
    with source:
        delivered = source.frames()
        next(delivered, None)
    try:
        if len(list(itertools.islice(delivered, 2))) > 1:
            yield "it goes on delivering after the with block"
        source.__exit__(None, None, None)
    except Exception as error:  # noqa: BLE001 (whatever it is, it should not be raised)
        yield f"it raises after the with block: {error!r}"
