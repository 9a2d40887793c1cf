"""The slots that are lent to a producer, and what comes back of them."""

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import FrameFlag
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.sources.shared_memory.messages import encode_welcome

_FREE: Final = struct.Struct("<I")
_FILLED: Final = struct.Struct("<QqIIQ")
_LINE: Final = 64
_FLAGS: Final = FrameFlag.SATURATED | FrameFlag.INCOMPLETE
"""What a camera's program may say of a frame."""
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Filled(NamedTuple):
    """A slot that a producer has filled."""

    slot: int
    counter: int
    timestamp: int
    flags: FrameFlag


class Exchange:
    """Two lists in memory that a producer maps, and an eventfd for each.

    One lists the slots that are lent, the other those that were filled.  An entry is written into
    the place behind the last one, and the number of new entries is added to the eventfd; the other
    side reads the eventfd, and as many entries.  Neither list can overflow: both have room for all
    slots that are lent at a time.

    Parameters
    ----------
    memory
        The slots.
    entries
        The most that are lent at a time.
    producer
        What the producer is called in messages.

    Notes
    -----
    There are no atomic variables, since both sides learn of an entry by a call to the system.
    Within the kernel, adding to an eventfd and reading it take the same lock: what was written
    before the one is seen after the other, on every architecture, pixels included.  An entry that
    is written while others are read is left alone until its own number is read.

    Nothing that the producer writes is read twice, and nothing of it is used unchecked.
    """

    def __init__(self, memory: FrameSlots, entries: int, *, producer: str) -> None:
        self._memory = memory
        self._entries = entries
        self._producer = producer
        self._lent: set[int] = set()
        self._next_free = self._next_filled = 0
        self._filled_offset = -(-entries * _FREE.size // _LINE) * _LINE
        size = self._filled_offset + entries * _FILLED.size
        with contextlib.ExitStack() as opened:
            self._control = os.memfd_create(
                "forebay-control", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
            )
            opened.callback(os.close, self._control)
            os.ftruncate(self._control, size)
            # Without that, a producer could take pages away that are in use here.
            fcntl.fcntl(self._control, fcntl.F_ADD_SEALS, _SEALS)
            self._map = opened.enter_context(mmap.mmap(self._control, size))
            self._bells = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)]
            opened.callback(os.close, self._bells[0])
            self._bells.append(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            opened.callback(os.close, self._bells[1])
            self._opened = opened.pop_all()

    @property
    def files(self) -> tuple[int, int, int, int]:
        """What the producer gets: slots, lists, and the eventfds of free and of filled slots."""
        return self._memory.mapping.descriptor, self._control, self._bells[0], self._bells[1]

    @property
    def welcome(self) -> bytes:
        """The message that describes them."""
        return encode_welcome(self._memory, self._entries, (len(self._map), 0, self._filled_offset))

    @property
    def lent(self) -> frozenset[int]:
        """The slots that are lent."""
        return frozenset(self._lent)

    @property
    def room(self) -> int:
        """How many more can be lent now."""
        return self._entries - len(self._lent)

    def fileno(self) -> int:
        """Return the file that can be read when slots were filled."""
        return self._bells[1]

    def lend(self, slots: list[int]) -> None:
        """Give slots to the producer, `room` at most."""
        for slot in slots:
            _FREE.pack_into(self._map, self._next_free * _FREE.size, slot)
            self._next_free = (self._next_free + 1) % self._entries
        self._lent.update(slots)
        if slots:
            os.eventfd_write(self._bells[0], len(slots))

    def collect(self) -> Iterator[Filled]:
        """Yield what was filled since the last time; its slot is not lent any more then.

        Raises
        ------
        SourceError
            While iterating, if the producer has not kept to what was agreed.
        """
        try:
            count = os.eventfd_read(self._bells[1])
        except BlockingIOError:
            return
        if count > len(self._lent):
            raise self._misbehaved(
                f"says that it has filled {count} slots while it had {len(self._lent)}"
            )
        for _ in range(count):
            yield self._next()

    def _next(self) -> Filled:
        place = self._filled_offset + self._next_filled * _FILLED.size
        counter, timestamp, slot, flags, reserved = _FILLED.unpack_from(self._map, place)
        self._next_filled = (self._next_filled + 1) % self._entries
        if slot not in self._lent:
            raise self._misbehaved(f"gives slot {slot} back, which it did not have")
        if flags & ~_FLAGS or reserved:
            raise self._misbehaved(
                f"has given frame {counter} the flags {flags:#x} and {reserved:#x}; only "
                f"{int(_FLAGS):#x} and 0 are its own"
            )
        self._lent.remove(slot)
        return Filled(slot, counter, timestamp, FrameFlag(flags))

    def _misbehaved(self, what: str) -> SourceError:
        return SourceError(
            f"{self._producer} {what}: its program does not keep to what forebay_ring.h does; mend "
            "it"
        )

    def __enter__(self) -> Self:
        """Exchange slots within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()
