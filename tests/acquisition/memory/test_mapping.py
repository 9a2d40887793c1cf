"""Memory that is taken beforehand."""

import errno
import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from forebay import acquire, open_source
from forebay.acquisition import Frame, Geometry, ImageMetadata
from forebay.acquisition.memory.mapping import Mapping
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderStorage

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def told(mapping: Mapping, what: str) -> int:
    """Return what the kernel tells of the areas in which a mapping lies, in bytes."""
    begin, inside, found = mapping.bytes.ctypes.data, False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            low, high = (int(each, 16) for each in name.split("-"))
            inside = low < begin + mapping.size and begin < high
        elif inside and name == f"{what}:":
            found += int(values[0]) * 1024
    return found


@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="the system has no huge pages"
)
def test_it_lies_in_huge_pages_where_the_system_gives_them() -> None:
    """All but what the system has none for: a disk takes larger requests from them."""
    with Mapping(64 * 2**20, what="a buffer") as mapping:
        assert told(mapping, "AnonHugePages") >= 32 * 2**20
        assert not mapping.bytes.any()


def test_its_pages_are_there_from_the_beginning() -> None:
    """No frame waits for one."""
    with Mapping(2**20, what="a buffer") as mapping:
        assert told(mapping, "Rss") >= mapping.size


@pytest.mark.parametrize(
    "reduction", [None, {"steps": ["bin:2"], "keep_raw_every": 2}], ids=["plain", "reduced"]
)
def test_recordings_one_after_the_other_take_the_memory_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reduction: dict[str, Any] | None
) -> None:
    """All of it is given back at their end, by no garbage collector."""
    made: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    there: list[int] = []
    make = Mapping.__init__

    def counted(self: Mapping, size: int, *, what: str, shared: bool = False) -> None:
        make(self, size, what=what, shared=shared)
        made.append(weakref.ref(self.bytes))

    monkeypatch.setattr(Mapping, "__init__", counted)
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)
    settings = AcquisitionSettings.model_validate(
        {"reduction": reduction or {}, "buffer_bytes": 2**20, "frames_per_block": 10}
    )
    for number in range(3):
        with open_source("simulated:shape=64x64", frames=40) as source:
            acquire(source, tmp_path / f"run{number}", settings=settings)
        there.append(sum(each() is not None for each in made))
    assert len(made) >= 3
    assert there == [0, 0, 0]


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Camera:
    """A camera of bright frames, which does something after some of them."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.geometry = Geometry(("y", "x"), (64, 64), np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self._act = act
        self._stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        for counter in range(1000):
            if self._stopped.is_set():
                return
            if counter == 30:
                self._act()
            yield Frame(counter, counter, np.ones(self.geometry.shape, "uint16"))

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@pytest.mark.parametrize("spilling", [False, True], ids=["plain", "spilling"])
@pytest.mark.parametrize("failing", ["source", "disk", "listener", "operator"])
def test_a_recording_that_fails_gives_its_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, spilling: bool
) -> None:
    """Though somebody keeps the error, and with it everything that the error came by."""
    shown: list[npt.NDArray[np.uint8]] = []
    make = Mapping.__init__

    def kept(self: Mapping, size: int, *, what: str, shared: bool = False) -> None:
        make(self, size, what=what, shared=shared)
        shown.append(self.bytes)

    monkeypatch.setattr(Mapping, "__init__", kept)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    if failing == "disk":
        monkeypatch.setattr(FolderStorage, "publish", fail)
    act = {"source": fail, "operator": interrupt}.get(failing, lambda: None)
    spill = {"overload": "spill", "spill": tmp_path / "spill"} if spilling else {}
    settings = AcquisitionSettings.model_validate(
        {"buffer_bytes": 2**20, "frames_per_block": 10, **spill}
    )
    try:
        with pytest.raises((OSError, KeyboardInterrupt)) as error:
            acquire(
                Camera(act),
                tmp_path / "run",
                settings=settings,
                on_status=fail if failing == "listener" else None,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert error.value.__traceback__
    assert len(shown) == 1 + spilling
    assert not any(each.any() for each in shown)
