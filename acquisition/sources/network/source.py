"""Frames that a detector pushes over the network."""

import logging
import os
import threading
from collections.abc import Iterator
from typing import Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, OnLost
from forebay.acquisition.intake import AnomalyKind, AnomalyLog
from forebay.acquisition.sources.description import merged
from forebay.acquisition.sources.network.endpoint import check_endpoint
from forebay.acquisition.sources.network.header import DamagedFrameError, MessageError
from forebay.acquisition.sources.network.keys import read_key_pair, read_senders
from forebay.acquisition.sources.network.pull import PullSocket
from forebay.acquisition.sources.network.stream import FrameStream
from forebay.acquisition.sources.parameters import real, whole

QUEUE_FRAMES = 16
"""Frames of a connection that wait to be asked for, unless it is told otherwise."""
MAX_FRAME_BYTES = 128 * 2**20
"""Largest frame that is taken, unless it is told otherwise."""

_LOOK_SECONDS = 0.1
_SILENT_SECONDS = 1.0
"""After such a time it is said what is waited for."""
_MOST = 2**62

_log = logging.getLogger("forebay.acquisition")


class NetworkSource:
    """Receives the frames that are pushed to an endpoint, as docs/reference/network-frames.md says.

    It listens as soon as it is made, and `wait` returns when a stream has begun: then the layout
    of the frames is known.  A sender may leave and come back, and the source waits for it as long
    as it takes.  It ends when the sender says that its stream is over.

    Whatever comes that is not a message as it should be is refused, and told in `anomalies`.  A
    frame of which that is true is missing from the counters of the others, and told by `on_lost`
    where its header can be believed.  So is the last exposure of which the sender says in the end
    that it had no room for it.

    Parameters
    ----------
    endpoint
        Where to listen: ``tcp://127.0.0.1:5555``; ``*`` as the port for any that is free.
    frames
        Frames to deliver; None for no limit.
    can_wait
        Whether those who send wait while nobody takes their frames.  ``FrameSender`` and any
        ZeroMQ socket of the type PUSH do, unless they are told not to.  False for a detector that
        throws frames away then: its frames are taken as fast as they come.
    queue_frames
        Frames of a connection that may wait here to be asked for.
    max_frame_bytes
        Largest frame that is taken, in bytes.
    secret_key
        File of the secret CURVE key of this side, with no permission for others.
    senders
        Folder of the public keys of those who may send, in files ``*.key``.  Without both, the
        endpoint has to be on this machine.
    metadata
        What to say of the instrument; it takes precedence over what the sender says.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If a parameter is out of range, a key cannot be read, or it cannot be listened there.

    Notes
    -----
    The pixels lie where ZeroMQ has received them: they are not copied, cannot be written to, and
    stay valid as long as somebody holds them.

    Examples
    --------
    >>> import numpy as np
    >>> from forebay.acquisition import Frame, Geometry
    >>> from forebay.acquisition.sources.network import FrameSender
    >>> layout = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    >>> with NetworkSource("tcp://127.0.0.1:*") as source, FrameSender(source.endpoint) as sender:
    ...     sender.begin(layout)
    ...     for counter in (7, 8):
    ...         _ = sender.send(Frame(counter, counter, np.full((4, 6), counter, "uint16")))
    ...     sender.end()
    ...     geometry = source.wait(timeout=5).geometry
    ...     [(frame.counter, int(frame.data.sum())) for frame in source.frames()]
    [(7, 168), (8, 192)]
    """

    def __init__(
        self,
        endpoint: str,
        *,
        frames: int | None = None,
        can_wait: bool = True,
        queue_frames: int = QUEUE_FRAMES,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        secret_key: str | os.PathLike[str] | None = None,
        senders: str | os.PathLike[str] | None = None,
        metadata: ImageMetadata | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._left = None if frames is None else whole("frames", frames, 1, _MOST)
        self._can_wait = can_wait
        self._given = metadata
        self._clock = clock
        waiting = whole("queue_frames", queue_frames, 1, 2**20)
        largest = whole("max_frame_bytes", max_frame_bytes, 1, _MOST)
        if (secret_key is None) != (senders is None):
            raise SourceError("secret_key and senders belong together; give both or neither")
        address = check_endpoint(endpoint, encrypted=secret_key is not None, listening=True)
        keys = None
        if secret_key is not None and senders is not None:
            keys = read_key_pair(secret_key), read_senders(senders)
        self.anomalies = AnomalyLog(clock)
        """What was refused, who was turned away, and who took whose place."""
        self._stream = FrameStream(max_frame_bytes=largest, anomalies=self.anomalies)
        self._pull = PullSocket(
            address,
            queue_frames=waiting,
            max_frame_bytes=largest,
            keys=keys,
            anomalies=self.anomalies,
        )
        self.on_lost: OnLost | None = None
        """Called with frames that came damaged, and with the last exposure that the sender counted."""
        self._first: Frame | None = None
        self._stopped = threading.Event()
        self._begun = self._closed = False
        # Held while a message is waited for, so that nothing is freed under it.
        self._busy = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port that was found."""
        return self._pull.endpoint

    @property
    def geometry(self) -> Geometry:
        """The layout that the first stream began with.

        Raises
        ------
        SourceError
            If none has begun yet; `wait` for it.
        """
        if self._stream.geometry is None:
            raise SourceError(f"no stream has begun at {self.endpoint} yet; wait() for it first")
        return self._stream.geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the first stream says of the instrument, and what was given."""
        return merged(self._stream.metadata, self._given)

    @property
    def can_wait(self) -> bool:
        """Whether those who send may be held up."""
        return self._can_wait

    def wait(
        self, *, timeout: float | None = None, cancelled: threading.Event | None = None
    ) -> Self:
        """Wait until a stream has begun, or its first frame has come.

        Parameters
        ----------
        timeout
            Longest time to wait, in seconds; None for no limit.
        cancelled
            Ends the wait when it is set, as `stop` does.

        Raises
        ------
        SourceError
            If none has begun until then.
        """
        if timeout is not None:
            timeout = real("timeout", timeout, 0.0, 1e9)
        began = self._clock.monotonic()
        told = False
        while self._stream.geometry is None:
            if self._stopped.is_set() or (cancelled is not None and cancelled.is_set()):
                raise SourceError(f"stopped before a stream began at {self.endpoint}")
            waited = self._clock.monotonic() - began
            if timeout is not None and waited > timeout:
                raise SourceError(
                    f"no stream has begun at {self.endpoint} within {timeout:g} s; start the "
                    "sender, or wait longer"
                )
            if waited > _SILENT_SECONDS and not told:
                most = "" if timeout is None else f", for {timeout:g} s at most"
                _log.warning("waiting for a stream to begin at %s%s", self.endpoint, most)
                told = True
            with self._busy:
                if not self._stopped.is_set():
                    self._first = self._receive(_LOOK_SECONDS)
            # Whoever receives the frames tells of the later ones.
            for anomaly in self.anomalies.take():
                _log.warning("%s at %s: %s", anomaly.kind, self.endpoint, anomaly.text)
        return self

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames as they come; once only.

        Raises
        ------
        SourceError
            If the frames were asked for before, or the source is closed.
        """
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True
        return self._deliver()

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at; may be called from any thread."""
        self._stopped.set()
        self._pull.wake()

    def close(self) -> None:
        """Stop, and free the endpoint; may be called twice."""
        self.stop()
        with self._busy:
            if not self._closed:
                self._closed = True
                self._first = None
                self._pull.close()

    def __enter__(self) -> Self:
        """Use the source within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and free the endpoint."""
        self.close()

    def _deliver(self) -> Iterator[Frame]:
        while self._left is None or self._left > 0:
            with self._busy:
                frame = self._next()
            if frame is None:
                return
            if self._left is not None:
                self._left -= 1
            yield frame

    def _next(self) -> Frame | None:
        """Return the next frame; None where there is no more."""
        while not self._stopped.is_set():
            frame, self._first = self._first, None
            if frame is not None or self._stream.ended:
                return frame
            if (frame := self._receive(None)) is not None:
                return frame
        return None

    def _receive(self, seconds: float | None) -> Frame | None:
        """Take a message; return the frame that it is, if it is one."""
        parts = self._pull.receive(seconds)
        if parts is None:
            return None
        try:
            frame = self._stream.take([part.buffer for part in parts])
        except MessageError as error:
            self.anomalies.report(AnomalyKind.MESSAGE_REFUSED, f"not taken: {error}")
            if isinstance(error, DamagedFrameError):
                self._lose(error.counter, error.why)
            return None
        if self._stream.ended and self._stream.counted_through is not None:
            self._lose(self._stream.counted_through, None)
        return frame

    def _lose(self, counter: int, why: str | None) -> None:
        if self.on_lost is not None:
            self.on_lost(counter, why)
