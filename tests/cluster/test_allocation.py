"""How the room of a cluster is divided between lanes."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.cluster.allocation import Share, divide

LANES = ("realtime", "validation", "reprocess")
parts = st.floats(0.0, 1.0)


@st.composite
def divisions(draw: st.DrawFn) -> dict[str, Share]:
    weights = [draw(st.integers(0, 10)) for _ in LANES]
    total = max(1, sum(weights)) * draw(st.sampled_from([1, 2]))
    return {
        lane: Share(weight / total, lent=draw(parts), most=draw(parts))
        for lane, weight in zip(LANES, weights, strict=True)
    }


rooms = st.integers(0, 64)
wanting = st.sets(st.sampled_from(LANES))


def loads(room: int) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({lane: st.integers(0, max(1, room)) for lane in LANES})


@given(st.data(), rooms, divisions(), wanting)
def test_nobody_gets_more_than_there_is(
    data: st.DataObject, room: int, shares: dict[str, Share], wants: set[str]
) -> None:
    """However it is divided, what is in work and what is added fit into the room."""
    used = data.draw(loads(room))
    more = divide(room, shares, used, wants)
    assert all(number >= 0 for number in more.values())
    assert sum(more.values()) <= max(0, room - sum(used.values()))
    assert not any(more[lane] for lane in LANES if lane not in wants)


@given(rooms, divisions(), wanting)
def test_a_lane_with_work_gets_at_least_what_it_is_guaranteed(
    room: int, shares: dict[str, Share], wants: set[str]
) -> None:
    """In an empty cluster no borrower comes before it, whichever lanes have work."""
    more = divide(room, shares, {}, wants)
    for lane in wants:
        assert more[lane] >= int(room * shares[lane].guaranteed + 1e-9)


@given(rooms, divisions())
def test_what_a_lane_keeps_free_is_not_borrowed(room: int, shares: dict[str, Share]) -> None:
    """A lane that cannot wait for units to end finds room at once."""
    more = divide(room, shares, {}, {"validation", "reprocess"})
    kept = int(room * shares["realtime"].guaranteed + 1e-9) * (1.0 - shares["realtime"].lent)
    assert sum(more.values()) <= room - int(kept)


def test_lanes_that_lend_everything_leave_nothing_unused() -> None:
    """Borrowing is what makes a division cost nothing while one lane is idle."""
    shares = {"realtime": Share(0.5), "validation": Share(0.25), "reprocess": Share(0.25)}
    assert divide(16, shares, {}, {"reprocess"})["reprocess"] == 16
    assert divide(16, shares, {}, set(LANES)) == {"realtime": 8, "validation": 4, "reprocess": 4}
    both = divide(16, shares, {}, {"validation", "reprocess"})
    assert both == {"realtime": 0, "validation": 8, "reprocess": 8}


def test_lent_room_comes_back_as_units_end() -> None:
    """The borrower begins nothing more until the lender has what is its own."""
    shares = {"realtime": Share(0.5), "reprocess": Share(0.5)}
    wants = {"realtime", "reprocess"}
    used = {"realtime": 0, "reprocess": 8}
    for ended in range(1, 5):
        used["reprocess"] -= 1
        more = divide(8, shares, used, wants)
        assert more == {"realtime": 1, "reprocess": 0}
        used["realtime"] += 1
        assert used["realtime"] == ended
    used["reprocess"] -= 1
    assert divide(8, shares, used, wants) == {"realtime": 0, "reprocess": 1}


def test_a_lane_has_no_more_than_its_bound() -> None:
    """Also of what nobody else wants."""
    shares = {"realtime": Share(0.5), "validation": Share(0.1, most=0.25), "reprocess": Share(0.4)}
    assert divide(16, shares, {}, {"validation"})["validation"] == 4


def test_a_lane_without_a_share_lives_on_what_is_left() -> None:
    """It gets something as long as the others do not use all of theirs."""
    shares = {"realtime": Share(1.0), "reprocess": Share(0.0)}
    assert divide(4, shares, {"realtime": 1}, {"reprocess"})["reprocess"] == 3
    assert divide(4, shares, {"realtime": 1}, {"realtime", "reprocess"})["reprocess"] == 0
