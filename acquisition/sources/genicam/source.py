"""A GigE Vision camera as a source of frames."""

import math
import threading
from collections.abc import Iterator, Mapping
from typing import Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, OnLost
from forebay.acquisition.intake import AnomalyKind, AnomalyLog
from forebay.acquisition.sources.description import merged
from forebay.acquisition.sources.genicam.connection import Connection, Request
from forebay.acquisition.sources.genicam.counter import BlockCounter
from forebay.acquisition.sources.genicam.features import Value
from forebay.acquisition.sources.genicam.library import AravisError
from forebay.acquisition.sources.genicam.reconnection import Reconnection
from forebay.acquisition.sources.genicam.stream import Image, Incomplete, Loss, Reception
from forebay.acquisition.sources.genicam.threads import let_aravis_take_after
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.parameters import real, whole

PATIENCE_SECONDS = 60.0
"""How long a camera that was lost is waited for, unless it is told otherwise."""
BUFFER_BYTES = 128 * 2**20
"""Size of all buffers together, unless it is told otherwise."""

_LOOK_SECONDS = 0.1
_ALIVE_SECONDS = 1.0
_MOST_FRAMES = 2**62
_RATES = (1e-6, 1e9)


class GenicamSource:
    """Receives the frames of a GigE Vision camera, and goes on when it was lost and comes back.

    The camera is under control of this program from the beginning, and sends from the moment that
    frames are asked for.

    Counters are the numbers of the blocks that the camera sends, made into numbers that only
    grow.  A frame that does not arrive whole, though its lost packets were asked for again, is not
    delivered, and told by `on_lost` where its number came.  The counter of a frame for which no
    buffer was free is missing.  `reception` says how many of each there were.

    Timestamps are those of the camera, made into UTC as `CameraClock` says.  What is added to
    them is measured when the camera is opened, and again when it came back.

    A camera is lost when it does not answer for about 6 s, or at once when it says that this
    program has no control of it any more.  Then it is waited for, and set to what it was set to
    before.  If it goes on with its numbers, what was lost is missing from the counters; if it
    counts anew, the counter goes on from the last one and how many frames were lost is unknown.
    Both are told in `anomalies`.

    Parameters
    ----------
    camera
        Its IPv4 address, for which nothing is sent to any other; or its id, its serial number or
        vendor and serial number with a hyphen between, for which it is looked for on all networks
        of this machine.
    features
        GenICam features to set, in this order, as values or as text.  Of which type each is, the
        camera says.
    rate
        Frames per second that the camera is set to; None to leave it as it is.
    frames
        Exposures to wait for, lost ones among them; None for no limit.
    patience
        Seconds to wait for a camera that was lost.
    buffer_bytes
        Size of all buffers together; there are 4 at least.
    metadata
        What to say of the instrument; it takes precedence over what the camera says.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If no such camera answers, another program has control of it, it has no such feature or the
        feature cannot be that, its pixels cannot be read, a parameter is out of range, or the
        library ``libaravis-0.8-0`` is not installed.

    Notes
    -----
    The pixels of a frame are valid until the next frame is asked for, and cannot be written to.
    """

    def __init__(
        self,
        camera: str,
        *,
        features: Mapping[str, Value] | None = None,
        rate: float | None = None,
        frames: int | None = None,
        patience: float = PATIENCE_SECONDS,
        buffer_bytes: int = BUFFER_BYTES,
        metadata: ImageMetadata | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._request = Request(
            camera=camera,
            features={name: str(value) for name, value in (features or {}).items()},
            rate=None if rate is None else real("rate", rate, *_RATES),
            buffer_bytes=whole("buffer_bytes", buffer_bytes, 1, 2**40),
        )
        self._limit = None if frames is None else whole("frames", frames, 1, _MOST_FRAMES)
        self._patience = real("patience", patience, 0.0, 1e9)
        self._clock = clock
        self._name = shown(camera)
        self._stopped = threading.Event()
        self._begun = self._closed = False
        # Held while a frame is waited for, so that nothing is freed under it.
        self._busy = threading.Lock()
        self._counter = BlockCounter()
        self._first: int | None = None
        self._resumed = False
        self._latest = -1
        self._looked = 0.0
        self._counted_at = 0.0
        self._reception = self._former_reception = Reception()
        self._reconnection: Reconnection | None = None
        self.anomalies = AnomalyLog(clock)
        """When the camera was lost and came back."""
        self.on_lost: OnLost | None = None
        """Called with each frame that did not come whole, and the last that was lost at the end."""
        try:
            self._connection = Connection(self._request, clock=clock)
        except AravisError as error:
            raise SourceError(
                f"cannot use the camera {self._name}: {error}; 'forebay cameras' lists those that "
                "answer"
            ) from error
        self._geometry = self._connection.geometry
        self._metadata = merged(self._connection.metadata, metadata)

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the camera says of itself, and what was given.

        In ``instrument`` are ``vendor``, ``model``, ``serial``, ``firmware``, ``address``,
        ``pixel_format``, ``bits`` of a pixel, and ``clock_uncertainty`` in seconds, which is None
        where the camera's clock cannot be read.
        """
        return self._metadata

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held up: never."""
        return False

    @property
    def reception(self) -> Reception:
        """How the frames came in until a second ago at most."""
        return self._reception

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames as they come; once only.

        Raises
        ------
        SourceError
            If the frames were asked for before, or the source is closed.  While iterating: if the
            camera was lost and did not come back in time or not as it was, or sends images of
            another layout; all frames before have been delivered.
        """
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True
        return self._deliver()

    @property
    def expected_frames(self) -> int | None:
        """The most frames that it will deliver; None where it goes on until it is stopped."""
        return self._limit

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at; may be called from any thread."""
        self._stopped.set()
        if (reconnection := self._reconnection) is not None:
            reconnection.wake()

    def close(self) -> None:
        """Stop, and give the camera up; may be called twice.

        It takes some seconds where the camera does not answer.
        """
        self.stop()
        with self._busy:
            if self._closed:
                return
            self._closed = True
            if self._reconnection is not None:
                self._reconnection.end()
            self._connection.close()
            self._note_reception()

    def __enter__(self) -> Self:
        """Use the source within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and give the camera up."""
        self.close()

    def _deliver(self) -> Iterator[Frame]:
        if not self._start():
            return
        while (frame := self._next()) is not None:
            yield frame

    def _start(self) -> bool:
        """Let the camera send; False if it was stopped before."""
        with self._busy:
            if self._stopped.is_set():
                return False
            let_aravis_take_after()
            try:
                self._connection.start()
            except AravisError:
                pass  # it was lost before it was asked for frames
            else:
                return True
        return self._reconnect()

    def _next(self) -> Frame | None:
        """Wait for the next frame; None where there is no more."""
        while self._is_within(None if self._counter.last is None else self._counter.last + 1):
            with self._busy:
                if self._stopped.is_set():
                    return None
                came = self._connection.stream.receive(_LOOK_SECONDS)
                is_alive = self._look(waited=came is Loss.NOTHING)
                if came is Loss.NO_IMAGE:
                    raise SourceError(
                        f"the camera {self._name} sends something else than images without "
                        "padding; give ChunkModeActive=false, or another width"
                    )
                if isinstance(came, Incomplete):
                    self._lose(came)
                frame = self._frame(came) if isinstance(came, Image) else None
            if frame is not None:
                return frame
            if not is_alive and not self._reconnect():
                return None
        return None

    def _frame(self, image: Image) -> Frame | None:
        """Return the frame that an image is; None if it came before, or is behind the last."""
        self._check_layout(image)
        counter = self._count(image.block)
        if counter is None:
            return None
        timestamp = self._connection.clock.utc(image.timestamp, image.arrived)
        self._latest = max(timestamp, self._latest + 1)
        return Frame(counter, self._latest, self._connection.reader.read(image.data))

    def _lose(self, lost: Incomplete) -> None:
        """Tell of a frame that did not come whole."""
        # Where its number did not come either, it is missing from those around it.
        counter = self._count(lost.block) if lost.block else None
        if counter is not None and self.on_lost is not None:
            self.on_lost(counter, "packets of it were lost")

    def _count(self, block: int) -> int | None:
        """Return the exposure that a block holds; None if it came before, or is behind the last."""
        now = self._clock.monotonic()
        most = _possible_frames(self._connection.metadata.frame_rate, now - self._counted_at)
        counter = self._counter.count(block, most=most)
        if counter is None:
            return None
        self._counted_at = now
        if self._resumed and self._counter.began_anew:
            self.anomalies.report(
                AnomalyKind.COUNTER_RESTARTED,
                f"the camera {self._name} counts anew: its block {block} is numbered "
                f"{counter}, and how many frames were lost before it is unknown",
                counter,
            )
        self._resumed = False
        self._first = counter if self._first is None else self._first
        if self._is_within(counter):
            return counter
        if self.on_lost is not None and self._limit is not None:
            self.on_lost(self._first + self._limit - 1, None)
        return None

    def _check_layout(self, image: Image) -> None:
        expected = self._connection.layout
        if image.layout == expected and len(image.data) >= self._connection.reader.image_bytes:
            return
        raise SourceError(
            f"the camera {self._name} sends {image.layout.height} × {image.layout.width} pixels "
            f"in the format 0x{image.layout.format_code:08x} and {len(image.data)} bytes instead "
            f"of {expected.height} × {expected.width} in {self._connection.pixel_format.name}: it "
            "was set otherwise; start another run for it"
        )

    def _is_within(self, counter: int | None) -> bool:
        """Tell whether a frame is among those that are wanted."""
        if self._limit is None or self._first is None or counter is None:
            return True
        return counter - self._first < self._limit

    def _look(self, *, waited: bool) -> bool:
        """Look after the camera where there is time, once a second else; tell if it is alive."""
        now = self._clock.monotonic()
        if not waited and now - self._looked < _ALIVE_SECONDS:
            return True
        self._looked = now
        self._note_reception()
        return self._connection.is_alive

    def _note_reception(self) -> None:
        self._reception = self._former_reception + self._connection.reception

    def _reconnect(self) -> bool:
        """Wait for the camera to come back; False if it was stopped before."""
        began = self._clock.monotonic()
        self.anomalies.report(
            AnomalyKind.SOURCE_STALLED,
            f"the camera {self._name} is lost; it is waited for, for {self._patience:g} s at most",
            self._counter.last,
        )
        lost = self._connection
        with self._busy:
            if self._stopped.is_set():
                return False
            self._reconnection = Reconnection(
                lost,
                lambda: self._open_anew(lost),
                patience=self._patience,
                stopped=self._stopped,
                clock=self._clock,
            )
        if self._stopped.is_set():
            # Whoever stopped it just now may not have seen what there is to be woken.
            self._reconnection.wake()
        try:
            connection = self._reconnection.wait()
        except (SourceError, AravisError) as error:
            raise SourceError(f"the camera {self._name} was lost: {error}") from error
        if connection is None:
            return False
        with self._busy:
            self._former_reception += lost.reception
            self._connection = connection
            if self._closed:
                connection.close()
                return False
        self._counter.reconnect()
        self._resumed = True
        took = self._clock.monotonic() - began
        self.anomalies.report(
            AnomalyKind.SOURCE_RESUMED,
            f"the camera {self._name} is back after {took:.1f} s",
            self._counter.last,
        )
        return True

    def _open_anew(self, former: Connection) -> Connection:
        """Connect to the camera again, and let it send."""
        connection = Connection(self._request, clock=self._clock, former=former)
        try:
            if connection.geometry != self._geometry:
                raise SourceError(
                    f"it has come back with {connection.geometry.shape} pixels of "
                    f"{connection.geometry.dtype} instead of {self._geometry.shape} of "
                    f"{self._geometry.dtype}; start another run for it"
                )
            connection.start()
        except BaseException:
            connection.close()
            raise
        return connection


def _possible_frames(rate: float | None, seconds: float) -> float:
    """Return how many frames a camera can have taken, with a margin; infinity if nobody knows."""
    return math.inf if rate is None else 2 * rate * seconds + 100
