"""A source that listens on 127.0.0.1, and sockets that push to it."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import zmq

from forebay.acquisition import Frame, Geometry
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.network import NetworkSource

type Listen = Callable[..., NetworkSource]


class RawSender:
    """A PUSH socket that sends whatever it is told to; it knows nothing of forebay."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self.socket = socket

    def push(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)

    def header(self, kind: str, pixels: bytes | None = None, **fields: Any) -> None:
        """Send a message that is right but for the fields that are given; None leaves one out."""
        header: dict[str, Any] = {"version": 1, "kind": kind, "stream": "a"}
        if kind != "end":
            header |= {"shape": [2, 3], "dtype": "uint8"}
        if kind == "frame":
            header |= {"counter": 0, "timestamp": 0}
        header = {key: value for key, value in (header | fields).items() if value is not None}
        self.push(json.dumps(header).encode(), *([] if pixels is None else [pixels]))

    def frame(self, counter: int, pixels: bytes = bytes(6), **fields: Any) -> None:
        self.header("frame", pixels, counter=counter, timestamp=counter + 1, **fields)

    def end(self, stream: str = "a") -> None:
        self.header("end", stream=stream)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Open a source at a free port; it is closed after the test."""
    with contextlib.ExitStack() as opened:

        def open_one(endpoint: str = "tcp://127.0.0.1:*", **options: Any) -> NetworkSource:
            return opened.enter_context(NetworkSource(endpoint, **options))

        yield open_one


@pytest.fixture
def connect() -> Iterator[Callable[[NetworkSource], RawSender]]:
    """Connect a raw sender to a source; it is closed after the test."""
    with contextlib.ExitStack() as opened:
        context = opened.enter_context(zmq.Context())

        def connect_one(source: NetworkSource) -> RawSender:
            socket = opened.enter_context(context.socket(zmq.PUSH))
            socket.linger = 0
            socket.sndtimeo = 10_000
            socket.connect(source.endpoint)
            return RawSender(socket)

        yield connect_one


@pytest.fixture
def layout() -> Geometry:
    return Geometry(("y", "x"), (2, 3), np.dtype("uint8"))


@pytest.fixture
def make_frame(layout: Geometry) -> Callable[[int], Frame]:
    """Make a frame whose pixels are its counter."""
    return lambda counter: Frame(
        counter, 1000 + counter, np.full(layout.shape, counter % 256, layout.dtype)
    )


@pytest.fixture
def refusals_of() -> Callable[[NetworkSource], Mapping[str, int]]:
    """Wait until a source has refused something, and return what."""

    def wait_for_refusals(source: NetworkSource) -> Mapping[str, int]:
        for _ in range(100):
            with pytest.raises(SourceError, match="no stream has begun"):
                source.wait(timeout=0.1)
            if source.anomalies.counts():
                break
        return source.anomalies.counts()

    return wait_for_refusals
