"""Programs that write frames: the example in C, and one that does whatever it is told to."""

import contextlib
import mmap
import os
import select
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition import Geometry
from forebay.acquisition.ring.ring import Arrived, FrameRing
from forebay.acquisition.sources.shared_memory import header_path

EXAMPLE = Path(__file__).parents[4] / "examples" / "camera.c"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
PATIENT = 60.0
"""Longer than anything here takes."""


def compile_example(compiler: str, *options: str, to: Path) -> Path:
    """Compile ``examples/camera.c`` with the header that is installed."""
    program = shutil.which(compiler)
    if program is None:
        pytest.skip(f"there is no {compiler} here")
    include = ["-I", str(header_path().parent)]
    subprocess.run(
        [program, *options, "-O2", *WARNINGS, *include, str(EXAMPLE), "-o", str(to)], check=True
    )
    return to


def ramp(counter: int) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """What the example writes into frame `counter`."""
    return np.add.outer(np.arange(6), np.arange(8)) + counter


def ring_for(geometry: Geometry, *, slots: int) -> FrameRing:
    return FrameRing(geometry, slots=slots, shared=True)


def take_all(ring: FrameRing) -> list[Arrived]:
    """Take frames, and give their slots back, until the ring is finished."""
    taken = []
    while (item := ring.take(timeout=PATIENT)) is not None:
        assert isinstance(item, Arrived)
        taken.append(item)
        ring.free([item.slot])
    return taken


class RawProducer:
    """The other side, as docs/reference/shared-memory-ring.md describes it; frames are 2×3 uint16.

    It knows nothing of forebay, and does whatever it is told to.
    """

    def __init__(self, path: Path) -> None:
        self._opened = contextlib.ExitStack()
        self.socket = self._opened.enter_context(socket.socket(socket.AF_UNIX))
        self.socket.settimeout(PATIENT)
        self.socket.connect(str(path))
        self.acquired = self.published = 0

    def say_hello(self, **fields: Any) -> None:
        """Say hello, which is right but for the fields that are given, to whoever still listens."""
        said = {
            "magic": b"fbayring",
            "version": 1,
            "bytes": 64,
            "dtype": ord("u") << 8 | 2,
            "waits": 1,
            "channels": 0,
            "height": 2,
            "width": 3,
            "frame_rate": 0.0,
            "exposure": 0.0,
        }
        with contextlib.suppress(BrokenPipeError):
            self.socket.sendall(struct.pack("<8sIIIIQQQdd", *(said | fields).values()))

    def answer(self) -> tuple[Any, ...]:
        """Wait for the welcome or the refusal."""
        data, files, _, _ = socket.recv_fds(self.socket, 256, 4)
        for file in files:
            self._opened.callback(os.close, file)
        fields = struct.unpack("<8sIIIIQQQQII192s", data)
        (self.slots, self.entries, self.stride, _, slots_bytes, control_bytes) = fields[3:9]
        self.free, self.filled = fields[9:11]
        if not fields[2]:
            self.memory, control, self.free_bell, self.filled_bell = files
            self.pixels = self._opened.enter_context(mmap.mmap(self.memory, slots_bytes))
            self.control = self._opened.enter_context(mmap.mmap(control, control_bytes))
        return fields

    def available(self) -> list[int]:
        """Wait until slots are free, and return them."""
        waiting = select.poll()
        waiting.register(self.free_bell, select.POLLIN)
        assert waiting.poll(PATIENT * 1000)
        slots = []
        for _ in range(os.eventfd_read(self.free_bell)):
            place = self.free + 4 * (self.acquired % self.entries)
            slots.append(struct.unpack_from("<I", self.control, place)[0])
            self.acquired += 1
        return slots

    def fill(self, slot: int, pixels: npt.NDArray[Any]) -> None:
        begin = slot * self.stride
        self.pixels[begin : begin + pixels.nbytes] = pixels.tobytes()

    def list_filled(self, slot: int, counter: int, flags: int = 0, reserved: int = 0) -> None:
        place = self.filled + 32 * (self.published % self.entries)
        entry = struct.pack("<QqIIQ", counter, -counter // 2, slot, flags, reserved)
        self.control[place : place + 32] = entry
        self.published += 1

    def publish(self, slot: int, counter: int, **fields: int) -> None:
        self.list_filled(slot, counter, **fields)
        os.eventfd_write(self.filled_bell, 1)

    def send(self, count: int, *, first: int = 0, goodbye: bool = False) -> None:
        """Publish frames whose pixels are their counter, and say goodbye if that is all."""
        slots: list[int] = []
        for counter in range(first, first + count):
            slots = slots or self.available()
            slot = slots.pop(0)
            self.fill(slot, np.full((2, 3), counter, "<u2"))
            self.publish(slot, counter)
        if goodbye:
            self.say_goodbye()

    def say_goodbye(self, *, counted: int | None = None) -> None:
        last = None if counted is None else struct.pack("<8sQ", b"fbaylast", counted)
        self.socket.sendall(last or b"fbayends")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()
