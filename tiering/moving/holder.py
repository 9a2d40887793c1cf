"""Who is at a move: a mover in some process, of which others can tell whether it has ended."""

import os
import re
import socket
import uuid
from pathlib import Path

_HOLDER = re.compile(r"process (\d+) on (\S+) \(\w+\)")


def new_holder() -> str:
    """Return what a new mover in this process is called."""
    return f"process {os.getpid()} on {_here()} ({uuid.uuid4().hex[:8]})"


def has_ended(holder: str) -> bool:
    """Tell whether the process of a mover has ended, as far as that can be known from here.

    Of a process on another machine, or in another container, nothing is known.

    Examples
    --------
    >>> has_ended(new_holder())
    False
    >>> has_ended("process 1 on another-machine/4026531836 (1b2c3d4e)")
    False
    """
    found = _HOLDER.fullmatch(holder)
    if found is None or found[2] != _here():
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # It is there, and another user's.
        return False
    return False


def _here() -> str:
    """Return where numbers of processes mean the same: containers count their own."""
    return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').stat().st_ino}"
