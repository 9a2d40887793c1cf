"""Stopping a process at each call that changes what is stored, to do as the test likes with it.

The system's own filter of calls (seccomp, with a listener in user space) holds the calling thread
until it is told how the call shall end.  It sees the calls of all threads in one row, where
``strace --inject`` counts those of each thread for itself and so misses most points of a program
with several, and it asks for no permission.
"""

import contextlib
import ctypes
import enum
import fcntl
import os
import platform
import select
import signal
import struct
from collections.abc import Callable
from pathlib import Path

from tests.acquisition.faults.system_calls import MEANINGS, UNSEEN, Call

_NO_NEW_PRIVILEGES, _SECCOMP, _SET_FILTER, _NEW_LISTENER = 38, 317, 1, 1 << 3
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_ASKED = struct.Struct("QIIiIQ6Q")
_ANSWER = struct.Struct("QqiI")
_CONTINUE = 1
_INSTRUCTION = struct.Struct("HBBI")
_PATIENCE_SECONDS = 60.0


class End(enum.Enum):
    """How a call ends, beside an error number."""

    DONE = enum.auto()
    """As if nobody had looked."""
    PRETENDED = enum.auto()
    """It succeeds, and nothing is done."""
    KILLED = enum.auto()
    """The process is killed before it is done."""
    HALF_DONE_AND_KILLED = enum.auto()
    """Of a write only the first half gets through, and the process is killed."""


type Decide = Callable[[Call], End | int]
"""Says how a call shall end: an `End`, or the number of the error with which it fails."""


def is_possible() -> bool:
    """Tell whether calls can be followed on this machine."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def hand_over_calls() -> int:
    """Have the calls of this thread, and of those it starts, wait for the listener returned."""
    numbers = [*MEANINGS, *UNSEEN]
    program = [_INSTRUCTION.pack(_LOAD, 0, 0, 0)]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append(_INSTRUCTION.pack(_EQUAL, left, 0, number))
    program += [_INSTRUCTION.pack(_RETURN, 0, 0, end) for end in (_ALLOW, _NOTIFY)]
    instructions = ctypes.create_string_buffer(b"".join(program))
    described = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(instructions))
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = int(system.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, ctypes.c_char_p(described)))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the system lets nobody follow its calls")
    return listener


def follow_calls(process: int, listener: int, *, below: Path, decide: Decide) -> None:
    """Let a process go on, call by call, until it ends.

    Parameters
    ----------
    process
        Its number.
    listener
        From `hand_over_calls`; it is closed.
    below
        Calls that concern nothing in this folder are let through.
    decide
        Asked about each of the others.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    try:
        while True:
            events = waiting.poll(_PATIENCE_SECONDS * 1000)
            assert events, "the process makes no call and does not end"
            if not events[0][1] & select.POLLIN:
                return
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # Where the thread that asked is gone meanwhile.
                _answer(process, listener, below, decide)
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    finally:
        os.close(listener)


def _answer(process: int, listener: int, below: Path, decide: Decide) -> None:
    asked = bytearray(_ASKED.size)
    fcntl.ioctl(listener, _RECEIVE, asked, True)
    identity, thread, _, number, _, _, *arguments = _ASKED.unpack(asked)
    assert number not in UNSEEN, f"{UNSEEN[number]} cannot be followed"
    call = Call(thread, number, tuple(arguments))
    end: End | int = End.DONE
    if call.changes and call.path.is_relative_to(below):
        end = decide(call)
    match end:
        case End.DONE:
            answer = _ANSWER.pack(identity, 0, 0, _CONTINUE)
        case End.PRETENDED:
            answer = _ANSWER.pack(identity, 0, 0, 0)
        case End.KILLED | End.HALF_DONE_AND_KILLED:
            if end is End.HALF_DONE_AND_KILLED:
                call.do_half()
            os.kill(process, signal.SIGKILL)
            return
        case error:
            answer = _ANSWER.pack(identity, 0, -error, 0)
    fcntl.ioctl(listener, _SEND, answer)
