"""Beyond this machine frames come only encrypted, and only from those who are known."""

import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import zmq
from zmq.auth import create_certificates, load_certificate

from forebay.acquisition import Frame, Geometry
from forebay.acquisition.errors import ControlError, SourceError
from forebay.acquisition.sources.network import FrameSender, NetworkSource

type Listen = Callable[..., NetworkSource]
type RefusalsOf = Callable[[NetworkSource], Mapping[str, int]]


class Keys:
    """The keys of a receiver, of a sender that it knows, and of one that it does not."""

    def __init__(self, folder: Path) -> None:
        self.senders = folder / "senders"
        self.senders.mkdir()
        for name in ("receiver", "known", "stranger"):
            create_certificates(folder, name)
            (folder / f"{name}.key_secret").chmod(0o600)
        (folder / "known.key").rename(self.senders / "known.key")
        self.receiver = folder / "receiver.key_secret"
        self.receiver_public = folder / "receiver.key"
        self.known = folder / "known.key_secret"
        self.stranger = folder / "stranger.key_secret"

    @property
    def secrets(self) -> list[str]:
        files = (self.receiver, self.known, self.stranger)
        return [(load_certificate(file)[1] or b"").decode() for file in files]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_sender_that_is_known_delivers(listen: Listen, keys: Keys) -> None:
    """Also a frame of just the largest size, to which encryption adds some bytes."""
    layout = Geometry(("y", "x"), (300, 500), np.dtype("uint8"))
    pixels = np.full(layout.shape, 7, layout.dtype)
    source = listen(
        secret_key=keys.receiver, senders=keys.senders, max_frame_bytes=layout.frame_bytes
    )
    with FrameSender(
        source.endpoint, secret_key=keys.known, receiver_key=keys.receiver_public
    ) as sender:
        sender.begin(layout)
        sender.send(Frame(0, 0, pixels))
        sender.end()
        (frame,) = source.wait(timeout=60).frames()
    np.testing.assert_array_equal(frame.data, pixels)


@pytest.mark.parametrize(
    "who", ["a stranger", "somebody without keys", "one with another receiver"]
)
def test_whoever_is_not_known_is_turned_away(
    listen: Listen,
    keys: Keys,
    refusals_of: RefusalsOf,
    caplog: pytest.LogCaptureFixture,
    who: str,
) -> None:
    """No message is taken, it is told, and no secret is in what is told."""
    caplog.set_level(logging.DEBUG)
    source = listen(secret_key=keys.receiver, senders=keys.senders)
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 0
        if who != "somebody without keys":
            own = keys.stranger if who == "a stranger" else keys.known
            other = keys.receiver_public if who == "a stranger" else keys.senders / "known.key"
            socket.curve_publickey, secret = load_certificate(own)
            socket.curve_secretkey = secret or b""
            socket.curve_serverkey = load_certificate(other)[0]
        socket.connect(source.endpoint)
        socket.send(b"{}")
        assert set(refusals_of(source)) == {"sender refused"}
    assert f"sender refused at {source.endpoint}: " in caplog.text
    for secret_text in keys.secrets:
        assert secret_text not in caplog.text


def test_a_sender_that_is_not_known_is_told_to_look_at_the_keys(listen: Listen, keys: Keys) -> None:
    """When nothing is taken: the receiver does not say why."""
    source = listen(secret_key=keys.receiver, senders=keys.senders)
    layout = Geometry(("y", "x"), (2, 3), np.dtype("uint8"))
    with FrameSender(
        source.endpoint,
        timeout=0.2,
        queue_frames=1,
        secret_key=keys.stranger,
        receiver_key=keys.receiver_public,
    ) as sender:
        sender.begin(layout)
        while sender.send(Frame(0, 0, np.zeros(layout.shape, layout.dtype))):
            """There is room left in the sender's own queue."""
        with pytest.raises(ControlError, match="and whether each side has the other's key"):
            sender.end()
        sender.close()


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:*", "tcp://0.0.0.0:*", "tcp://192.0.2.1:5555", "tcp://[::]:*", "tcp://8.8.8.8:80"],
)
def test_without_keys_nothing_beyond_this_machine_is_listened_at(endpoint: str) -> None:
    with pytest.raises(SourceError, match="beyond this machine, and frames go there only encrypt"):
        NetworkSource(endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:5555", "tcp://camera.example.org:5555"])
def test_without_keys_nothing_is_sent_beyond_this_machine(endpoint: str) -> None:
    with pytest.raises(SourceError, match="beyond this machine, and frames go there only encrypt"):
        FrameSender(endpoint)


def test_with_keys_all_addresses_can_be_listened_at(listen: Listen, keys: Keys) -> None:
    source = listen("tcp://*:*", secret_key=keys.receiver, senders=keys.senders)
    assert source.endpoint.startswith("tcp://0.0.0.0:")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1:5555",
        "ipc:///tmp/frames",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:5555\n",
        "tcp://127.0.0.1;eth0:5555",
        "tcp://::1:5555",
        "tcp://eth0:5555",
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    """In one line, with an example of one."""
    with pytest.raises(SourceError) as refused:
        NetworkSource(endpoint)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("endpoint", ["tcp://localhost:*", "tcp://[::1]:*", "tcp://127.3.2.1:*"])
def test_the_names_of_this_machine_are_many(listen: Listen, endpoint: str) -> None:
    assert listen(endpoint).endpoint.startswith("tcp://")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_can_read_is_refused(keys: Keys, mode: int) -> None:
    keys.receiver.chmod(mode)
    with pytest.raises(SourceError, match="can be read by others; chmod 600 it"):
        NetworkSource("tcp://127.0.0.1:*", secret_key=keys.receiver, senders=keys.senders)


def test_a_file_that_is_no_key_is_refused_without_showing_it(keys: Keys, tmp_path: Path) -> None:
    """Whatever is in it: nothing of that is in the message."""
    content = {
        "empty": b"",
        "short": b'secret-key = "hunter2"\npublic-key = "x"',
        "strange": b'secret-key = "%s"\npublic-key = "%s"' % (b"\xff" * 40, b"\xff" * 40),
        "long": bytes(100_000),
    }
    files = {name: tmp_path / name for name in content}
    for name, file in files.items():
        file.write_bytes(content[name])
        file.chmod(0o600)
    public = keys.senders / "known.key"
    public.chmod(0o600)
    for file in (*files.values(), public, tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError) as refused:
            NetworkSource("tcp://127.0.0.1:*", secret_key=file, senders=keys.senders)
        assert str(file) in str(refused.value)
        assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_at_least_one_sender_has_to_be_known(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "nobody").mkdir()
    for folder in (tmp_path / "nobody", tmp_path / "missing"):
        with pytest.raises(SourceError, match="has no public keys"):
            NetworkSource("tcp://127.0.0.1:*", secret_key=keys.receiver, senders=folder)
