"""Frames of a real GigE Vision camera, on loopback."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.sources.genicam.conftest import ADDRESS, Camera
from tests.acquisition.sources.genicam.packing import PACKERS
from tests.acquisition.sources.genicam.relay import ADDRESS as RELAY
from tests.acquisition.sources.genicam.relay import Relay

from forebay.acquisition import FrameSource, Geometry, ImageMetadata
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import Intake
from forebay.acquisition.sources.genicam import FoundCamera, GenicamSource, cameras
from forebay.acquisition.sources.genicam.pixels import FORMATS
from forebay.acquisition.sources.genicam.threads import aravis_threads
from forebay.acquisition.sources.testing.conformance import check_source

pytestmark = pytest.mark.camera

SMALL = {"Width": "64", "Height": "48"}


def block_of(counter: int) -> int:
    """Return the number that the camera gave a block."""
    return (counter - 1) % 65535 + 1


def test_frames_are_those_that_the_camera_makes(camera: Camera) -> None:
    """Each pixel of a ramp that moves with the number of its block, through a wrap at 65535."""
    with GenicamSource(ADDRESS, features=SMALL, rate=200, frames=250) as source:
        assert source.geometry == Geometry(("y", "x"), (48, 64), np.dtype("uint8"))
        ramp = np.add.outer(np.arange(48), np.arange(64))
        counters = []
        for frame in source.frames():
            counters.append(frame.counter)
            assert np.array_equal(frame.data, (ramp + block_of(frame.counter)) % 255)
            assert not frame.flags
    steps = np.diff(counters)
    assert (steps == 1).sum() > 200, "but for those that a busy machine loses"
    assert steps.min() == 1
    assert counters[0] < 65535 < counters[-1], "the fake camera begins shortly before the wrap"


def test_the_settings_reach_the_camera_and_are_told(camera: Camera) -> None:
    """Each feature as its type wants it; the exposure changes the fake camera's ramp."""
    features: dict[str, str | bool] = {
        **SMALL,
        "PixelFormat": "Mono16",
        "ExposureTimeAbs": "1e5",
        "GainRaw": "0x1",
        "TestBoolean": True,
    }
    given = ImageMetadata(pixel_size=(0.1, 0.1), instrument={"operator": "ada"})
    with GenicamSource(ADDRESS, features=features, rate=50, metadata=given) as source:
        assert source.geometry.dtype == np.dtype("uint16")
        assert source.metadata.exposure == 0.1
        assert source.metadata.frame_rate == 50
        assert source.metadata.pixel_size == (0.1, 0.1)
        assert source.metadata.instrument == {
            "vendor": "Aravis",
            "model": "Fake",
            "serial": "GV7",
            "firmware": source.metadata.instrument["firmware"],
            "address": ADDRESS,
            "pixel_format": "Mono16",
            "bits": 16,
            "clock_uncertainty": None,
            "operator": "ada",
        }
        assert not source.can_wait
        frame = next(source.frames())
        ramp = np.add.outer(np.arange(48), np.arange(64)) + block_of(frame.counter)
        # The fake camera multiplies by 1 + gain + log10(exposure / 10 ms).
        assert np.array_equal(frame.data, np.minimum(ramp * 256 % 65535 * 3, 65535))


def test_frames_have_the_time_at_which_they_were_taken(camera: Camera) -> None:
    """The fake camera's clock is that of this machine, and cannot be read."""
    began = time.time_ns()
    with GenicamSource(ADDRESS, features=SMALL, rate=50, frames=20) as source:
        times = []
        for frame in source.frames():
            times.append(frame.timestamp)
            assert began < frame.timestamp < time.time_ns() + 1_000_000_000
    assert np.diff(times).min() > 0


def test_the_promises_of_a_source_are_kept(camera: Camera) -> None:
    """The same as for every other source."""
    found = check_source(lambda: GenicamSource(ADDRESS, features=SMALL, rate=100), seconds=1.0)
    assert found == ()


def test_a_slow_camera_can_be_stopped_while_a_frame_is_waited_for(camera: Camera) -> None:
    """Soon, though the next frame is ten seconds away."""
    with GenicamSource(ADDRESS, features=SMALL, rate=0.1) as source:
        assert isinstance(source, FrameSource)
        received = threading.Thread(target=lambda: list(source.frames()))
        received.start()
        time.sleep(0.3)  # so that it waits
        stopped = time.monotonic()
        source.stop()
        received.join(60)
        assert time.monotonic() - stopped < 5
        assert not received.is_alive()


def test_frames_that_find_no_buffer_are_missing_from_the_counters(camera: Camera) -> None:
    """The camera waits for nobody, and the frames that waited come first."""
    with GenicamSource(ADDRESS, features=SMALL, rate=100, frames=60, buffer_bytes=1) as source:
        frames = source.frames()
        counters = [next(frames).counter]
        time.sleep(0.3)  # held up here
        intake = Intake(source.geometry, clock=SYSTEM_CLOCK)
        for frame in frames:
            counters.append(frame.counter)
            intake.receive(frame)
        steps = np.diff(counters)
        assert steps.min() == 1
        assert steps.max() > 10
        assert intake.taken + intake.missing == counters[-1] - counters[1] + 1
    assert source.reception.unbuffered > 0


def test_a_camera_can_be_called_by_name(private_network: None, camera: Camera) -> None:
    """By its id, its serial number, and the short form that Aravis has for it."""
    expected = FoundCamera("Aravis-Fake-GV7", "Aravis", "Fake", "GV7", ADDRESS)
    assert cameras() == (expected,)
    assert expected.names == {"Aravis-Fake-GV7", "Aravis-GV7", "GV7", ADDRESS}
    with GenicamSource("Aravis-GV7", features=SMALL, rate=100, frames=2) as source:
        assert len(list(source.frames())) == 2
    with pytest.raises(SourceError, match=r"Other: no camera .* seen: Aravis-Fake-GV7 at 127"):
        GenicamSource("Other")


def test_without_any_camera_that_is_said(private_network: None) -> None:
    assert cameras() == ()
    with pytest.raises(SourceError, match="no camera that is called so answers; seen: none"):
        GenicamSource("GV7")


def test_an_address_without_a_camera_is_said(network: bool) -> None:
    """After the 2.5 s for which Aravis tries."""
    with pytest.raises(SourceError, match=r"camera 127\.0\.0\.9: .*timeout"):
        GenicamSource("127.0.0.9")


def test_a_camera_that_another_program_has_is_refused(camera: Camera) -> None:
    """It is not taken away from it."""
    with GenicamSource(ADDRESS, features=SMALL, rate=100) as source:
        frames = source.frames()
        next(frames)
        with pytest.raises(SourceError, match="another program has control of it"):
            GenicamSource(ADDRESS)
        assert next(frames).data.shape == (48, 64)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"Widht": "64"}, "has no feature 'Widht' now; did you mean Width?"),
        ({"width": "64"}, "has no feature 'width' now; did you mean Width?"),
        ({"Qqqq": "64"}, "has no feature 'Qqqq' now; its manual lists them"),
        ({"Width": "many"}, "Width .* cannot be 'many'; give a whole number from 1 to 2048"),
        ({"Width": "64.5"}, "Width .* cannot be '64.5'; give a whole number"),
        ({"Width": "0"}, "Width .* cannot be '0'; give a whole number from 1 to 2048"),
        ({"ExposureTimeAbs": "long"}, "cannot be 'long'; give a number from 10 to 1e"),
        ({"ExposureTimeAbs": "nan"}, "cannot be 'nan'; give a number"),
        ({"PixelFormat": "Mono7"}, "cannot be 'Mono7'; give one of BayerBG8, .*Mono16"),
        ({"PixelFormat": "RGB8"}, "pixel format RGB8 .* is not read; give PixelFormat=…"),
        ({"TestBoolean": "maybe"}, "cannot be 'maybe'; give true or false"),
        ({"SensorWidth": "64"}, "SensorWidth .* can only be read"),
        ({"AcquisitionStart": "1"}, "AcquisitionStart .* is a command or a group"),
    ],
)
def test_a_wrong_setting_is_said(camera: Camera, features: dict[str, str], said: str) -> None:
    """The message has the feature, the camera, and what it can be."""
    with pytest.raises(SourceError, match=said) as raised:
        GenicamSource(ADDRESS, features=features)
    assert str(raised.value).isprintable()


def test_a_rate_that_the_camera_does_not_have_is_said(camera: Camera) -> None:
    with pytest.raises(SourceError, match=r"FrameRate .*'5000.0'; give a number from 0.1 to 1000"):
        GenicamSource(ADDRESS, rate=5000)


def test_nothing_is_sent_but_to_the_address(camera: Camera, tmp_path: Path) -> None:
    """Neither a broadcast nor a question to a name server, seen from the system calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not here")
    session = f"""
from forebay.acquisition.sources.genicam import GenicamSource
with GenicamSource("{ADDRESS}", features={SMALL}, rate=100, frames=3) as source:
    assert len(list(source.frames())) == 3
"""
    calls = tmp_path / "calls"
    tracer = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-e",
        "trace=sendto,sendmsg,sendmmsg,connect",
        "-o",
        str(calls),
    ]
    subprocess.run([*tracer, sys.executable, "-c", session], check=True, timeout=60)
    addresses = re.findall(r'inet6?_(?:addr|pton)\((?:AF_INET6, )?"([^"]*)"', calls.read_text())
    assert len(addresses) > 50
    assert set(addresses) == {ADDRESS}


@pytest.mark.parametrize("name", PACKERS)
def test_packed_pixels_are_unpacked(
    name: str, start_camera: Callable[..., Camera], description: str, tmp_path: Path
) -> None:
    """From a camera that has the format; the relay packs, as the fake camera cannot."""
    form = next(form for form in FORMATS.values() if form.name == name)
    bits, pack = PACKERS[name]
    pixels = np.random.default_rng(5).integers(0, 2**bits, (6, 8))
    entry = '<EnumEntry Name="Mono8"'
    added = f'<EnumEntry Name="{name}"><Value>{form.code}</Value></EnumEntry>'
    file = tmp_path / "camera.xml"
    file.write_text(description.replace(entry, added + entry, 1))
    start_camera("GV7", "-g", str(file))
    features = {"Width": "8", "Height": "6", "PixelFormat": name}
    with (
        Relay(image=pack(pixels.reshape(-1).tolist())),
        GenicamSource(RELAY, features=features, rate=100, frames=3) as source,
    ):
        for frame in source.frames():
            assert frame.data.tolist() == pixels.tolist()
        assert source.metadata.instrument["bits"] == bits


def test_the_clock_of_a_camera_is_read(camera: Camera) -> None:
    """One that began when the camera was switched on: it is off by what reading it is off by."""
    with (
        Relay(clock_offset=1_000_000 * 1_000_000_000) as relay,
        GenicamSource(RELAY, features=SMALL, rate=50, frames=10) as source,
    ):
        uncertainty = source.metadata.instrument["clock_uncertainty"]
        assert 0 < uncertainty < 10
        for frame in source.frames():
            off = frame.timestamp - relay.taken[block_of(frame.counter)]
            assert abs(off) <= uncertainty * 1e9


def test_aravis_receives_as_urgently_as_its_frames_are_waited_for(camera: Camera) -> None:
    """Its thread began when the camera was opened, before anybody was placed."""
    core = max(os.sched_getaffinity(0))
    found: list[dict[int, set[int]]] = []

    def receive(source: GenicamSource) -> None:
        os.sched_setaffinity(0, {core})
        next(source.frames())
        found.append({thread: os.sched_getaffinity(thread) for thread in aravis_threads()})

    with GenicamSource(ADDRESS, features=SMALL, rate=100, frames=10) as source:
        began = set(aravis_threads())
        thread = threading.Thread(target=receive, args=(source,))
        thread.start()
        thread.join()
    assert began
    assert found == [{thread: {core} for thread in began}]
