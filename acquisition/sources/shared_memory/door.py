"""Where producers connect."""

import contextlib
import os
import re
from typing import NamedTuple

from forebay.acquisition.control.folder import SocketFolder
from forebay.acquisition.errors import ControlError, SourceError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.intake import AnomalyKind, AnomalyLog
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.shared_memory.messages import Hello
from forebay.acquisition.sources.shared_memory.patience import Patience
from forebay.acquisition.sources.shared_memory.producer import Producer

SHARED_MEMORY = "shm"
"""What a source is called that another process writes into memory."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", flags=re.ASCII)
_HELLO_SECONDS = 5.0
_REST_SECONDS = 1.0


class Met(NamedTuple):
    """A producer that is wanted."""

    producer: Producer
    hello: Hello


class Door:
    """A socket in this user's folder of sockets, ``NAME.ring``.

    Parameters
    ----------
    name
        Its name: letters, digits, ``_`` and ``-``, 64 at most.
    anomalies
        Where it is told that somebody was turned away.

    Raises
    ------
    SourceError
        If it is no such name, somebody listens there, or the socket cannot be made.
    """

    def __init__(self, name: str, anomalies: AnomalyLog) -> None:
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"{shown(repr(name))} cannot be the name of a shared memory source; give 1 to 64 "
                "letters, digits, _ and -"
            )
        self.name = f"{SHARED_MEMORY}:{name}"
        """What it is called in messages."""
        self._anomalies = anomalies
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(SocketFolder.make())
                self._listener = opened.enter_context(folder.listen(f"{name}.ring"))
            except ControlError as error:
                raise SourceError(f"cannot listen for {self.name}: {error}") from error
            opened.callback(folder.remove, f"{name}.ring")
            self.path = folder.path / f"{name}.ring"
            """Where the socket lies."""
            self._opened = opened.pop_all()

    def fileno(self) -> int:
        """Return the file that can be read when somebody has connected."""
        return self._listener.fileno()

    def meet(self, patience: Patience, wanted: Geometry | None) -> Met | None:
        """Wait for a producer with such frames.

        None if there is none in time, or somebody else had to be turned away.
        """
        if self.fileno() not in patience.wait(self):
            return None
        try:
            producer = self._let_in()
        except OSError as error:
            self._tell(f"nobody can be let in to {self.name} now: {error}")
            # Without a free descriptor the same would be reported again at once.
            patience.within(_REST_SECONDS).wait()
            return None
        if producer is None:
            return None
        try:
            hello = producer.hello(patience.within(_HELLO_SECONDS))
            _check(hello, wanted)
        except SourceError as error:
            self._refuse(producer, str(error))
            return None
        return Met(producer, hello)

    def turn_away(self, why: str) -> bool:
        """Tell whoever has connected now that he is not wanted; False if that is impossible."""
        try:
            producer = self._let_in()
        except OSError as error:
            self._tell(f"nobody can be let in to {self.name} now: {error}")
            return False
        if producer is not None:
            self._refuse(producer, why)
        return True

    def _let_in(self) -> Producer | None:
        """Accept a connection of this user or of root."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return None
        producer = Producer(connection, self.name)
        if producer.user in {0, os.geteuid()}:
            return producer
        self._refuse(
            producer,
            f"user {producer.user} may not write frames for user {os.geteuid()}",
        )
        return None

    def _refuse(self, producer: Producer, why: str) -> None:
        self._tell(f"{producer.name} was turned away: {why}")
        producer.refuse(why)

    def _tell(self, text: str) -> None:
        self._anomalies.report(AnomalyKind.SENDER_REFUSED, text)

    def close(self) -> None:
        """Listen no more."""
        self._opened.close()


def _check(hello: Hello, wanted: Geometry | None) -> None:
    if wanted is not None and hello.geometry != wanted:
        raise SourceError(
            f"it has frames of {hello.geometry.shape} {hello.geometry.dtype}, and frames of "
            f"{wanted.shape} {wanted.dtype} are wanted"
        )
