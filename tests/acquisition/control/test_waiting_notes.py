"""A note waits for the storage; the others who ask, and the camera that is to be stopped, do not."""

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.acquisition.control.conftest import RUN, SECONDS, Remembering
from tests.acquisition.control.raw_client import RawClient

from forebay.acquisition.control import ControlClient, ControlServer
from forebay.acquisition.control.errands import Errands
from forebay.acquisition.control.messages import ClosedEvent, CommittedEvent
from forebay.acquisition.errors import ControlError


def sent(client: RawClient, request: str, **fields: Any) -> None:
    line = json.dumps({"version": 1, "request": request, **fields})
    client.socket.sendall(line.encode() + b"\n")


def test_others_are_answered_while_a_note_waits(
    server: ControlServer, controlled: Remembering, runtime_folder: Path
) -> None:
    """An operator who made a note on a disk that hangs can still look, stop, and be told."""
    controlled.storage_answers.clear()
    with RawClient(runtime_folder) as writes, ControlClient(RUN) as other:
        sent(writes, "annotate", text="the disk is slow")
        assert controlled.noting.wait(SECONDS)
        assert other.request("status")["flow"] == "normal"
        other.request("stop", reason="the disk hangs")
        assert controlled.asked == [("stop", "the disk hangs")]
        events = other.events(threading.Event())
        next(events)
        server.announce(CommittedEvent(blocks=1, frames=8, dropped=0, counted=8))
        assert next(events) == CommittedEvent(blocks=1, frames=8, dropped=0, counted=8)
        controlled.storage_answers.set()
        answer = writes.read()
        assert (answer["reply"], answer["ok"]) == ("annotate", True)
    assert controlled.asked[1:] == [("note", "annotation", "the disk is slow")]


def test_who_waits_for_a_note_is_answered_in_order(
    server: ControlServer, controlled: Remembering, runtime_folder: Path
) -> None:
    controlled.storage_answers.clear()
    with RawClient(runtime_folder) as client:
        for request in ({"request": "follow"}, {"request": "mark", "name": "laser on"}):
            sent(client, **request)
        sent(client, "annotate", text="then this")
        sent(client, "status")
        assert client.read()["reply"] == "follow"
        assert client.read()["event"] == "committed"
        assert controlled.noting.wait(SECONDS)
        server.announce(CommittedEvent(blocks=1, frames=8, dropped=0, counted=8))
        # Whoever follows is told all the same.
        assert client.read()["frames"] == 8
        controlled.storage_answers.set()
        assert [client.read()["reply"] for _ in range(3)] == ["mark", "annotate", "status"]
    assert [what for _, what, _ in controlled.asked] == ["event", "annotation"]


def test_who_leaves_while_a_note_waits_is_let_go_and_the_note_stays(
    server: ControlServer, controlled: Remembering, runtime_folder: Path
) -> None:
    controlled.storage_answers.clear()
    with RawClient(runtime_folder) as client:
        sent(client, "annotate", text="written in any case")
        assert controlled.noting.wait(SECONDS)
    controlled.storage_answers.set()
    with ControlClient(RUN) as other:
        other.request("annotate", text="the next one")
    assert [text for _, _, text in controlled.asked] == ["written in any case", "the next one"]


def test_a_note_that_is_made_at_the_end_is_answered(controlled: Remembering) -> None:
    """The server waits for what it was asked before."""
    answered: list[object] = []
    with contextlib.ExitStack() as serving:
        server = serving.enter_context(ControlServer(RUN, controlled))
        client = serving.enter_context(ControlClient(RUN))
        controlled.storage_answers.clear()
        asking = threading.Thread(
            target=lambda: answered.append(client.request("annotate", text="the last one"))
        )
        asking.start()
        assert controlled.noting.wait(SECONDS)
        server.announce(ClosedEvent(reason="done"))
        threading.Timer(0.2, controlled.storage_answers.set).start()
        server.__exit__(None, None, None)
        asking.join(SECONDS)
        serving.pop_all()
        client.close()
    assert answered == [{}]


def test_a_storage_that_never_answers_does_not_keep_the_server(
    controlled: Remembering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("forebay.acquisition.control.server._JOIN_SECONDS", 0.1)
    controlled.storage_answers.clear()
    with (
        ControlServer(RUN, controlled),
        ControlClient(RUN, timeout=0.1) as client,
        pytest.raises(ControlError, match="does not answer within"),
    ):
        client.request("annotate", text="never written")
    controlled.storage_answers.set()
    assert "hangs and is left behind" in caplog.text
    with pytest.raises(ControlError, match="no acquisition of this user is writing"):
        ControlClient(RUN)


def test_no_more_may_wait_than_the_bound() -> None:
    """What is asked for beyond it is refused, and the others are done in order."""
    begun, go, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def slow() -> bytes:
        begun.set()
        go.wait(SECONDS)
        return b"slow"

    errands: Errands[int] = Errands(most=2, on_done=done.release)
    errands.start()
    assert errands.ask(0, slow)
    assert begun.wait(SECONDS)
    assert [errands.ask(number, lambda: b"quick") for number in (1, 2, 3)] == [True, True, False]
    assert not errands.end(0.01)
    go.set()
    for _ in range(3):
        assert done.acquire(timeout=SECONDS)
    assert [*errands.done()] == [(0, b"slow"), (1, b"quick"), (2, b"quick")]
