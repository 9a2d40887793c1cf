"""The server's side of a control socket: one thread, for all who ask and all who follow.

What waits for the storage is done by a second one, so that an operator who has made a note on a
disk that hangs can still look, and stop.
"""

import contextlib
import logging
import os
import selectors
import threading
from collections import deque
from functools import partial
from typing import Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.control.bell import Bell
from forebay.acquisition.control.connection import Connection
from forebay.acquisition.control.errands import Errands
from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.control.folder import SocketFolder, socket_name
from forebay.acquisition.control.messages import (
    LINE_BYTES,
    CommittedEvent,
    Event,
    FollowRequest,
    NotedEvent,
    decode_request,
    encode,
)
from forebay.acquisition.control.requests import Controlled, answer, refusal, takes_its_time

CLIENTS = 64
"""The most that are let in at a time."""
ANNOUNCEMENTS = 1024
_REST_SECONDS = 1.0
_FAREWELL_SECONDS = 1.0
_JOIN_SECONDS = 5.0

_NOTHING_YET = CommittedEvent(blocks=0, frames=0, dropped=0, counted=0)

_log = logging.getLogger("forebay.acquisition")


class ControlServer:
    """Serves the control socket of a run within a ``with`` block.

    Whatever clients do, `announce` does not wait for them: an announcement is put into a bounded
    queue, from which the server's own thread hands it on.  A follower that does not take what it
    is told is disconnected.

    Parameters
    ----------
    run_id
        Identity of the run.
    controlled
        The acquisition; called by the server's threads.
    standing
        What of the run is durable by now, where that is not nothing.
    clock
        Source of times.

    Raises
    ------
    ControlError
        On entering the block, if the socket cannot be made.

    Examples
    --------
    >>> class Idle:
    ...     def status(self): return {"flow": "normal"}
    ...     def stop(self, reason): print("stop:", reason)
    ...     def start(self): pass
    ...     def note(self, topic, text): pass
    ...     def reduce(self, level, seconds): pass
    >>> run_id = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
    >>> with ControlServer(run_id, Idle()) as server:
    ...     server.announce(CommittedEvent(blocks=1, frames=8, dropped=0, counted=8))
    """

    def __init__(
        self,
        run_id: str,
        controlled: Controlled,
        *,
        standing: CommittedEvent = _NOTHING_YET,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._run_id = run_id
        self._name = socket_name(run_id)
        self._controlled = controlled
        self._clock = clock
        self._announced: deque[Event] = deque(maxlen=ANNOUNCEMENTS)
        self._latest: dict[str, Event] = {standing.event: standing}
        self._clients: set[Connection] = set()
        self._resting = False
        self._ending = False
        self._bell = Bell()
        self._errands: Errands[Connection] = Errands(most=CLIENTS, on_done=self._bell.ring)
        # A daemon, so that a request that hangs does not keep the process.
        self._thread = threading.Thread(target=self._serve, name="forebay-control", daemon=True)

    def announce(self, event: Event) -> None:
        """Tell all followers; takes microseconds, and does nothing once the block is left."""
        self._announced.append(event)
        self._bell.ring()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.callback(self._bell.take_down)
            folder = opened.enter_context(SocketFolder.make())
            self._listener = opened.enter_context(folder.listen(self._name))
            opened.callback(folder.remove, self._name)
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._selector.register(self._bell, selectors.EVENT_READ)
            self._errands.start()
            self._thread.start()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        all_done = self._errands.end(_JOIN_SECONDS)
        self._ending = True
        self._bell.ring()
        self._thread.join(_JOIN_SECONDS)
        if not all_done or self._thread.is_alive():
            _log.warning("a request to run %s hangs and is left behind", self._run_id)
        if not self._thread.is_alive():
            self._opened.close()

    def _serve(self) -> None:
        """Serve until the end; runs in its own thread."""
        try:
            while not self._ending:
                self._turn()
            self._hand_on()
            self._say_farewell()
        except Exception:  # noqa: BLE001 (logged)
            _log.exception("the control socket failed; the recording goes on without it")
        finally:
            for client in list(self._clients):
                self._let_go(client)

    def _turn(self) -> None:
        """Wait until there is something to do, and do it for each that waits for it, once."""
        ready = self._selector.select(_REST_SECONDS if self._resting else None)
        if self._resting:
            self._resting = False
            self._selector.register(self._listener, selectors.EVENT_READ)
        for key, _ in ready:
            if key.fileobj is self._bell:
                self._bell.answer()
                self._hand_on()
            elif key.fileobj is self._listener:
                self._let_in()
            elif key.data in self._clients:
                self._attend(key.data)

    def _let_in(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # Without a free descriptor the selector would report the same again at once.
            _log.warning("nobody can be let in to the control socket now: %s", error)
            self._selector.unregister(self._listener)
            self._resting = True
            return
        client = Connection(connection)
        if why := self._objection(client):
            with connection, contextlib.suppress(OSError):
                client.send(refusal(why))
            return
        self._clients.add(client)
        self._selector.register(connection, client.waits_for, client)

    def _objection(self, client: Connection) -> str | None:
        user = client.user
        if user not in {0, os.geteuid()}:
            return f"user {user} may not control the acquisition of user {os.geteuid()}"
        if len(self._clients) >= CLIENTS:
            return f"{CLIENTS} clients are connected already: end one and try again"
        return None

    def _attend(self, client: Connection) -> None:
        """Answer the next request of a client, if all before it is answered and taken."""
        try:
            line = client.next_line()
            if line is not None:
                self._answer(client, line)
            elif client.too_long:
                client.send(refusal(f"a line has at most {LINE_BYTES} bytes; this one has more"))
                client.end()
        except OSError:
            self._let_go(client)
            return
        self._look_after(client)

    def _answer(self, client: Connection, line: bytes) -> None:
        """Answer a request, or have that done."""
        try:
            request = decode_request(line)
        except RequestError as error:
            client.send(refusal(str(error)))
            return
        if takes_its_time(request):
            client.waiting = self._errands.ask(client, partial(answer, request, self._controlled))
            if not client.waiting:
                why = f"{CLIENTS} requests wait for the storage already: look what holds it up"
                client.send(refusal(why, request=request.request))
            return
        client.send(answer(request, self._controlled))
        if isinstance(request, FollowRequest):
            client.follows = True
            client.send(b"".join(encode(event) for event in self._latest.values()))

    def _give_answers(self) -> None:
        """Send the answers to what has been done apart."""
        for client, answered in self._errands.done():
            client.waiting = False
            if client in self._clients:
                self._tell(client, answered)

    def _hand_on(self) -> None:
        """Pass on what was done, and to the followers what was announced."""
        self._give_answers()
        while self._announced:
            event = self._announced.popleft()
            if not isinstance(event, NotedEvent):
                self._latest[event.event] = event
            line = encode(event)
            for client in [each for each in self._clients if each.follows]:
                self._tell(client, line)

    def _tell(self, client: Connection, line: bytes) -> None:
        try:
            client.send(line)
        except OSError:
            self._let_go(client)
        else:
            self._look_after(client)

    def _look_after(self, client: Connection) -> None:
        """Wait for what the client needs next, or let go of it."""
        if client.behind:
            _log.info("a follower of run %s takes too little and is let go", self._run_id)
        if client.behind or client.finished:
            self._let_go(client)
            return
        key, wanted = self._selector.get_map().get(client.socket), client.waits_for
        if key is None and wanted:
            self._selector.register(client.socket, wanted, client)
        elif key is not None and not wanted:
            self._selector.unregister(client.socket)
        elif key is not None and key.events != wanted:
            self._selector.modify(client.socket, wanted, client)

    def _let_go(self, client: Connection) -> None:
        self._clients.discard(client)
        if client.socket in self._selector.get_map():
            self._selector.unregister(client.socket)
        client.socket.close()

    def _say_farewell(self) -> None:
        """Give those who are still listening the time to take what was sent to them."""
        deadline = self._clock.monotonic() + _FAREWELL_SECONDS
        for client in self._clients:
            left = max(0.0, deadline - self._clock.monotonic())
            with contextlib.suppress(OSError):
                client.flush_within(left)
