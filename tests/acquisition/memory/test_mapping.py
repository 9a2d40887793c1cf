"""Memory that is taken beforehand."""

import contextlib
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay import RunWriter, acquire, open_source
from forebay.acquisition.frames import Frame, FrameSource
from forebay.acquisition.memory.mapping import Mapping
from forebay.acquisition.service.acquisition import Acquisition
from forebay.acquisition.service.status import AcquisitionStatus
from forebay.acquisition.settings import AcquisitionSettings

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


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many mappings that were made are still there, with no garbage collected."""
    made: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    make = Mapping.__init__

    def counted(self: Mapping, size: int, *, what: str, shared: bool = False) -> None:
        make(self, size, what=what, shared=shared)
        made.append(weakref.ref(self.bytes))

    monkeypatch.setattr(Mapping, "__init__", counted)
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)
    return lambda: sum(each() is not None for each in made) if made else -1


REDUCTION = {"steps": ["bin:2"], "keep_raw_every": 2}


@pytest.mark.parametrize("reduction", [{}, REDUCTION], ids=["plain", "reduced"])
@pytest.mark.parametrize("end", ["well", "the source fails", "the listener fails"])
def test_a_recording_gives_its_memory_back(
    tmp_path: Path, there: Callable[[], int], reduction: dict[str, Any], end: str
) -> None:
    """All of it, at its end, by no garbage collector."""
    settings = AcquisitionSettings.model_validate(
        {"reduction": reduction, "buffer_bytes": 2**20, "frames_per_block": 10}
    )

    def listen(_: AcquisitionStatus) -> None:
        if end == "the listener fails":
            raise ZeroDivisionError

    with open_source("simulated:shape=64x64", frames=25) as source:
        if end == "the source fails":
            source = Failing(source)
        # The exception has shown its frames to nobody once this is left.
        with contextlib.suppress(ZeroDivisionError):
            acquire(source, tmp_path / "run", settings=settings, on_status=listen)
    assert there() == 0


class Failing:
    """A source that fails after some frames."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def frames(self) -> Iterator[Frame]:
        yield from itertools.islice(self._source.frames(), 15)
        raise ZeroDivisionError


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


def test_much_memory_of_what_is_garbage_by_now_is_given_back_before_more_is_taken() -> None:
    """A cycle of Python objects may stay for hours otherwise."""
    memory = Mapping(64 * 2**20, what="a buffer")
    cycle: list[Any] = [memory.bytes]
    cycle.append(cycle)
    garbage = weakref.ref(memory.bytes)
    del memory, cycle
    assert garbage() is not None
    with Mapping(2**20, what="a buffer"):
        assert garbage() is None
