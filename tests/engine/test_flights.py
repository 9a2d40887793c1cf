"""Of each unit one attempt is in flight, and what comes back late is not taken for it."""

from types import SimpleNamespace
from typing import Any, cast

from forebay.engine.execution.flights import Flights, InFlight


def in_flight(bench: Any, unit: str, *, size: int = 7) -> InFlight:
    """Return an attempt of a unit that was handed out."""
    claim = SimpleNamespace(unit=unit, bytes=size, lane=0)
    return InFlight(cast("Any", claim), cast("Any", None), bench)


def test_an_attempt_that_comes_back_late_does_not_end_the_one_that_flies() -> None:
    """Nor is it counted a second time."""
    bench = cast("Any", SimpleNamespace(in_flight=0))
    flights = Flights()
    early, late, other = (in_flight(bench, name) for name in ("a", "a", "b"))
    flights.add(early)
    assert flights.forget(early)
    flights.add(late)
    flights.add(other)
    assert (len(flights), flights.bytes, bench.in_flight) == (2, 14, 2)
    assert not flights.forget(early)
    assert (len(flights), bench.in_flight) == (2, 2)
    assert flights.forget(late)
    assert not flights.forget(late)
    assert [each.claim.unit for each in flights] == ["b"]
    assert (flights.bytes, bench.in_flight) == (7, 1)
