"""Recordings in processes of their own, forked from one that has imported everything.

``python -m tests.acquisition.faults.forked`` is that one, with a socket for its standard input; it
has no threads.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.acquisition.faults import recordings
from tests.acquisition.faults.interception import Decide, follow_calls, hand_over_calls
from tests.acquisition.faults.promises import Promises
from tests.acquisition.faults.recordings import Recording

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
"""For processes that are to have no threads."""
_DIE_WITH_PARENT = 1
_LONGEST_MESSAGE = 65_536


@dataclass
class Child:
    """A process that records."""

    process: int
    """Its number."""
    _listener: int | None
    _channel: socket.socket

    def follow(self, below: Path, decide: Decide) -> None:
        """Let it go on to its end, and say how each call ends that concerns a folder."""
        assert self._listener is not None
        listener, self._listener = self._listener, None
        follow_calls(self.process, listener, below=below, decide=decide)

    def kill(self) -> None:
        """End it."""
        os.kill(self.process, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(self._status())

    def stop(self) -> None:
        """Stop it, and wait until all its threads are out of their calls."""
        os.kill(self.process, signal.SIGSTOP)
        assert os.WIFSTOPPED(self._status()), "it has ended before it could be stopped"

    def go_on(self) -> None:
        """Let it go on where it was stopped."""
        os.kill(self.process, signal.SIGCONT)

    def _status(self) -> int:
        self._channel.send(json.dumps({"wait": self.process}).encode())
        return int(self._channel.recv(_LONGEST_MESSAGE))


class Forks:
    """Starts recordings, from one thread at a time; made by `elsewhere` or `at_once`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    @classmethod
    @contextlib.contextmanager
    def elsewhere(cls, python: Path) -> Iterator[Self]:
        """Fork from a new process of a Python; who has threads cannot fork."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            [str(python), "-W", "error", "-m", "tests.acquisition.faults.forked"],
            cwd=ROOT,
            stdin=theirs.fileno(),
            env=ENVIRONMENT,
        )
        theirs.close()
        with process, ours:
            yield cls(ours)
        assert process.returncode == 0

    @classmethod
    @contextlib.contextmanager
    def at_once(cls) -> Iterator[Self]:
        """Fork from a copy of this process, which has no threads yet."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = os.fork()
        if process == 0:
            with _ending_the_process():
                ours.close()
                _serve(theirs)
        theirs.close()
        with ours:
            yield cls(ours)
        assert os.waitpid(process, 0)[1] == 0

    def start(
        self,
        recording: Recording,
        disk: Path,
        promises: Path,
        *,
        followed: bool = True,
        **options: Any,
    ) -> Child:
        """Start a recording in `disk`; where it is followed, it goes on by `Child.follow` only."""
        request = {
            "recording": recording.__name__,
            "disk": str(disk),
            "promises": str(promises),
            "followed": followed,
            "options": options,
        }
        self._channel.send(json.dumps(request).encode())
        message, descriptors, _, _ = socket.recv_fds(self._channel, _LONGEST_MESSAGE, 1)
        assert message, "the process that forks has ended"
        return Child(int(message), descriptors[0] if descriptors else None, self._channel)


def _serve(channel: socket.socket) -> None:
    """Fork a child for each request, until the channel is closed."""
    # What the collector does not look at is not copied for each child.
    gc.freeze()
    while message := channel.recv(_LONGEST_MESSAGE):
        request = json.loads(message)
        if child := request.get("wait"):
            _, status = os.waitpid(child, os.WUNTRACED)
            channel.send(str(status).encode())
        elif os.fork() == 0:
            with _ending_the_process():
                _record(channel, **request)


@contextlib.contextmanager
def _ending_the_process() -> Iterator[None]:
    """Nothing of a child may go on in its parent's code."""
    status = 1
    try:
        yield
        status = 0
    finally:
        if error := sys.exception():
            traceback.print_exception(error)
            sys.stderr.flush()
        os._exit(status)


def _record(
    channel: socket.socket,
    *,
    recording: str,
    disk: str,
    promises: str,
    followed: bool,
    options: dict[str, Any],
) -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    promising = Promises(Path(promises))
    work: Recording = getattr(recordings, recording)
    descriptors = [hand_over_calls()] if followed else []
    socket.send_fds(channel, [str(os.getpid()).encode()], descriptors)
    channel.close()
    for each in descriptors:
        os.close(each)
    began = time.monotonic()
    try:
        work(Path(disk), promising, **options)
    except Exception as error:
        seconds = time.monotonic() - began
        promising.tell(failed=type(error).__name__, text=str(error), seconds=seconds)
        raise


if __name__ == "__main__":
    with socket.socket(fileno=0) as given:
        _serve(given)
