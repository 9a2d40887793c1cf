"""Frames pushed over real sockets: what comes, what is refused, and how the source ends."""

import itertools
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forebay
from forebay.acquisition import Frame, FrameFlag, FrameSource, Geometry, ImageMetadata
from forebay.acquisition.errors import FrameError, SourceError
from forebay.acquisition.run.writing.account import NOT_DELIVERED
from forebay.acquisition.sources.network import FrameSender, NetworkSource
from forebay.acquisition.sources.network import source as network_source
from forebay.acquisition.sources.testing import check_source

type Listen = Callable[..., NetworkSource]
type RefusalsOf = Callable[[NetworkSource], Mapping[str, int]]
type Connect = Callable[[NetworkSource], Any]
type MakeFrame = Callable[[int], Frame]


def counters(source: FrameSource) -> list[int]:
    return [frame.counter for frame in source.frames()]


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "<u4", "int64", "float16", "float64"])
def test_frames_come_as_they_were_sent(
    listen: Listen, dtype: str, shape: tuple[int, ...], checksum: bool
) -> None:
    """Every pixel, counter, time and flag, with pixels in this machine's byte order."""
    source = listen()
    layout = Geometry(("c", "y", "x")[-len(shape) :], shape, np.dtype(dtype))
    pixels = np.random.default_rng(1).integers(0, 100, (3, *shape)).astype(dtype)
    known = ImageMetadata(exposure=0.5, frame_rate=2.0, instrument={"gain": 2})
    with FrameSender(source.endpoint, checksum=checksum) as sender:
        sender.begin(layout, known)
        for number, each in enumerate(pixels):
            assert sender.send(Frame(2**63 + number, -number, each, FrameFlag.SATURATED))
    source.wait(timeout=60)
    assert source.geometry == Geometry(layout.dims, shape, layout.dtype.newbyteorder("="))
    assert source.metadata == known
    received = list(source.frames())
    assert [frame.counter for frame in received] == [2**63, 2**63 + 1, 2**63 + 2]
    assert [frame.timestamp for frame in received] == [0, -1, -2]
    assert {frame.flags for frame in received} == {FrameFlag.SATURATED}
    np.testing.assert_array_equal([frame.data for frame in received], pixels)


def test_pixels_stay_where_zeromq_has_received_them(listen: Listen, connect: Connect) -> None:
    """They are not copied, cannot be written to, and outlive the source."""
    source = listen()
    sender = connect(source)
    sender.frame(1, b"abcdef")
    sender.end()
    (frame,) = source.wait(timeout=60).frames()
    source.close()
    assert not frame.data.flags.owndata
    assert not frame.data.flags.writeable
    assert frame.data.tobytes() == b"abcdef"


def test_a_network_source_keeps_the_promises(layout: Geometry, make_frame: MakeFrame) -> None:
    """With a sender for each, which pushes until the source takes no more."""
    with ExitStack() as senders:

        def open_anew() -> NetworkSource:
            source = NetworkSource("tcp://127.0.0.1:*")
            sender = senders.enter_context(FrameSender(source.endpoint, timeout=0))
            sender.begin(layout)
            for counter in range(4):
                assert sender.send(make_frame(counter))
            return source.wait(timeout=60)

        assert check_source(open_anew, frames=4) == ()


def test_a_stream_without_a_beginning_opens_with_its_first_frame(
    listen: Listen, connect: Connect
) -> None:
    """Which is delivered like the others."""
    source = listen()
    sender = connect(source)
    for counter in (7, 8):
        sender.frame(counter)
    sender.end()
    assert source.wait(timeout=60).geometry.shape == (2, 3)
    assert source.metadata == ImageMetadata()
    assert counters(source) == [7, 8]


def test_what_is_given_takes_precedence_over_what_the_sender_says(
    listen: Listen, connect: Connect
) -> None:
    source = listen(metadata=ImageMetadata(exposure=0.25))
    connect(source).header("begin", metadata={"exposure": 0.5, "frame_rate": 2.0})
    assert source.wait(timeout=60).metadata == ImageMetadata(exposure=0.25, frame_rate=2.0)


def test_malformed_messages_do_not_end_the_stream(listen: Listen, connect: Connect) -> None:
    """They are counted, and named at a bearable rate."""
    source = listen(max_frame_bytes=100)
    sender = connect(source)
    sender.frame(0)
    for _ in range(50):
        sender.push(b"")
    sender.push(b"\x80\x04K\x01.", b"pickle")
    sender.frame(1, bytes(5))
    sender.frame(2, shape=[50, 50])
    sender.header("frame", counter=3)
    sender.frame(4, crc32c=1)
    sender.end("b")
    sender.frame(5)
    sender.end()
    assert counters(source.wait(timeout=60)) == [0, 5]
    assert source.anomalies.counts() == {"message refused": 56}
    first, last = source.anomalies.take(everything=True)
    assert first.text.startswith("not taken: a header that is no JSON")
    assert last.text == "not taken: the end of stream 'b', which is not on"
    assert last.more == 54


def test_what_is_refused_before_a_stream_begins_is_said_at_once(
    listen: Listen, connect: Connect, refusals_of: RefusalsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for the stream sees why it does not begin."""
    source = listen()
    connect(source).header("begin", dtype="uint12")
    assert refusals_of(source) == {"message refused": 1}
    assert f"message refused at {source.endpoint}: not taken: a header whose dtype" in caplog.text


def test_a_frame_with_a_wrong_checksum_is_written_down_as_dropped(
    listen: Listen, connect: Connect, tmp_path: Path
) -> None:
    """From the socket into the run, with a reason of its own, also where it is the first or last."""
    source = listen()
    sender = connect(source)
    sender.header("begin")
    for counter in range(10, 17):
        sender.frame(counter, crc32c=1 if counter in {10, 12, 16} else None)
    sender.end()
    status = forebay.acquire(source.wait(timeout=60), tmp_path / "run", frames_per_block=2)
    assert (status.committed, status.dropped, status.counted) == (4, 3, 7)
    run = forebay.open_run(tmp_path / "run")
    assert [(each.first, each.last) for each in run.dropped] == [(10, 10), (12, 12), (16, 16)]
    assert {each.reason for each in run.dropped} == {"its checksum did not fit its pixels"}
    assert {note.topic for note in run.notes if "CRC-32C" in note.text} == {"message refused"}


def test_a_frame_with_too_few_pixels_is_written_down_as_such(
    listen: Listen, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gap before it keeps the reason of a gap; the recorder is not said to drop frames."""
    source = listen()
    sender = connect(source)
    sender.frame(0)
    sender.frame(3, bytes(5))
    sender.frame(4)
    sender.end()
    status = forebay.acquire(source.wait(timeout=60), tmp_path / "run")
    assert (status.committed, status.dropped, status.counted) == (2, 3, 5)
    assert status.flow == "normal"
    assert "dropping" not in caplog.text
    run = forebay.open_run(tmp_path / "run")
    assert [(each.first, each.last, each.reason) for each in run.dropped] == [
        (1, 2, NOT_DELIVERED),
        (3, 3, "its message had another number of bytes than its pixels have"),
    ]


@pytest.mark.parametrize(
    ("counter", "dropped"), [(None, []), (2, []), (5, [(3, 5)]), (0, [])], ids=str
)
def test_the_end_tells_of_frames_that_were_not_sent(
    listen: Listen,
    connect: Connect,
    tmp_path: Path,
    counter: int | None,
    dropped: list[tuple[int, int]],
) -> None:
    """Those behind the last one; a sender that says nothing, or nothing new, is believed as well."""
    source = listen()
    sender = connect(source)
    for each in range(3):
        sender.frame(each)
    sender.header("end", counter=counter)
    status = forebay.acquire(source.wait(timeout=60), tmp_path / "run")
    run = forebay.open_run(tmp_path / "run")
    assert [(each.first, each.last) for each in run.dropped] == dropped
    assert all(each.reason == NOT_DELIVERED for each in run.dropped)
    assert status.committed == 3
    assert status.counted == 3 + status.dropped


def test_a_sender_without_room_says_how_far_it_has_counted(listen: Listen, tmp_path: Path) -> None:
    """The last frames are written down as dropped, which no later one tells of."""
    layout = Geometry(("y", "x"), (1024, 1024), np.dtype("uint16"))
    source = listen(queue_frames=1)
    full = threading.Event()
    taken: list[int] = []
    refused: list[int] = []

    def push() -> None:
        with FrameSender(source.endpoint, timeout=120, queue_frames=1) as sender:
            sender.begin(layout)
            pixels = np.zeros(layout.shape, layout.dtype)
            # What is on its way may leave room for one more.
            for counter in itertools.count():
                sent = sender.send(Frame(counter, counter, pixels), timeout=0 if counter else 60)
                (taken if sent else refused).append(counter)
                if refused[-2:] == [counter - 1, counter]:
                    break
            full.set()

    pushing = threading.Thread(target=push)
    pushing.start()
    assert full.wait(timeout=120)
    status = forebay.acquire(source.wait(timeout=60), tmp_path / "run")
    pushing.join()
    counts = (len(taken), len(refused), len(taken) + len(refused))
    assert (status.committed, status.dropped, status.counted) == counts
    run = forebay.open_run(tmp_path / "run")
    dropped = [range(each.first, each.last + 1) for each in run.dropped]
    assert [*itertools.chain.from_iterable(dropped)] == refused


def test_too_large_a_message_is_never_received_whole(
    listen: Listen, connect: Connect, refusals_of: RefusalsOf, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sender is disconnected, which is told; others go on."""
    source = listen(max_frame_bytes=1000)
    large = connect(source)
    large.frame(0, bytes(100_000), shape=[250, 400])
    assert refusals_of(source) == {"sender refused": 1}
    assert "larger than max_frame_bytes=1000" in caplog.text
    small = connect(source)
    small.frame(7)
    small.end()
    assert counters(source.wait(timeout=60)) == [7]


def test_whoever_speaks_something_else_is_told_of(
    listen: Listen, refusals_of: RefusalsOf, caplog: pytest.LogCaptureFixture
) -> None:
    source = listen()
    port = int(source.endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"\xff" * 200)
        assert refusals_of(source) == {"sender refused": 1}
    assert "does not speak ZeroMQ" in caplog.text


def test_a_sender_is_held_up_while_nobody_takes_its_frames(listen: Listen) -> None:
    """Its queue, the system's buffers and the source's queue are all bounded, then send says no."""
    source = listen(queue_frames=2)
    layout = Geometry(("y", "x"), (2048, 2048), np.dtype("uint8"))
    pixels = np.zeros(layout.shape, layout.dtype)
    with FrameSender(source.endpoint, queue_frames=2, timeout=60) as sender:
        sender.begin(layout)
        source.wait(timeout=60)
        taken = 0
        while sender.send(Frame(taken, taken, pixels), timeout=1.5):
            taken += 1
            assert taken < 100
        receiving = source.frames()
        received = [next(receiving).counter for _ in range(taken)]
        assert received == list(range(taken))
        assert taken >= 4
        assert sender.send(Frame(taken, taken, pixels))


def test_so_many_frames_are_delivered_as_are_asked_for(listen: Listen, connect: Connect) -> None:
    source = listen(frames=2)
    sender = connect(source)
    for counter in range(5):
        sender.frame(counter)
    assert counters(source.wait(timeout=60)) == [0, 1]


def test_stopping_ends_the_wait_for_a_sender_that_says_no_more(
    listen: Listen, connect: Connect
) -> None:
    """However long it has been silent: no patience is in it."""
    source = listen()
    connect(source).frame(1)
    source.wait(timeout=60)
    came = threading.Event()
    received = []

    def receive() -> None:
        for frame in source.frames():
            received.append(frame.counter)
            came.set()

    receiver = threading.Thread(target=receive)
    receiver.start()
    assert came.wait(60)
    source.stop()
    receiver.join(60)
    assert not receiver.is_alive()
    assert received == [1]


@pytest.mark.parametrize("how", ["stop", "close", "cancelled"])
def test_waiting_for_a_stream_can_be_ended(listen: Listen, how: str) -> None:
    """From another thread."""
    source = listen()
    cancelled = threading.Event()
    said: list[str] = []

    def wait() -> None:
        try:
            source.wait(cancelled=cancelled)
        except SourceError as error:
            said.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    {"stop": source.stop, "close": source.close, "cancelled": cancelled.set}[how]()
    waiting.join(60)
    assert not waiting.is_alive()
    assert said == [f"stopped before a stream began at {source.endpoint}"]


def test_whoever_waits_in_vain_for_a_stream_is_told_for_what(
    listen: Listen, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and before the wait is over, so that the sender can be started."""
    monkeypatch.setattr(network_source, "_SILENT_SECONDS", 0.1)
    source = listen()
    with pytest.raises(SourceError, match="no stream has begun"):
        source.wait(timeout=1.4)
    told = f"waiting for a stream to begin at {source.endpoint}, for 1.4 s at most"
    assert caplog.messages == [told]


def test_before_a_stream_has_begun_there_is_no_layout(listen: Listen) -> None:
    source = listen()
    with pytest.raises(SourceError, match=r"wait\(\) for it first"):
        _ = source.geometry
    with pytest.raises(
        SourceError, match=r"no stream has begun at .* within 0 s; start the sender"
    ):
        source.wait(timeout=0)


def test_a_port_that_is_taken_is_refused(listen: Listen) -> None:
    taken = listen().endpoint
    with pytest.raises(SourceError, match=f"cannot listen at {taken}: Address already in use"):
        NetworkSource(taken)


def test_frames_are_delivered_once(listen: Listen, connect: Connect) -> None:
    source = listen()
    sender = connect(source)
    sender.frame(1)
    sender.end()
    assert counters(source.wait(timeout=60)) == [1]
    with pytest.raises(SourceError, match="has delivered its frames already"):
        source.frames()
    source.close()
    with pytest.raises(SourceError, match="is closed"):
        source.frames()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": 0}, "frames cannot be 0"),
        ({"queue_frames": 0}, "queue_frames cannot be 0"),
        ({"max_frame_bytes": True}, "max_frame_bytes cannot be True"),
        ({"secret_key": "k"}, "secret_key and senders belong together"),
        ({"senders": "k"}, "secret_key and senders belong together"),
    ],
)
def test_a_parameter_out_of_range_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        NetworkSource("tcp://127.0.0.1:*", **options)


def test_a_sender_sends_only_what_a_run_can_hold(
    listen: Listen, layout: Geometry, make_frame: MakeFrame
) -> None:
    """What is wrong is said on the sender's side, before anything is sent."""
    with FrameSender(listen().endpoint, timeout=0) as sender:
        with pytest.raises(SourceError, match="begin one before frames are sent"):
            sender.send(make_frame(0))
        with pytest.raises(FrameError, match="the dtype complex64"):
            sender.begin(Geometry(("y", "x"), (2, 3), np.dtype("complex64")))
        with pytest.raises(SourceError, match="the stream cannot be sent"):
            sender.begin(layout, stream="x" * 65)
        with pytest.raises(SourceError, match=r"instrument.* cannot be sent"):
            sender.begin(layout, ImageMetadata(instrument={"camera": object()}))
        with pytest.raises(SourceError, match="65536 are the most; leave some out"):
            sender.begin(layout, ImageMetadata(instrument={"notes": "x" * 70_000}))
        sender.begin(layout)
        with pytest.raises(FrameError, match=r"has the shape \(3, 2\)"):
            sender.send(Frame(0, 0, np.zeros((3, 2), np.uint8)))
        with pytest.raises(FrameError, match="counter is -1"):
            sender.send(Frame(-1, 0, np.zeros((2, 3), np.uint8)))
