"""Packets that are lost between the camera and this machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.sources.genicam.conftest import ADDRESS, Camera
from tests.acquisition.sources.genicam.relay import ADDRESS as RELAY
from tests.acquisition.sources.genicam.relay import Relay

from forebay.acquisition import acquire, open_run
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.intake import Intake
from forebay.acquisition.sources.genicam import GenicamSource

pytestmark = pytest.mark.camera

FRAMES = 100
FEATURES = {"Width": "256", "Height": "128"}
PACKETS = 2 + -(-256 * 128 // (1400 - 36))
"""Leader, payload and trailer, by the fake camera's size of a packet."""
RAMP = np.add.outer(np.arange(128), np.arange(256))


def block_of(counter: int) -> int:
    """Return the number that the camera gave a block."""
    return (counter - 1) % 65535 + 1


def receive(address: str) -> tuple[GenicamSource, list[int]]:
    """Receive so many exposures, check every pixel of those that come, and return their numbers."""
    counters = []
    with GenicamSource(address, features=FEATURES, rate=100, frames=FRAMES) as source:
        intake = Intake(source.geometry, clock=SYSTEM_CLOCK)
        for frame in source.frames():
            counters.append(frame.counter)
            assert np.array_equal(frame.data, (RAMP + block_of(frame.counter)) % 255)
            assert intake.receive(frame) is not None
    assert intake.taken + intake.missing == counters[-1] - counters[0] + 1
    return source, counters


@pytest.mark.parametrize("which", ["leader", "payload", "trailer", "any"])
def test_lost_packets_are_asked_for_again(camera: Camera, which: str) -> None:
    """From a camera that can send them again, so that frames come whole which else would not.

    All of them do on a machine that has nothing else to do.
    """
    chance = np.random.default_rng(11)
    loses: dict[str, Callable[[int, int], bool]] = {
        "leader": lambda block, packet: packet == 0 and block % 3 == 0,
        "payload": lambda block, packet: packet in {5, 6} and block % 3 == 0,
        "trailer": lambda block, packet: packet == PACKETS - 1 and block % 3 == 0,
        "any": lambda block, packet: bool(chance.random() < 0.02),
    }
    with Relay(loses=loses[which]) as relay:
        source, counters = receive(RELAY)
    assert relay.asked_again > 0
    assert source.reception.resent_packets > 0
    delivered = {block_of(counter) for counter in counters}
    hurt = {block_of(counter) for counter in range(counters[0], counters[-1] + 1)}
    hurt &= {block for block, _ in relay.lost}
    assert len(hurt & delivered) > len(hurt) / 2 > 5


def test_what_cannot_be_sent_again_is_missing_from_the_counters(camera: Camera) -> None:
    """A frame that is not whole is not delivered; those around it are."""

    def loses(block: int, packet: int) -> bool:
        return packet == 7 and block % 10 == 0

    with Relay(loses=loses, resends=False) as relay:
        source, counters = receive(RELAY)
    assert relay.asked_again > 0
    delivered = {block_of(counter) for counter in counters}
    expected = {block_of(counter) for counter in range(counters[0], counters[-1] + 1)}
    hurt = expected & {block for block, _ in relay.lost}
    assert len(hurt) > 5
    assert not hurt & delivered
    assert len(delivered) > FRAMES / 2
    assert source.reception.incomplete >= len(hurt)


def test_frames_in_parts_are_written_down_also_where_none_comes_after_them(
    camera: Camera, tmp_path: Path
) -> None:
    """So that the sum is that of the camera, and the recording ends with the last exposure."""
    seen: set[int] = set()

    def loses(block: int, packet: int) -> bool:
        seen.add(block)
        return packet == 7 and len(seen) > 20

    with (
        Relay(loses=loses, resends=False),
        GenicamSource(RELAY, features=FEATURES, rate=100, frames=FRAMES) as source,
    ):
        acquire(source, tmp_path / "lossy")
    run = open_run(tmp_path / "lossy")
    committed = len(run.frames)
    assert 0 < committed <= 20
    lost = [each for each in run.dropped if each.reason == "packets of it were lost"]
    assert sum(each.last - each.first + 1 for each in lost) > FRAMES / 2
    assert committed + sum(each.last - each.first + 1 for each in run.dropped) == FRAMES


def test_a_camera_that_cannot_send_again_loses_frames(
    start_camera: Callable[..., Camera],
) -> None:
    """The fake camera with its own loss: two packets of a thousand."""
    start_camera("GV7", "-r", "2")
    source, counters = receive(ADDRESS)
    assert 0 < len(counters) < FRAMES
    assert source.reception.incomplete > 0
    assert source.reception.resent_packets == 0
