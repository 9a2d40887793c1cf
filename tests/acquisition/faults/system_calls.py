"""The calls to the system by which a process changes what is stored, and what they concern."""

import os
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Meaning(NamedTuple):
    """How a call is read: its name here, and which argument says what it concerns."""

    name: str
    argument: int
    takes: str


# The numbers of x86-64.  Calls that do the same have the same name.
MEANINGS = {
    1: Meaning("write", 0, "descriptor"),
    18: Meaning("write", 0, "descriptor"),  # pwrite64
    20: Meaning("write", 0, "descriptor"),  # writev
    296: Meaning("write", 0, "descriptor"),  # pwritev
    328: Meaning("write", 0, "descriptor"),  # pwritev2
    74: Meaning("fsync", 0, "descriptor"),
    75: Meaning("fdatasync", 0, "descriptor"),
    77: Meaning("truncate", 0, "descriptor"),
    285: Meaning("allocate", 0, "descriptor"),
    82: Meaning("rename", 1, "path"),
    83: Meaning("mkdir", 0, "path"),
    84: Meaning("rmdir", 0, "path"),
    86: Meaning("link", 1, "path"),
    87: Meaning("unlink", 0, "path"),
    257: Meaning("create", 1, "path below"),  # openat
    258: Meaning("mkdir", 1, "path below"),
    263: Meaning("unlink", 1, "path below"),
    264: Meaning("rename", 3, "path below"),
    265: Meaning("link", 3, "path below"),
    316: Meaning("rename", 3, "path below"),  # renameat2
}
UNSEEN = {40: "sendfile", 275: "splice", 326: "copy_file_range", 425: "io_uring_setup"}
"""Calls that could change what is stored and are not followed: a process must not use them."""

_OPEN, _WRITE, _VECTORED, _POSITIONED = 257, 1, {20, 296, 328}, {18, 296, 328}
_HERE = -100
_LONGEST_PATH = 4096
_BUFFER = struct.Struct("QQ")


@dataclass(frozen=True)
class Call:
    """A call that a thread is about to make."""

    thread: int
    number: int
    arguments: tuple[int, ...]

    @property
    def name(self) -> str:
        """What it does."""
        return MEANINGS[self.number].name

    @property
    def changes(self) -> bool:
        """Whether it changes or flushes something; of all that is opened only what is new."""
        return self.number != _OPEN or bool(self.arguments[2] & os.O_CREAT)

    @cached_property
    def path(self) -> Path:
        """What it concerns; of two names the new one."""
        _, argument, takes = MEANINGS[self.number]
        if takes == "descriptor":
            return self._opened(self.arguments[argument])
        address = self.arguments[argument]
        # Not beyond the page: the next one may not be there.
        most = _LONGEST_PATH - address % _LONGEST_PATH
        text = self._memory(address, most)
        if b"\0" not in text:
            text += self._memory(address + most, _LONGEST_PATH)
        path = Path(os.fsdecode(text.partition(b"\0")[0]))
        if path.is_absolute():
            return path
        below = self.arguments[argument - 1] if takes == "path below" else _HERE
        return self._opened(_signed(below)) / path

    @property
    def is_folder(self) -> bool:
        """Whether it concerns a folder."""
        return self.path.is_dir()

    def do_half(self) -> None:
        """Write the first half of what the process is about to write, in its stead."""
        content = self._content()
        descriptor = self.arguments[0]
        state = self._process(f"fdinfo/{descriptor}").read_text().split()
        position, flags = int(state[1]), int(state[3], base=8)
        if self.number in _POSITIONED:
            position = self.arguments[3]
        target = os.open(self._process(f"fd/{descriptor}"), os.O_WRONLY | flags & os.O_APPEND)
        try:
            os.pwrite(target, content[: len(content) // 2], position)
        finally:
            os.close(target)

    def _content(self) -> bytes:
        address, length = self.arguments[1:3]
        if self.number not in _VECTORED:
            return self._memory(address, length)
        buffers = _BUFFER.iter_unpack(self._memory(address, length * _BUFFER.size))
        return b"".join(self._memory(*each) for each in buffers)

    def _opened(self, descriptor: int) -> Path:
        what = "cwd" if descriptor == _HERE else f"fd/{descriptor}"
        try:
            return self._process(what).readlink()
        except FileNotFoundError:
            return Path("nothing that is open")

    def _memory(self, address: int, length: int) -> bytes:
        with self._process("mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(length) or b""

    def _process(self, what: str) -> Path:
        return Path(f"/proc/{self.thread}") / what


def _signed(number: int) -> int:
    return number - 2**32 if number & 2**31 else number
