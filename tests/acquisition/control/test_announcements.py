"""Followers hear what is announced, and nothing that they do reaches the recorder."""

import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.acquisition.control.conftest import RUN, SECONDS, Remembering, Start
from tests.acquisition.control.serving import AT

from forebay.acquisition.control import (
    ClosedEvent,
    CommittedEvent,
    ControlClient,
    ControlServer,
    Event,
    NotedEvent,
    StateEvent,
)
from forebay.acquisition.control import server as server_module
from forebay.acquisition.control.connection import OUTGOING_BYTES
from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.control.server import CLIENTS
from forebay.acquisition.errors import ControlError


def committed(blocks: int) -> CommittedEvent:
    return CommittedEvent(blocks=blocks, frames=8 * blocks, dropped=0, counted=8 * blocks + 3)


NOTHING = CommittedEvent(blocks=0, frames=0, dropped=0, counted=0)
STANDING = CommittedEvent(blocks=1, frames=2, dropped=0, counted=2)


class Follower:
    """Follows in a thread of its own."""

    def __init__(self, run_id: str = RUN) -> None:
        self.heard: list[Event] = []
        self.failure: ControlError | None = None
        self.stop = threading.Event()
        self._run_id = run_id
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        try:
            with ControlClient(self._run_id) as client:
                for event in client.events(self.stop):
                    with self._news:
                        self.heard.append(event)
                        self._news.notify_all()
        except ControlError as error:
            self.failure = error

    def wait_for(self, event: Event) -> bool:
        with self._news:
            return self._news.wait_for(lambda: event in self.heard, SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        self._thread.join(0 if kind else SECONDS)
        self.stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def follower() -> Iterator[Follower]:
    """Follow, and go on once the first event is heard: from then on all are."""
    with Follower() as following:
        assert following.wait_for(NOTHING)
        yield following


def test_a_follower_hears_everything_in_order_and_ends_with_the_run(
    controlled: Remembering,
) -> None:
    told: list[Event] = [
        committed(1),
        StateEvent(flow="spilling"),
        NotedEvent(topic="event", text="pump on", counter=11, at=17),
        committed(3),
        StateEvent(flow="normal"),
        ClosedEvent(reason="the source ended"),
    ]
    with ControlServer(RUN, controlled) as server, follower() as following:
        for event in told:
            server.announce(event)
    assert following.heard[1:] == told
    assert following.failure is None


def test_who_comes_late_hears_first_how_things_stand(controlled: Remembering) -> None:
    with ControlServer(RUN, controlled, standing=committed(2)) as server:
        for event in (committed(3), NotedEvent(topic="event", text="early"), committed(4)):
            server.announce(event)
        server.announce(StateEvent(flow="dropping"))
        with Follower() as following:
            assert following.wait_for(StateEvent(flow="dropping"))
            server.announce(ClosedEvent(reason="done"))
    assert [each for each in following.heard if not isinstance(each, NotedEvent)][-3:] == [
        committed(4),
        StateEvent(flow="dropping"),
        ClosedEvent(reason="done"),
    ]


def test_what_was_announced_before_the_end_is_still_heard(controlled: Remembering) -> None:
    """Closing the server does not cut off what it had been given."""
    with contextlib.ExitStack() as serving:
        server = serving.enter_context(ControlServer(RUN, controlled))
        with follower() as following:
            for blocks in range(1, 501):
                server.announce(committed(blocks))
            server.announce(ClosedEvent(reason="done"))
            serving.close()
    assert following.heard[1:] == [
        *(committed(blocks) for blocks in range(1, 501)),
        ClosedEvent(reason="done"),
    ]
    server.announce(committed(502))


def test_who_reads_late_still_hears_the_end(
    controlled: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends waits a moment for what its followers have not taken yet."""
    monkeypatch.setattr(server_module, "_FAREWELL_SECONDS", SECONDS)
    heard: list[Event] = []
    with ControlServer(RUN, controlled) as server:
        late = ControlClient(RUN)
        events = late.events(threading.Event())
        heard.append(next(events))
        for number in range(80):
            server.announce(NotedEvent(topic="event", text="x" * 3990, counter=number))
        server.announce(ClosedEvent(reason="done"))
        reading = threading.Timer(0.2, lambda: heard.extend(events))
        reading.start()
    reading.join(SECONDS)
    late.close()
    assert len(heard) == 82
    assert heard[-1] == ClosedEvent(reason="done")


def test_what_was_announced_while_a_request_took_its_time_is_heard_at_the_end(
    controlled: Remembering,
) -> None:
    with contextlib.ExitStack() as serving:
        server = serving.enter_context(ControlServer(RUN, controlled))
        with follower() as following:
            controlled.hold.clear()
            with ControlClient(RUN, timeout=0.1) as client:
                with pytest.raises(ControlError):
                    client.request("status")
                assert controlled.held.wait(SECONDS)
            server.announce(ClosedEvent(reason="done"))
            answering = threading.Timer(0.2, controlled.hold.set)
            answering.start()
            serving.close()
            answering.join(SECONDS)
    assert following.heard == [NOTHING, ClosedEvent(reason="done")]


def test_texts_that_no_line_could_carry_are_made_to_fit(controlled: Remembering) -> None:
    with ControlServer(RUN, controlled) as server, follower() as following:
        server.announce(NotedEvent(topic="source", text="no file 'a\udcff'"))
        server.announce(ClosedEvent(reason="x" * 100_000))
    *_, noted, closed = following.heard
    assert isinstance(noted, NotedEvent)
    assert noted.text == "no file 'a\\udcff'"
    assert closed == ClosedEvent(reason="x" * 4000)


def test_a_follower_that_takes_nothing_is_let_go_and_the_others_hear_all(
    controlled: Remembering,
) -> None:
    with ControlServer(RUN, controlled) as server, follower() as good:
        with ControlClient(RUN) as lazy:
            stopped = threading.Event()
            events = lazy.events(stopped)
            next(events)
            for number in range(3 * OUTGOING_BYTES // 4000):
                noted = NotedEvent(topic="event", text="x" * 3990, counter=number)
                server.announce(noted)
                assert good.wait_for(noted)
            with pytest.raises(ControlError, match="is gone"):
                for _ in events:
                    pass
        server.announce(ClosedEvent(reason="done"))
    assert len(good.heard) == 2 + 3 * OUTGOING_BYTES // 4000


def test_announcing_waits_for_nobody(controlled: Remembering) -> None:
    """Not even for the server's own thread: what it cannot keep up with is superseded."""
    with ControlServer(RUN, controlled) as server, follower() as following:
        controlled.hold.clear()
        with ControlClient(RUN, timeout=0.1) as client:
            with pytest.raises(ControlError):
                client.request("status")
            assert controlled.held.wait(SECONDS)
        for blocks in range(1, 50_001):
            server.announce(committed(blocks))
        controlled.hold.set()
        assert following.wait_for(committed(50_000))
        server.announce(ClosedEvent(reason="done"))
    assert len(following.heard) < 2000


def test_a_follower_may_leave_at_any_time(controlled: Remembering) -> None:
    with ControlServer(RUN, controlled) as server:
        for _ in range(5):
            with follower() as leaving:
                leaving.stop.set()
            server.announce(StateEvent(flow="normal"))
        with ControlClient(RUN) as client:
            assert client.request("status")


def test_so_many_clients_are_let_in_and_no_more(
    server: ControlServer,
) -> None:
    with contextlib.ExitStack() as connected:
        clients = [connected.enter_context(ControlClient(RUN)) for _ in range(CLIENTS)]
        for client in clients:
            assert client.request("status")
        with ControlClient(RUN) as late:
            with pytest.raises(RequestError, match="64 clients are connected already"):
                late.request("status")
            with pytest.raises(ControlError, match="is gone"):
                late.request("status")
        clients.pop().close()
        # The server has seen the end of that one when it answers what came after it.
        assert clients[0].request("status")
        with ControlClient(RUN) as late:
            assert late.request("status")


def test_without_a_free_descriptor_a_client_waits_to_be_let_in(
    server: ControlServer, runtime_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.settimeout(0.2)
    with contextlib.ExitStack() as taken:
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.enter_context(Path("/dev/null").open("rb"))
        waiting.connect(str(runtime_folder / f"{RUN}.sock"))
        waiting.sendall(b'{"version": 1, "request": "status"}\n')
        with pytest.raises(TimeoutError):
            waiting.recv(1)
    with waiting:
        waiting.settimeout(SECONDS)
        assert b'"ok":true' in waiting.recv(1000)
    assert "nobody can be let in" in caplog.text
    assert len(caplog.records) < 4


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_clients_leave_nothing_behind(server: ControlServer) -> None:
    def ask() -> None:
        with ControlClient(RUN) as client:
            client.request("status")

    ask()
    with ControlClient(RUN) as last:
        last.request("status")
        before = open_files(), threading.active_count()
        for _ in range(100):
            ask()
        last.request("status")
        assert (open_files(), threading.active_count()) == before


def test_a_process_that_is_killed_is_missed_at_once(tmp_path: Path, start_serving: Start) -> None:
    process, run_id = start_serving(tmp_path / "run")
    with Follower(run_id) as following:
        assert following.wait_for(STANDING)
        with ControlClient(run_id) as client:
            client.request("mark", name="pump on")
        assert following.wait_for(NotedEvent(topic="event", text="pump on", counter=2, at=AT))
        process.send_signal(signal.SIGKILL)
    assert "is gone" in str(following.failure)


def test_a_process_that_is_asked_to_stop_says_when_the_run_is_closed(
    tmp_path: Path, start_serving: Start
) -> None:
    process, run_id = start_serving(tmp_path / "run")
    with Follower(run_id) as following, ControlClient(run_id) as client:
        assert following.wait_for(STANDING)
        client.request("stop", reason="sample dried")
    assert following.heard[-1] == ClosedEvent(reason="sample dried")
    assert process.wait(SECONDS) == 0
