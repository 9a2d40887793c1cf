"""From a source, through the ring, to a run."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.frames import FrameSource, check_frame, check_geometry
from forebay.acquisition.run.writer import RunWriter
from forebay.acquisition.service.ring import FrameRing

RING_FULL = "the recorder was slower than the camera and the ring was full"
_WAKE_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
"""Time that a source has to end when it is stopped, beside its exposure."""


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
        Called in the caller's thread once the run is there and after commits; those that come
        while it runs are told of together.
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
    SourceError, FrameError
        If the source fails, delivers what does not fit, or does not end when it is stopped.  What
        came before is committed, and the run is closed with the error as its reason.
    StorageError
        If a block cannot be written.  What was committed before stays readable.
    KeyboardInterrupt
        On Ctrl-C, as anything else that is raised in the caller's thread: what has come is
        committed first and the run is closed.
    """
    ring = FrameRing(check_geometry(source.geometry), capacity_bytes=buffer_bytes)
    writer = RunWriter.create(
        path,
        source.geometry,
        metadata=source.metadata,
        frames_per_block=frames_per_block,
        compression=compression,
        clock=clock,
    )
    return _Service(source, writer, ring, stop or threading.Event(), on_status, clock).run()


class _Service:
    """One acquisition.

    The caller's thread waits and tells how it goes, one thread receives, one records: so a Ctrl-C,
    which Python raises in the main thread, never meets a commit half done.
    """

    def __init__(
        self,
        source: FrameSource,
        writer: RunWriter,
        ring: FrameRing,
        stop: threading.Event,
        on_status: Callable[[AcquisitionStatus], None] | None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._writer = writer
        self._ring = ring
        self._stop = stop
        self._on_status = on_status
        self._clock = clock
        self._started = clock.monotonic()
        self._news = threading.Event()
        self._ending: str | None = None
        self._patience = _PATIENCE_SECONDS + (source.metadata.exposure or 0.0)
        self._patient_until = 0.0
        self._told = -1
        self._hung = False
        self._source_failure: BaseException | None = None
        self._storage_failure: BaseException | None = None
        self._listener_failure: Exception | None = None
        # Daemons, so that a source that never comes back does not keep the process.
        self._receiver = threading.Thread(target=self._receive, name="forebay-source", daemon=True)
        self._recorder = threading.Thread(target=self._record, name="forebay-run", daemon=True)

    def run(self) -> AcquisitionStatus:
        try:
            self._recorder.start()
            self._receiver.start()
            self._wait()
        except BaseException as error:
            # Ctrl-C: what has come is still committed.  A second Ctrl-C
            # leaves at once, and the run is as after a kill if the recorder does not get through.
            self._on_status = None
            self._end_source(f"interrupted: {type(error).__name__}")
            self._wait()
            raise
        finally:
            if not self._recorder.is_alive():
                self._writer.abandon()
        if self._storage_failure is not None:
            raise self._storage_failure
        if self._source_failure is not None:
            raise self._source_failure
        if self._hung:
            raise SourceError(
                f"the source did not end within {self._patience:g} s of being stopped; "
                f"{self._writer.path} is closed with the {self._writer.committed} frames that came"
            )
        if self._listener_failure is not None:
            raise self._listener_failure
        return self._report()

    def _receive(self) -> None:
        """Bring the frames from the source to the ring; runs in its own thread."""
        following = None
        try:
            wait, geometry = self._source.can_wait, self._source.geometry
            for frame in self._source.frames():
                following = check_frame(frame, geometry, following=following) + 1
                if not self._ring.put(frame, wait=wait):
                    break
        except BaseException as failure:  # noqa: BLE001 (raised again by the caller's thread)
            self._source_failure = failure
        finally:
            self._ring.finish()
            self._news.set()

    def _record(self) -> None:
        """Bring the frames from the ring to the run; runs in its own thread."""
        try:
            while self._record_next():
                pass
            self._writer.close(reason=self._reason())
        except BaseException as failure:  # noqa: BLE001 (raised again by the caller's thread)
            self._storage_failure = failure
        finally:
            self._ring.finish()
            self._writer.abandon()
            self._news.set()

    def _record_next(self) -> bool:
        with self._ring.take() as delivery:
            for lost in delivery.lost:
                self._writer.drop(lost.first, lost.last, reason=RING_FULL)
            if delivery.frame is None:
                return False
            block = self._writer.append(delivery.frame)
        if block:
            self._news.set()
        return True

    def _wait(self) -> None:
        """Wait for both threads to end, tell of commits, and pass a stop on to the source."""
        while self._recorder.is_alive() or (self._receiver.is_alive() and not self._hung):
            self._news.wait(_WAKE_SECONDS)
            self._news.clear()
            if self._stop.is_set():
                self._end_source("stopped by the operator")
            if not self._recorder.is_alive():
                self._end_source("the recorder ended")
            if not self._receiver.is_alive() or self._out_of_patience():
                self._ring.finish()
            self._tell()
        self._tell()

    def _tell(self) -> None:
        if self._on_status and self._writer.committed > self._told:
            self._told = self._writer.committed
            try:
                self._on_status(self._report())
            except Exception as failure:  # noqa: BLE001 (raised again when the run is closed)
                # Whoever listens has failed, not the recording: it goes on without.
                self._listener_failure = failure
                self._on_status = None

    def _end_source(self, reason: str) -> None:
        if self._ending is None:
            self._ending = reason
            self._patient_until = self._clock.monotonic() + self._patience
            self._source.stop()

    def _out_of_patience(self) -> bool:
        """Tell whether the source was stopped and does not end."""
        now = self._clock.monotonic()
        if self._recorder.is_alive() and self._ring.depth == self._ring.slots:
            # It is the recorder that everybody waits for.
            self._patient_until = now + self._patience
        self._hung = self._hung or (self._ending is not None and now > self._patient_until)
        return self._hung

    def _reason(self) -> str:
        if self._source_failure is not None:
            return f"the source failed: {self._source_failure}"
        if self._hung:
            return f"{self._ending}; the source did not end"
        return self._ending or "the source ended"

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
