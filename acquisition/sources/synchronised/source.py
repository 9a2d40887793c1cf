"""Several cameras on one trigger, as one source whose frames have a channel for each of them."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Self

import numpy as np

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import (
    Frame,
    FrameFlag,
    FrameSource,
    Geometry,
    ImageMetadata,
    OnLost,
)
from forebay.acquisition.intake import CombinedLog, Intake
from forebay.acquisition.intake.clock_watch import clock_tolerance
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.parameters import real, whole
from forebay.acquisition.sources.synchronised.agreement import common_geometry, common_metadata
from forebay.acquisition.sources.synchronised.camera import Camera
from forebay.acquisition.sources.synchronised.planes import Plane, PlaneQueue

_FIRST_MISSING_BIT = 8
_WAKE_SECONDS = 0.1


class SynchronisedSource:
    """Cameras that share a trigger, delivered as frames with the axes c, y and x.

    Each camera is received in a thread of its own and has a bounded queue, in memory that is
    taken beforehand.  What they deliver for the same trigger becomes one frame, whose counter is
    the trigger's number, whose timestamp is by the clock of the first camera, and whose flags are
    those of all of them together.  Where the first camera is missing, the timestamp is that of
    another one, set by how far their clocks were apart when both were there last.

    Where a camera has no frame for a trigger, its channel is 0, and the flags have
    ``PARTNER_MISSING`` and the camera's own bit, 1 << 8 for the first one.  It is known to have
    none when it has gone on to a later trigger or has ended.  Else it is waited for, until another
    camera that cannot be held up has a full queue, or `patience_seconds` have passed.  Once they
    have, a full queue of any other is enough, until it delivers again: it holds nobody up.  What it
    delivers for a trigger that has gone on is left out and named.

    Each camera passes an `Intake` of its own, so its counter may wrap and stutter.  A camera that
    begins to count anew has failed: which trigger its frames belong to is unknown then.

    Parameters
    ----------
    sources
        The cameras, 1 to 8, whose frames have the axes y and x and are alike.  They are entered
        and left with this source.
    names
        A name for each, used for its channel and in what is told of it.
    first_counters
        The counter that each camera has at trigger 0; of each its first frame, if not given.
    patience_frames
        Frames of a camera that may wait for those of others.
    patience_seconds
        Longest time that a frame waits for those of others.
    require_all
        Whether all end when one camera ends or fails.  If not, the others go on without it, and
        the source ends when they all have.
    counter_bits, skips_zero
        How the cameras count, as for `Intake`.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If the cameras are not alike, or a parameter is out of range.

    Notes
    -----
    The pixels of a frame are valid until the next frame is asked for.

    By their first frames, cameras are aligned only if each delivers the first trigger; give
    `first_counters` where they count triggers and not deliveries.

    Examples
    --------
    >>> from forebay.acquisition.sources import Scene, SimulatedSource
    >>> scene = Scene(shape=(8, 8), emitters=1)
    >>> left = SimulatedSource(scene, frames=3)
    >>> right = SimulatedSource(scene, frames=3, lost_counters={1})
    >>> with SynchronisedSource([left, right], names=["left", "right"]) as source:
    ...     [(frame.counter, frame.data.shape, int(frame.flags)) for frame in source.frames()]
    [(0, (2, 8, 8), 0), (1, (2, 8, 8), 516), (2, (2, 8, 8), 0)]
    """

    def __init__(
        self,
        sources: Sequence[FrameSource],
        *,
        names: Sequence[str],
        first_counters: Sequence[int] | None = None,
        patience_frames: int = 8,
        patience_seconds: float = 2.0,
        require_all: bool = True,
        counter_bits: int | None = None,
        skips_zero: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        plane = common_geometry(sources, names)
        firsts: Sequence[int | None] = first_counters or [None] * len(sources)
        if len(firsts) != len(sources):
            raise SourceError(
                f"there are {len(sources)} cameras and {len(firsts)} first_counters; give one for "
                "each"
            )
        room = whole("patience_frames", patience_frames, 1, 2**20)
        self._patience = real("patience_seconds", patience_seconds, 0.0, 1e6)
        self._require_all = require_all
        self._clock = clock
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._begun = self._closed = False
        self._cameras = [
            Camera(
                name,
                source,
                Intake(
                    plane,
                    clock=clock,
                    counter_bits=counter_bits,
                    skips_zero=skips_zero,
                    tolerance=clock_tolerance(source.metadata.exposure),
                ),
                PlaneQueue(plane, room=room, changed=self._changed),
                first_counter=first_counter,
                clock=clock,
            )
            for name, source, first_counter in zip(names, sources, firsts, strict=True)
        ]
        self._geometry = Geometry(("c", "y", "x"), (len(sources), *plane.shape), plane.dtype)
        self._metadata = common_metadata(sources, names)
        self._frame = np.zeros(self._geometry.shape, plane.dtype)
        self._opened = ExitStack()
        self._tolerance = clock_tolerance(self._metadata.exposure)
        self.anomalies = CombinedLog(
            [(camera.name, log) for camera in self._cameras for log in camera.logs()]
        )
        """What was unusual about each of the cameras."""
        self.on_lost: OnLost | None = None
        """Called at the end with the last trigger that a camera counted, if no frame of it came."""

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the cameras have in common; the instrument of each is under ``cameras``."""
        return self._metadata

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held up: it may where all cameras may."""
        return all(camera.source.can_wait for camera in self._cameras)

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames in the order of their triggers; once only.

        Raises
        ------
        SourceError
            If the frames were asked for before, or the source is closed.  While iterating: if a
            camera failed, and all are required or all have failed; or if one does not end when it
            is stopped.  Everything before has been delivered.
        """
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True
        return self._deliver()

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at; may be called from any thread."""
        self._stopped.set()
        for camera in self._cameras:
            camera.queue.close()
        with ExitStack() as each:  # so that all are stopped, whatever one of them raises
            for camera in self._cameras:
                each.callback(camera.source.stop)

    def __enter__(self) -> Self:
        """Enter all cameras."""
        with ExitStack() as opening:
            for camera in self._cameras:
                opening.enter_context(camera)
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop and leave all cameras, and wait for their threads.

        Raises
        ------
        SourceError
            If a camera does not end.
        """
        self._closed = True
        with self._opened:
            _check_ended(self._end())

    def _deliver(self) -> Iterator[Frame]:
        delivered = -1
        try:
            if not self._stopped.is_set():
                for camera in self._cameras:
                    camera.start()
            while (trigger := self._next()) is not None:
                delivered = trigger
                yield self._compose(trigger)
        finally:
            # Where not all are required, the others have gone on without.
            ended = self._at_end() if self._require_all and not self._stopped.is_set() else []
            hung = self._end()
            counted = max(camera.counted_through for camera in self._cameras)
            for camera in ended:
                if camera.failure is None and camera.counted_through < counted:
                    camera.tell_end(camera.counted_through, through=counted)
            if self.on_lost is not None and counted > delivered:
                self.on_lost(counted, None)
        _check_ended(hung)

    def _end(self) -> Sequence[str]:
        """Stop all cameras, wait for their threads, and return the names of those that hang."""
        self.stop()
        return [shown(camera.name) for camera in self._cameras if not camera.join()]

    def _next(self) -> int | None:
        """Wait for the next trigger of which all is there that will be; None at the end."""
        with self._changed:
            while not self._stopped.is_set() and not self._over():
                waiting = [plane for camera in self._cameras if (plane := camera.queue.first)]
                until = self._ripe_at(waiting)
                now = self._clock.monotonic()
                if waiting and until <= now:
                    trigger = min(plane.trigger for plane in waiting)
                    for camera in self._cameras:
                        camera.queue.pass_trigger(trigger)
                    for camera in self._awaited() if until else ():
                        camera.queue.given_up = True
                    return trigger
                self._changed.wait(min(_WAKE_SECONDS, max(0.0, until - now)))
        return None

    def _ripe_at(self, waiting: Sequence[Plane]) -> float:
        """Return until when the first trigger has to wait for a partner; 0 for no longer."""
        awaited = self._awaited()
        if not awaited or any(camera.pressing for camera in self._cameras):
            return 0.0
        given_up = all(camera.queue.given_up for camera in awaited)
        if given_up and any(camera.queue.overfull for camera in self._cameras):
            return 0.0
        trigger = min((plane.trigger for plane in waiting), default=0)
        came = [plane.since for plane in waiting if plane.trigger == trigger]
        return min(came, default=math.inf) + self._patience

    def _awaited(self) -> Sequence[Camera]:
        """Return the cameras of which nothing is there, and something may come."""
        return [each for each in self._cameras if not each.queue.ended and not each.queue.first]

    def _at_end(self) -> Sequence[Camera]:
        """Return the cameras of which nothing will come any more."""
        return [each for each in self._cameras if each.queue.ended and not each.queue.first]

    def _over(self) -> bool:
        """Tell whether nothing is to be delivered any more; raise what a camera failed of."""
        done = self._at_end()
        failed = [camera for camera in done if camera.failure is not None]
        if not done or (not self._require_all and len(done) < len(self._cameras)):
            return False
        if failed and (self._require_all or len(failed) == len(self._cameras)):
            failure = failed[0].failure
            raise SourceError(f"camera {shown(failed[0].name)}: {failure}") from failure
        return True

    def _compose(self, trigger: int) -> Frame:
        """Put together what the cameras have for a trigger, and make room."""
        flags, times = 0, list[tuple[Camera, int]]()
        for index, camera in enumerate(self._cameras):
            plane = camera.queue.first
            if plane is None or plane.trigger != trigger:
                self._frame[index] = 0
                flags |= FrameFlag.PARTNER_MISSING.value | 1 << (_FIRST_MISSING_BIT + index)
                camera.miss(trigger)
                continue
            self._frame[index] = plane.data
            flags |= plane.flags
            times.append((camera, plane.timestamp))
            with self._changed:
                camera.queue.remove()
        return Frame(trigger, self._time(times), self._frame, FrameFlag(flags))

    def _time(self, times: Sequence[tuple[Camera, int]]) -> int:
        """Return when a frame was taken, by the first camera's clock, from what each camera says."""
        (one, timestamp), *others = times
        if one is self._cameras[0]:
            for camera, own in others:
                camera.compare_clock(own, timestamp, of=one.name, tolerance=self._tolerance)
        return timestamp + one.behind


def _check_ended(hung: Sequence[str]) -> None:
    if hung:
        raise SourceError(
            f"{', '.join(hung)} did not end when stopped; look after the camera, and start the "
            "program anew"
        )
