"""The page that specifies the messages is right, and is enough to write a sender from.

The sender in this file knows nothing of forebay; each step of it is a sentence of
docs/reference/network-frames.md.
"""

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from pydantic import BaseModel

from forebay.acquisition import Frame, FrameFlag, Geometry, ImageMetadata
from forebay.acquisition.sources.network import FrameSender, NetworkSource
from forebay.acquisition.sources.network.header import Begin, End, FrameHeader, StreamMetadata

PAGE = (Path(__file__).parents[4] / "docs/reference/network-frames.md").read_text()
LAYOUT = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
PIXELS = np.array([[70, 71, 72], [80, 81, 82]], "uint16")
METADATA = ImageMetadata(
    pixel_size=(0.351, 0.351),
    exposure=0.01,
    frame_rate=90.0,
    instrument={"detector": "D-12", "gain": 2},
)


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1]


def crc32c_of(data: bytes) -> int:
    """CRC-32C by its definition: reflected polynomial 0x82F63B78, all ones before and after."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


class Detector:
    """A sender as one would write it elsewhere: two channels of three rows and two columns."""

    def __init__(self, endpoint: str, stream: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.connect(endpoint)
        self.common = {"version": 1, "stream": stream}
        self.layout = {"shape": [2, 3, 2], "dtype": "int16"}

    def begin(self, **metadata: Any) -> None:
        header = {**self.common, **self.layout, "kind": "begin", "metadata": metadata}
        self.socket.send(json.dumps(header).encode("utf-8"))

    def send(self, counter: int, pixels: list[int], flags: int) -> None:
        data = struct.pack("<12h", *pixels)
        header = {
            **self.common,
            **self.layout,
            "kind": "frame",
            "counter": counter,
            "timestamp": 1_700_000_000_000_000_000 + counter,
            "flags": flags,
            "crc32c": crc32c_of(data),
        }
        self.socket.send_multipart([json.dumps(header).encode("utf-8"), data])

    def end(self) -> None:
        self.socket.send(json.dumps({**self.common, "kind": "end"}).encode("utf-8"))
        self.socket.close(linger=5000)
        self.context.term()


def test_a_sender_made_from_the_page_delivers() -> None:
    with NetworkSource("tcp://127.0.0.1:*") as source:
        detector = Detector(source.endpoint, "made from the page, 1")
        detector.begin(exposure=0.5, channels=["left", "right"], instrument={"model": "Ω"})
        for counter in (3, 4):
            detector.send(counter, [counter * n for n in range(-6, 6)], flags=2)
        detector.end()
        frames = list(source.wait(timeout=60).frames())
        assert source.geometry == Geometry(("c", "y", "x"), (2, 3, 2), np.dtype("int16"))
        assert source.metadata == ImageMetadata(
            exposure=0.5, channels=("left", "right"), instrument={"model": "Ω"}
        )
    assert [frame.counter for frame in frames] == [3, 4]
    assert [frame.timestamp - 1_700_000_000_000_000_000 for frame in frames] == [3, 4]
    assert {frame.flags for frame in frames} == {FrameFlag.INCOMPLETE}
    assert frames[0].data[1, 0].tolist() == [0, 3]
    assert frames[1].data[0, 2].tolist() == [-8, -4]


def test_the_examples_are_what_is_sent() -> None:
    """Field by field and byte by byte."""
    frame = Frame(1841, 1_700_000_000_123_456_789, PIXELS)
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with FrameSender(f"tcp://127.0.0.1:{port}", checksum=True) as sender:
            sender.begin(LAYOUT, METADATA, stream="7f3a")
            sender.send(frame)
        messages = [socket.recv_multipart() for _ in range(3)]
    assert [len(message) for message in messages] == [1, 2, 1]
    for message, name in zip(messages, ("begin", "frame", "end"), strict=True):
        assert json.loads(message[0]) == json.loads(example(name))
    assert messages[1][1] == bytes.fromhex(example("pixels"))
    assert crc32c_of(messages[1][1]) == json.loads(example("frame"))["crc32c"]


def test_the_examples_are_taken() -> None:
    """As they stand on the page."""
    pixels = bytes.fromhex(example("pixels"))
    with zmq.Context() as context, NetworkSource("tcp://127.0.0.1:*") as source:
        with context.socket(zmq.PUSH) as socket:
            socket.connect(source.endpoint)
            socket.send(example("begin").encode())
            socket.send_multipart([example("frame").encode(), pixels])
            socket.send(example("end").encode())
            (frame,) = source.wait(timeout=60).frames()
        assert source.metadata == METADATA
        assert source.anomalies.counts() == {}
    assert frame.data.tolist() == PIXELS.tolist()


def test_the_page_lists_every_field() -> None:
    """No more and no fewer, and of each field in which kinds it is."""
    listed = dict(
        re.findall(
            r"^\| `(\w+)` \| (all|begin|frame|begin, frame|frame, end) \|", PAGE, re.MULTILINE
        )
    )
    kinds: dict[str, type[BaseModel]] = {"begin": Begin, "frame": FrameHeader, "end": End}
    for name, where in listed.items():
        expected = {"all": {"begin", "frame", "end"}}.get(where, set(where.split(", ")))
        assert {kind for kind, model in kinds.items() if name in model.model_fields} == expected
    for model in kinds.values():
        assert set(model.model_fields) <= set(listed)
    described = PAGE.partition("| field of `metadata`")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", described, re.MULTILINE)) == set(
        StreamMetadata.model_fields
    )
