"""Memory that is taken beforehand."""

from pathlib import Path

import pytest

from forebay.acquisition.memory.mapping import Mapping

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
