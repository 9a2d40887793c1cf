"""Memory that is taken beforehand."""

import contextlib
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

from forebay import RunWriter, acquire, open_source
from forebay.acquisition import Frame, Geometry, ImageMetadata
from forebay.acquisition.memory.mapping import Mapping
from forebay.acquisition.service.acquisition import Acquisition
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


def test_pages_that_nobody_is_going_to_use_are_not_taken() -> None:
    """They are there for whoever uses them after all."""
    with Mapping(2**20, what="a buffer", shared=True, used=2**16) as mapping:
        assert 2**16 <= told(mapping, "Rss") < 2**19
        assert not mapping.bytes.any()
        mapping.bytes[:] = 1
        assert told(mapping, "Rss") >= mapping.size


@pytest.mark.parametrize("more", [{}, {"overload": "spill"}, {"reduction": {"steps": ["bin:2"]}}])
def test_a_short_recording_takes_memory_for_the_frames_that_it_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """Whatever the settings allow for, in the ring and behind it."""
    taken: list[int] = []
    release = Mapping.release

    def told_at_the_end(self: Mapping) -> None:
        taken.append(told(self, "Rss"))
        release(self)

    monkeypatch.setattr(Mapping, "release", told_at_the_end)
    settings = AcquisitionSettings.model_validate(
        {"buffer_bytes": 2**26, "block_bytes": 2**24, "spill": tmp_path / "second", **more}
    )
    with open_source("simulated:shape=64x64", frames=25) as source:
        assert acquire(source, tmp_path / "run", settings=settings).committed == 25
    # A huge page or two for each, and neighbours are told of together.
    assert len(taken) == 1 + bool(more)
    assert max(taken) <= 2**23


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many mappings that were made are still there, with no garbage collected."""
    made: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    make = Mapping.__init__

    def counted(self: Mapping, size: int, **options: Any) -> None:
        make(self, size, **options)
        made.append(weakref.ref(self.bytes))

    monkeypatch.setattr(Mapping, "__init__", counted)
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)
    return lambda: sum(each() is not None for each in made) if made else -1


REDUCTION = {"steps": ["bin:2"], "keep_raw_every": 2}


@pytest.mark.parametrize("reduction", [{}, REDUCTION], ids=["plain", "reduced"])
def test_a_recording_gives_its_memory_back(
    tmp_path: Path, there: Callable[[], int], reduction: dict[str, Any]
) -> None:
    """All of it, at its end, by no garbage collector."""
    settings = AcquisitionSettings.model_validate(
        {"reduction": reduction, "buffer_bytes": 2**20, "frames_per_block": 10}
    )
    with open_source("simulated:shape=64x64", frames=25) as source:
        acquire(source, tmp_path / "run", settings=settings)
    assert there() == 0


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

    def kept(self: Mapping, size: int, **options: Any) -> None:
        make(self, size, **options)
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


def test_a_recording_that_cannot_begin_leaves_nothing_behind(
    tmp_path: Path, there: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set(threading.enumerate())

    def surround(self: Acquisition, around: contextlib.ExitStack) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Acquisition, "_surround", surround)
    with (
        contextlib.suppress(ZeroDivisionError),
        open_source("simulated:shape=64x64", frames=25) as source,
    ):
        acquire(source, tmp_path / "run", buffer_bytes=2**20)
    assert there() == 0
    assert set(threading.enumerate()) <= threads
    with RunWriter.resume(tmp_path / "run") as writer:
        assert writer.committed == 0
