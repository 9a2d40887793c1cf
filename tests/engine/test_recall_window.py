"""Archives are asked for what units need in their order, and for no more ahead than was agreed to."""

import pytest
from tests.tiering.asked import Asked

from forebay.engine.execution.recalls import UnitRecall
from forebay.engine.execution.recalls_ahead import RecallWindow
from forebay.tiering.archive.signposted import ArchivedObject
from forebay.tiering.errors import PlaceUnavailableError


@pytest.fixture
def archive() -> Asked:
    return Asked()


def needs(archive: Asked, *units: str) -> list[UnitRecall]:
    """Return units that each need the packs, of 10 bytes, that are called as their letters."""
    packs = {name: ArchivedObject("deep", archive, name, 10) for name in "".join(units)}
    return [UnitRecall(f"unit {unit}", tuple(packs[name] for name in unit)) for unit in units]


def test_so_much_is_asked_for_ahead_of_what_is_done(archive: Asked) -> None:
    """More follows as units are done, whoever has done them, to the last one."""
    window = RecallWindow(needs(archive, "a", "b", "c", "d"), 20)
    window.look(())
    assert sorted(archive.names) == ["a", "b"]
    window.look(())
    assert sorted(archive.names) == ["a", "b"]
    window.look(["unit a"])
    assert sorted(archive.names) == ["a", "b", "c"]
    window.look(["unit a", "unit b", "unit c"])
    window.look(["unit a", "unit b", "unit c", "unit d"])
    assert sorted(archive.names) == ["a", "b", "c", "d"]


def test_what_several_units_need_is_asked_for_and_counted_once(archive: Asked) -> None:
    """A pack comes as a whole for the first of them, also where that one is done already."""
    window = RecallWindow(needs(archive, "a", "ab", "b", "c"), 20)
    window.look(["unit a"])
    assert sorted(archive.names) == ["a", "b"]
    window.look(["unit a", "unit ab"])
    assert sorted(archive.names) == ["a", "b", "c"]


def test_one_is_always_asked_for_however_large_it_is(archive: Asked) -> None:
    """A window that is smaller than a pack must not keep the job from going on."""
    window = RecallWindow(needs(archive, "a", "b"), 1)
    window.look(())
    assert sorted(archive.names) == ["a"]
    window.look(["unit a"])
    assert sorted(archive.names) == ["a", "b"]


def test_an_archive_that_does_not_answer_is_asked_again(archive: Asked) -> None:
    """Nothing is passed over."""
    window = RecallWindow(needs(archive, "a", "b", "c"), 20)
    archive.fails = True
    with pytest.raises(PlaceUnavailableError):
        window.look(())
    archive.fails = False
    archive.names.clear()
    window.look(())
    assert sorted(archive.names) == ["a", "b"]


def test_what_is_away_again_is_asked_for_once_more(archive: Asked) -> None:
    """Its days were over before its unit's turn came; what is not due yet is left alone."""
    window = RecallWindow(needs(archive, "a", "b", "c"), 20)
    window.look(())
    archive.names.clear()
    window.look((), again=["unit b", "unit c"])
    assert sorted(archive.names) == ["b"]
