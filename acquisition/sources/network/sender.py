"""The sender's side: a detector's program pushes its frames."""

import os
import uuid
from contextlib import ExitStack
from typing import Any, Self

import crc32c
import numpy as np
import numpy.typing as npt
import zmq
from pydantic import ValidationError

from forebay.acquisition.errors import ControlError, SourceError
from forebay.acquisition.frames import Frame, Geometry, ImageMetadata, check_frame, check_geometry
from forebay.acquisition.sources.network.endpoint import check_endpoint
from forebay.acquisition.sources.network.header import (
    MAX_HEADER_BYTES,
    Begin,
    End,
    FrameHeader,
    StreamMetadata,
    encode_header,
    pixel_type,
)
from forebay.acquisition.sources.network.keys import read_key_pair, read_public_key
from forebay.acquisition.sources.parameters import real, whole

_LONGEST_WAIT = 1e6


class FrameSender:
    """Pushes frames to a `NetworkSource`, from one thread.

    It may be made before there is a receiver, which may also go and come back.  What is sent waits
    in a bounded queue; when that is full, `send` waits, and gives up after `timeout`.

    Leaving the ``with`` block ends the stream that is on, unless it is left by an exception:
    then a program that is started anew may begin another one in its place.

    Parameters
    ----------
    endpoint
        Where the receiver listens: ``tcp://127.0.0.1:5555``.
    timeout
        Seconds to wait for room in the queue, and in the end for it to empty.
    queue_frames
        Frames that may wait in the queue.
    checksum
        Whether the receiver is to check the pixels of every frame by their CRC-32C.
    secret_key
        File of the secret CURVE key of this side, with no permission for others.
    receiver_key
        File of the public key of the receiver.  Without both, it has to be on this machine.

    Raises
    ------
    SourceError
        If a parameter is out of range or a key cannot be read.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout: float = 10.0,
        queue_frames: int = 8,
        checksum: bool = False,
        secret_key: str | os.PathLike[str] | None = None,
        receiver_key: str | os.PathLike[str] | None = None,
    ) -> None:
        self._timeout = real("timeout", timeout, 0.0, _LONGEST_WAIT)
        waiting = whole("queue_frames", queue_frames, 1, 2**20)
        if (secret_key is None) != (receiver_key is None):
            raise SourceError("secret_key and receiver_key belong together; give both or neither")
        self._endpoint = check_endpoint(endpoint, encrypted=secret_key is not None, listening=False)
        # A receiver turns a sender away without telling it.
        self._with_keys = (
            "" if secret_key is None else ", and whether each side has the other's key"
        )
        self._checksum = checksum
        self._stream: str | None = None
        self._geometry: Geometry | None = None
        self._counted: int | None = None
        with ExitStack() as opened:
            context = zmq.Context()
            opened.callback(context.term)
            self._socket = context.socket(zmq.PUSH)
            opened.callback(self._socket.close, linger=round(self._timeout * 1000))
            self._socket.sndhwm = waiting
            self._socket.ipv6 = "[" in self._endpoint
            if secret_key is not None and receiver_key is not None:
                keys = read_key_pair(secret_key)
                self._socket.curve_publickey = keys.public
                self._socket.curve_secretkey = keys.secret
                self._socket.curve_serverkey = read_public_key(receiver_key)
            self._socket.connect(self._endpoint)
            self._opened = opened.pop_all()

    def begin(
        self,
        geometry: Geometry,
        metadata: ImageMetadata | None = None,
        *,
        stream: str | None = None,
    ) -> None:
        """Begin a stream of frames that are all alike.

        Parameters
        ----------
        geometry
            The layout of every frame to come.
        metadata
            What is known of the instrument.
        stream
            A name that no other stream has, 1 to 64 characters; one at random if not given.

        Raises
        ------
        FrameError, SourceError
            If frames cannot have that layout, or the metadata or the name cannot be sent.
        ControlError
            If the queue stays full.
        """
        check_geometry(geometry)
        name = uuid.uuid4().hex if stream is None else stream
        try:
            header = Begin(
                stream=name,
                shape=geometry.shape,
                dtype=pixel_type(geometry.dtype),
                metadata=StreamMetadata.of(metadata or ImageMetadata()),
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise SourceError(f"the {field} cannot be sent: {first['msg']}") from error
        encoded = encode_header(header)
        if len(encoded) > MAX_HEADER_BYTES:
            raise SourceError(
                f"the metadata are {len(encoded)} bytes as JSON, and {MAX_HEADER_BYTES} are the "
                "most; leave some out"
            )
        self._must_send(encoded)
        self._stream, self._geometry, self._counted = name, geometry, None

    def send(self, frame: Frame, *, timeout: float | None = None) -> bool:
        """Send a frame; its pixels are copied and may be changed afterwards.

        Parameters
        ----------
        frame
            The frame, as `begin` has said.
        timeout
            Seconds to wait for room; those that the sender was made with if not given.

        Returns
        -------
        bool
            Whether it is on its way.  If not, the queue was full all the time; the receiver will
            write its counter down as dropped when the next frame comes, or at the end.

        Raises
        ------
        FrameError
            If it is not as `begin` has said.
        SourceError
            If no stream is on.
        """
        if self._stream is None or self._geometry is None:
            raise SourceError("no stream is on; begin one before frames are sent")
        counter = self._counted = check_frame(frame, self._geometry, following=None)
        pixels = _as_sent(frame.data)
        header = FrameHeader(
            stream=self._stream,
            counter=counter,
            timestamp=frame.timestamp,
            shape=self._geometry.shape,
            dtype=pixel_type(self._geometry.dtype),
            flags=int(frame.flags),
            crc32c=crc32c.crc32c(pixels) if self._checksum else None,
        )
        return self._send([encode_header(header), pixels], timeout)

    def end(self) -> None:
        """End the stream: the receiver closes its run.

        Raises
        ------
        ControlError
            If the queue stays full.
        """
        if self._stream is not None:
            self._must_send(encode_header(End(stream=self._stream, counter=self._counted)))
            self._stream = None

    def close(self) -> None:
        """Wait until what was sent has left, `timeout` at most; may be called twice.

        A stream that is on is not ended by this.
        """
        self._stream = None
        self._opened.close()

    def __enter__(self) -> Self:
        """Send within the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End the stream if there was no exception, and wait until everything has left."""
        try:
            if kind is None:
                self.end()
        finally:
            self.close()

    def _must_send(self, header: bytes) -> None:
        if not self._send([header], None):
            raise ControlError(
                f"{self._endpoint} has taken nothing for {self._timeout:g} s; see whether the "
                f"receiver runs and keeps up{self._with_keys}"
            )

    def _send(self, parts: list[Any], timeout: float | None) -> bool:
        seconds = self._timeout
        if timeout is not None:
            seconds = real("timeout", timeout, 0.0, _LONGEST_WAIT)
        if self._socket.closed:
            raise SourceError("the sender is closed; make another one")
        if not self._socket.poll(round(seconds * 1000), zmq.POLLOUT):
            return False
        self._socket.send_multipart(parts)
        return True


def _as_sent(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels in C order and little endian."""
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
