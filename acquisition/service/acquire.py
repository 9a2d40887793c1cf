"""From a source, through the ring, to a run."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.frames import FrameSource
from forebay.acquisition.run.writer import RunWriter
from forebay.acquisition.service.ring import FrameRing

RING_FULL = "the recorder was slower than the camera and the ring was full"
_WAKE_SECONDS = 0.1
_JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionStatus:
    """How an acquisition is doing."""

    run: str
    """Folder of the run."""
    committed: int
    """Frames that are committed."""
    dropped: int
    """Frames that are dropped, and written down."""
    counted: int
    """Frames that the camera counted: those committed, those dropped and those on their way."""
    bytes: int
    """Bytes of the committed frames."""
    seconds: float
    """Time since the start."""
    ring_depth: int
    """Frames in the ring."""
    ring_highest: int
    """The most frames that were in the ring at a time."""
    ring_slots: int
    """Frames that the ring holds."""


def acquire(
    source: FrameSource,
    path: str | os.PathLike[str],
    *,
    frames_per_block: int,
    compression: CompressionName = "none",
    buffer_bytes: int = 256 * 2**20,
    stop: threading.Event | None = None,
    on_status: Callable[[AcquisitionStatus], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AcquisitionStatus:
    """Record a source into a new run until it ends or is stopped.

    A thread of its own receives the frames, so that committing a block does not hold up the
    camera.  A frame for which the ring has no room is written down as dropped, with its counter,
    unless the source may be held up: then the source waits.

    Parameters
    ----------
    source
        Where the frames come from.
    path
        Folder of the run to make.
    frames_per_block
        Frames that are committed together.
    compression
        How frames are packed.
    buffer_bytes
        Size of the ring.
    stop
        Ends the acquisition when it is set; what has come until then is committed.
    on_status
        Called after each commit.
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
    SourceError, FrameError
        If the source fails or delivers what does not fit.  What came before is committed, and the
        run is closed with the error as its reason.
    StorageError
        If a block cannot be written.  What was committed before stays readable.
    """
    writer = RunWriter.create(
        path,
        source.geometry,
        metadata=source.metadata,
        frames_per_block=frames_per_block,
        compression=compression,
        clock=clock,
    )
    service = _Service(source, writer, buffer_bytes, stop or threading.Event(), on_status, clock)
    return service.run()


class _Service:
    def __init__(
        self,
        source: FrameSource,
        writer: RunWriter,
        buffer_bytes: int,
        stop: threading.Event,
        on_status: Callable[[AcquisitionStatus], None] | None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._writer = writer
        self._stop = stop
        self._on_status = on_status
        self._clock = clock
        self._started = clock.monotonic()
        self._ring = FrameRing(source.geometry, capacity_bytes=buffer_bytes)
        self._failure: BaseException | None = None
        self._receiver = threading.Thread(target=self._receive, name="forebay-source")

    def run(self) -> AcquisitionStatus:
        try:
            self._receiver.start()
            try:
                self._record()
            except FrameError as failure:
                self._failure = failure
            self._writer.close(reason=self._reason())
        finally:
            self._ring.abandon()
            self._source.stop()
            self._receiver.join(_JOIN_SECONDS)
            self._writer.abandon()
        if self._failure is not None:
            raise self._failure
        return self._report()

    def _receive(self) -> None:
        """Bring the frames from the source to the ring; runs in its own thread."""
        wait = self._source.can_wait
        geometry = self._source.geometry
        try:
            for frame in self._source.frames():
                if frame.data.shape != geometry.shape or frame.data.dtype != geometry.dtype:
                    raise FrameError(
                        f"frame {frame.counter} has the shape {frame.data.shape} and the dtype "
                        f"{frame.data.dtype}; the source announced {geometry.shape} and "
                        f"{geometry.dtype}: start another run for it"
                    )
                self._ring.put(frame, wait=wait)
        except BaseException as failure:  # noqa: BLE001 (raised again by the recording thread)
            self._failure = failure
        finally:
            self._ring.finish()

    def _record(self) -> None:
        """Bring the frames from the ring to the run, until there are no more."""
        while True:
            with self._ring.take(timeout=_WAKE_SECONDS) as delivery:
                if self._stop.is_set():
                    self._source.stop()
                if delivery is None:
                    continue
                for lost in delivery.lost:
                    self._writer.drop(lost.first, lost.last, reason=RING_FULL)
                if delivery.frame is None:
                    return
                committed = self._writer.append(delivery.frame)
            if committed and self._on_status:
                self._on_status(self._report())

    def _reason(self) -> str:
        if self._failure is not None:
            return f"the source failed: {self._failure}"
        return "stopped by the operator" if self._stop.is_set() else "the source ended"

    def _report(self) -> AcquisitionStatus:
        frame_bytes = self._source.geometry.frame_bytes
        return AcquisitionStatus(
            run=str(self._writer.path),
            committed=self._writer.committed,
            dropped=self._writer.dropped,
            counted=self._writer.counted,
            bytes=self._writer.committed * frame_bytes,
            seconds=self._clock.monotonic() - self._started,
            ring_depth=self._ring.depth,
            ring_highest=self._ring.highest,
            ring_slots=self._ring.slots,
        )
