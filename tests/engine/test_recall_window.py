"""Archives are asked for what units need in their order, and for no more ahead than was agreed to."""

from dataclasses import replace

import pytest
from tests.tiering.asked import Asked

from forebay.engine.execution.recalls import UnitRecall
from forebay.engine.execution.recalls_ahead import RecallWindow
from forebay.tiering.archive.signposted import ArchivedObject
from forebay.tiering.errors import ArchivedError, PlaceUnavailableError


@pytest.fixture
def archive() -> Asked:
    return Asked()


def needs(archive: Asked, *units: str) -> list[UnitRecall]:
    """Return units that each need the packs, of 10 bytes, that are called as their letters."""
    packs = {name: ArchivedObject("deep", archive, name, 10) for name in "".join(units)}
    return [UnitRecall(f"unit {unit}", tuple(packs[name] for name in unit)) for unit in units]


def free(_: float) -> None:
    """Let anything be recalled, whatever it costs."""


def test_so_much_is_asked_for_ahead_of_what_is_done(archive: Asked) -> None:
    """More follows as units are done, whoever has done them, to the last one."""
    window = RecallWindow(needs(archive, "a", "b", "c", "d"), 20, free)
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
    window = RecallWindow(needs(archive, "a", "ab", "b", "c"), 20, free)
    window.look(["unit a"])
    assert sorted(archive.names) == ["a", "b"]
    window.look(["unit a", "unit ab"])
    assert sorted(archive.names) == ["a", "b", "c"]


def test_one_is_always_asked_for_however_large_it_is(archive: Asked) -> None:
    """A window that is smaller than a pack must not keep the job from going on."""
    window = RecallWindow(needs(archive, "a", "b"), 1, free)
    window.look(())
    assert sorted(archive.names) == ["a"]
    window.look(["unit a"])
    assert sorted(archive.names) == ["a", "b"]


def test_an_archive_that_does_not_answer_is_asked_again(archive: Asked) -> None:
    """Nothing is passed over."""
    window = RecallWindow(needs(archive, "a", "b", "c"), 20, free)
    archive.fails = True
    with pytest.raises(PlaceUnavailableError):
        window.look(())
    archive.fails = False
    archive.names.clear()
    window.look(())
    assert sorted(archive.names) == ["a", "b"]


def test_what_is_away_again_is_asked_for_once_more(archive: Asked) -> None:
    """Its days were over before its unit's turn came; what is not due yet is left alone."""
    window = RecallWindow(needs(archive, "a", "b", "c"), 20, free)
    window.look(())
    archive.names.clear()
    window.look((), again=["unit b", "unit c"])
    assert sorted(archive.names) == ["b"]


def test_what_would_cost_too_much_is_not_asked_for(archive: Asked) -> None:
    """Nor what comes behind it; who agrees to more has it the next time."""
    archive.terms = replace(archive.terms, cost_per_1000=1000.0)
    left = 3.0

    def charge(cost: float) -> None:
        nonlocal left
        if cost > left:
            raise ArchivedError("too much")
        left -= cost

    window = RecallWindow(needs(archive, "a", "b", "c", "d"), 20, charge)
    window.look(())
    # What is away again costs once more.
    window.look((), again=["unit a"])
    archive.names.clear()
    with pytest.raises(ArchivedError):
        window.look(["unit a"], again=["unit b"])
    with pytest.raises(ArchivedError):
        window.look(["unit a"])
    assert archive.names == []
    left = 1.0
    window.look(["unit a"])
    assert archive.names == ["c"]
