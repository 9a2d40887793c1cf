"""Who may write frames, and what happens to those who may not."""

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.sources.shared_memory.conftest import Connect, Deliver, Open, Run
from tests.acquisition.sources.shared_memory.programs import PATIENT, ring_for

from forebay.acquisition import Geometry
from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import AnomalyKind
from forebay.acquisition.sources.shared_memory import SharedMemorySource
from forebay.acquisition.sources.shared_memory import source as shared_memory_source
from forebay.acquisition.sources.shared_memory.grammar import open_shared_memory


def reason(answer: tuple[object, ...]) -> str:
    assert answer[2] == 1
    assert isinstance(answer[-1], bytes)
    return answer[-1].rstrip(b"\0").decode()


def test_the_socket_is_for_this_user_alone(listen: Open, runtime_folder: Path) -> None:
    """And is gone when the source is."""
    with listen():
        assert (runtime_folder / "camera.ring").stat().st_mode & 0o777 == 0o600
    assert list(runtime_folder.iterdir()) == []


def test_a_name_is_listened_to_once(listen: Open) -> None:
    listen()
    with pytest.raises(SourceError, match=r"shm:camera: another process .*; end that one, or choo"):
        listen()


@pytest.mark.parametrize("name", ["", "../camera", "a b", "x" * 65, "ü"])
def test_a_name_is_a_plain_one(name: str) -> None:
    with pytest.raises(SourceError, match="cannot be the name of a shared memory source"):
        SharedMemorySource(name)


def test_whoever_says_no_hello_is_turned_away_and_the_wait_goes_on(
    listen: Open, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    source = listen()
    bad = connect(magic=b"GET / HT")
    good = connect()
    source.wait(timeout=PATIENT)
    assert "not the hello" in reason(bad.answer())
    assert "was turned away: what was said is not the hello" in caplog.text
    assert source.anomalies.counts() == {AnomalyKind.SENDER_REFUSED: 1}
    good.say_goodbye()


def test_frames_of_another_layout_are_not_wanted(listen: Open, connect: Connect) -> None:
    source = listen(geometry=Geometry(("y", "x"), (4, 4), np.dtype("uint16")))
    producer = connect()
    with pytest.raises(SourceError, match=r"no program has connected to shm:camera within 0.5 s"):
        source.wait(timeout=0.5)
    assert reason(producer.answer()).startswith("it has frames of (2, 3) uint16, and")


def test_a_second_program_is_told_that_there_is_one(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """At once, and the first one is not disturbed."""
    source, first = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=8)
    delivered = deliver(source, ring)
    first.answer()
    assert reason(connect().answer()).endswith("is there already")
    first.send(1)
    first.say_goodbye()
    delivered.result(PATIENT)
    assert ring.waiting == 1


def test_a_program_that_came_too_early_is_told_when_nothing_comes_of_it(
    listen: Open, connect: Connect
) -> None:
    """Because the run could not be made, for example."""
    with listen() as source:
        producer = connect()
        source.wait(timeout=PATIENT)
    assert reason(producer.answer()) == "the recording has ended before it began"


def test_whoever_waits_in_vain_for_a_program_is_told_for_what(
    listen: Open,
    runtime_folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the wait is over, so that the program can be started; not where one is there."""
    monkeypatch.setattr(shared_memory_source, "_SILENT_SECONDS", 0.1)
    source = listen()
    with pytest.raises(SourceError, match="no program has connected"):
        source.wait(timeout=1.2)
    told = f"waiting for a program to connect to shm:camera, for 1.2 s at most: {runtime_folder}"
    assert [told in line for line in caplog.messages] == [True]


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_waiting_for_a_program_can_be_ended(listen: Open, how: str) -> None:
    source, cancelled = listen(), threading.Event()
    timer = threading.Timer(0.05, source.stop if how == "stop" else cancelled.set)
    timer.start()
    with pytest.raises(SourceError, match="stopped before a program connected"):
        source.wait(timeout=PATIENT, cancelled=cancelled)
    timer.join()


def test_nothing_is_known_of_frames_before_a_program_has_connected(listen: Open) -> None:
    source = listen()
    with pytest.raises(SourceError, match=r"wait\(\) for it first"):
        _ = source.geometry


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_turned_away(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the permissions of folder and socket would let him in."""
    with tempfile.TemporaryDirectory() as open_to_all:
        monkeypatch.setenv("XDG_RUNTIME_DIR", open_to_all)
        program = shutil.copy(camera, open_to_all)
        with SharedMemorySource("camera") as source:
            socket = Path(open_to_all) / "forebay" / "camera.ring"
            socket.chmod(0o666)
            socket.parent.chmod(0o755)
            Path(open_to_all).chmod(0o755)
            with subprocess.Popen(
                [program, socket, "4", "4", "1", "0"], user=65534, stderr=subprocess.PIPE
            ) as other:
                # The longer it takes to start, the longer somebody has to be at the door.
                while other.poll() is None:
                    with pytest.raises(SourceError, match="no program has connected"):
                        source.wait(timeout=0.2)
                said = other.communicate(timeout=PATIENT)[1]
            assert said == b"user 65534 may not write frames for user 0\n"
            assert other.returncode == 1


def test_a_source_is_opened_by_a_line_of_text(run: Run) -> None:
    """The program may be there first: it tries until somebody listens."""
    run(frames=1)
    with open_shared_memory("camera, lent_slots=4, reconnect=yes, timeout=20") as source:
        assert source.geometry.shape == (6, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera,reconnect", "is not key=value in shm:camera,reconnect"),
        ("camera,recconect=yes", "did you mean reconnect?"),
        ("camera,rate=5", "give it as --rate"),
        ("camera,timeout=1,timeout=2", "timeout is given twice"),
        ("camera,reconnect=perhaps", "reconnect cannot be 'perhaps'; give yes or no"),
        ("camera,timeout=0.01", "no program has connected to shm:camera within 0.01 s"),
        ("camera,lent_slots=0", "lent_slots cannot be 0"),
    ],
)
def test_a_text_that_says_something_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(SourceError) as refused:
        open_shared_memory(text)
    assert message in str(refused.value)
