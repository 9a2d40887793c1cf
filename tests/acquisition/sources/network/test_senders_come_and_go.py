"""Senders die, come back, begin anew and change; the receiver goes and another one comes."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zmq

from forebay.acquisition import Frame, Geometry, ImageMetadata
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.errors import ControlError, SourceError
from forebay.acquisition.intake import AnomalyLog
from forebay.acquisition.sources.network import FrameSender, NetworkSource
from forebay.acquisition.sources.network.pull import PullSocket

type Listen = Callable[..., NetworkSource]
type Connect = Callable[[NetworkSource], Any]
type MakeFrame = Callable[[int], Frame]

DETECTOR = """
import json, sys, time
import zmq

endpoint, stream, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
socket = zmq.Context().socket(zmq.PUSH)
socket.connect(endpoint)
for counter in range(first, last + 1):
    header = dict(version=1, kind="frame", stream=stream, counter=counter, timestamp=counter,
                  shape=[2, 3], dtype="uint8")
    socket.send_multipart([json.dumps(header).encode(), bytes(6)])
print("sent", flush=True)
sys.stdin.read()
"""


def detector(endpoint: str, stream: str, first: int, last: int) -> "subprocess.Popen[str]":
    """Start a program that pushes frames and then says no more."""
    return subprocess.Popen(
        [sys.executable, "-c", DETECTOR, endpoint, stream, str(first), str(last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_sender_may_come_back(listen: Listen) -> None:
    """The source waits for it; what was counted in between is missing from the counters."""
    source = listen()
    with detector(source.endpoint, "before", 0, 3) as first:
        source.wait(timeout=60)
        received = source.frames()
        assert [next(received).counter for _ in range(4)] == [0, 1, 2, 3]
        first.kill()
    with detector(source.endpoint, "after", 10, 11) as second:
        assert [next(received).counter for _ in range(2)] == [10, 11]
        second.kill()
    assert source.anomalies.counts() == {"sender changed": 1}
    (told,) = source.anomalies.take()
    assert told.text.startswith("stream 'after' of 2 × 3 uint8 takes the place of 'before'")


def test_a_sender_that_counts_anew_is_delivered_as_it_counts(
    listen: Listen, connect: Connect
) -> None:
    """What that means for the run is for the recorder to say."""
    source = listen()
    sender = connect(source)
    for stream, counter in [("a", 100), ("a", 101), ("b", 0), ("b", 1)]:
        sender.frame(counter, stream=stream)
    sender.end("b")
    assert [frame.counter for frame in source.wait(timeout=60).frames()] == [100, 101, 0, 1]


def test_two_senders_at_a_time_are_not_mixed(listen: Listen, connect: Connect) -> None:
    """The later one takes the place of the other, whose frames and end are refused from then on."""
    source = listen()
    sender = connect(source)
    for counter, stream in enumerate("aabababb"):
        sender.frame(counter, stream=stream)
    sender.end("a")
    sender.end("b")
    assert [frame.counter for frame in source.wait(timeout=60).frames()] == [0, 1, 2, 4, 6, 7]
    assert source.anomalies.counts() == {"sender changed": 1, "message refused": 3}


def test_another_layout_in_the_middle_is_delivered_as_it_is(
    listen: Listen, connect: Connect
) -> None:
    """The layout of the source stays, so that whoever records sees that the frame does not fit."""
    source = listen()
    sender = connect(source)
    sender.frame(0)
    sender.header("begin", shape=[1, 2], stream="b", metadata={"exposure": 1.0})
    sender.frame(1, bytes(2), shape=[1, 2], stream="b")
    sender.end("b")
    shapes = [frame.data.shape for frame in source.wait(timeout=60).frames()]
    assert shapes == [(2, 3), (1, 2)]
    assert source.geometry.shape == (2, 3)
    assert source.metadata == ImageMetadata()


def test_a_sender_goes_on_when_another_receiver_comes(
    listen: Listen, layout: Geometry, make_frame: MakeFrame
) -> None:
    """It notices nothing; the second receiver opens with the first frame that it gets."""
    first = listen(frames=2)
    with FrameSender(first.endpoint) as sender:
        sender.begin(layout, ImageMetadata(exposure=0.5))
        for counter in range(2):
            assert sender.send(make_frame(counter))
        assert [frame.counter for frame in first.wait(timeout=60).frames()] == [0, 1]
        first.close()
        second = listen(first.endpoint)
        assert sender.send(make_frame(2))
        assert sender.send(make_frame(3))
        sender.end()
        received = list(second.wait(timeout=60).frames())
    assert second.metadata == ImageMetadata()
    assert received[-1].counter == 3


def test_a_sender_that_fails_does_not_end_the_recording(
    listen: Listen, layout: Geometry, make_frame: MakeFrame
) -> None:
    """Only one that leaves its block in order does."""
    source = listen()

    def push(counter: int, failure: Exception | None) -> None:
        with FrameSender(source.endpoint) as sender:
            sender.begin(layout)
            sender.send(make_frame(counter))
            if failure:
                raise failure

    with pytest.raises(ZeroDivisionError):
        push(0, ZeroDivisionError())
    received = source.wait(timeout=60).frames()
    assert next(received).counter == 0
    push(5, None)
    assert [frame.counter for frame in received] == [5]


def test_a_sender_that_is_gone_before_it_is_heard_is_not_said_to_have_been_silent() -> None:
    """Its connection is over when its message is taken."""
    anomalies = AnomalyLog(SYSTEM_CLOCK)
    pull = PullSocket(
        "tcp://127.0.0.1:*", queue_frames=4, max_frame_bytes=9, keys=None, anomalies=anomalies
    )
    try:
        for _ in range(20):
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.connect(pull.endpoint)
                socket.send(b"a message")
            assert pull.receive(5.0) is not None
            assert pull.receive(0.01) is None
        assert anomalies.counts() == {}
    finally:
        pull.close()


def test_a_sender_without_a_receiver_says_so(layout: Geometry, make_frame: MakeFrame) -> None:
    """Frames wait in its queue as far as there is room; then it gives up."""
    sender = FrameSender("tcp://127.0.0.1:9", queue_frames=3, timeout=0.1)
    sender.begin(layout)
    assert [sender.send(make_frame(counter)) for counter in range(4)] == [True, True, False, False]
    with pytest.raises(ControlError, match=r"has taken nothing for 0\.1 s; see whether"):
        sender.end()
    sender.close()
    with pytest.raises(SourceError, match="is closed"):
        sender.begin(layout)


def test_a_sender_that_does_not_wait_knows_what_it_has_lost(listen: Listen) -> None:
    """A frame is either delivered, or `send` has said that it is not on its way."""
    source = listen(queue_frames=1)
    layout = Geometry(("y", "x"), (1024, 1024), np.dtype("uint8"))
    pixels = np.zeros(layout.shape, layout.dtype)
    with FrameSender(source.endpoint, queue_frames=1) as sender:
        sender.begin(layout)
        source.wait(timeout=60)
        sent = {n for n in range(60) if sender.send(Frame(n, n, pixels), timeout=0)}
        assert 0 < len(sent) < 60
        received = source.frames()
        assert {next(received).counter for _ in sent} == sent
