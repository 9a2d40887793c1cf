"""Memory that is taken beforehand."""

import weakref
from pathlib import Path

import pytest

from forebay import acquire, open_source
from forebay.acquisition.memory.mapping import Mapping

BUFFER = 64 * 2**20
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


def test_recordings_one_after_the_other_take_the_memory_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring of the one before is given back, though its parts know each other."""
    made: list[weakref.ref[Mapping]] = []
    there: list[int] = []
    make = Mapping.__init__

    def counted(self: Mapping, size: int, *, what: str, shared: bool = False) -> None:
        make(self, size, what=what, shared=shared)
        if self.size >= BUFFER:
            made.append(weakref.ref(self))
            there.append(sum(each() is not None for each in made))

    monkeypatch.setattr(Mapping, "__init__", counted)
    for number in range(3):
        with open_source("simulated:shape=256x256", frames=4) as source:
            acquire(source, tmp_path / f"run{number}", buffer_bytes=BUFFER)
    assert there == [1, 1, 1]
