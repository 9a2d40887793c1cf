"""Workers are stopped that are at what is not to go on, and nobody beside it pays for that."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.engine.execution.flights import Flights
from forebay.engine.execution.notes import AttemptNotes, Computed, NotBegun
from forebay.engine.execution.stopping import Stopping
from forebay.engine.queue.retry import FailureClass
from forebay.engine.results.part import Part

HERE, THERE = "tcp://127.0.0.1:5", "tcp://127.0.0.1:6"


class Shop:
    """Two workers, and units that they are at."""

    def __init__(self, folder: Path, *, unit_seconds: float | None = None) -> None:
        self.folder = folder
        self.now = 0.0
        self.bench: Any = SimpleNamespace(in_flight=0)
        self.flights = Flights()
        self.stopped: list[str | None] = []
        self.given_back: list[str] = []
        self.failed: list[tuple[str, FailureClass]] = []
        service: Any = SimpleNamespace(hand_back=self._hand_back)
        executor: Any = SimpleNamespace(
            stop_worker=self.stopped.append, has_worker={HERE, THERE}.__contains__
        )
        recording: Any = SimpleNamespace(fail=self._fail)
        self.stopping = Stopping(
            service,
            executor,
            self.flights,
            recording,
            unit_seconds=unit_seconds,
            monotonic=lambda: self.now,
        )

    def _hand_back(self, claims: Any) -> None:
        self.given_back += [each.unit for each in claims]

    def _fail(self, failures: Any) -> None:
        self.failed += [(each.claim.unit, why.kind) for each, why in failures]

    def hand_out(self, name: str, worker: str | None = None) -> Any:
        """Let a unit fly, and let a worker be at it."""
        notes = AttemptNotes.of(name, 1, self.folder)
        order = SimpleNamespace(notes=notes, staging=self.folder)
        each: Any = SimpleNamespace(claim=SimpleNamespace(unit=name), order=order, bench=self.bench)
        self.flights.add(each)
        if worker is not None:
            each.making = notes.making(worker)
            each.made = each.making.__enter__()
        return each


def units(shop: Shop) -> set[str]:
    """Return what flies."""
    return {each.claim.unit for each in shop.flights}


def test_a_worker_that_stays_at_what_was_cancelled_is_stopped(tmp_path: Path) -> None:
    """After ten seconds; what it is at beside is given back, and has not failed."""
    shop = Shop(tmp_path)
    hung = shop.hand_out("hung", HERE)
    waiting = shop.hand_out("waiting")
    for name, worker in (("beside", HERE), ("elsewhere", THERE), ("not begun", None)):
        shop.hand_out(name, worker)
    shop.stopping.withdraw(hung)
    shop.stopping.withdraw(waiting)
    # The notes of what is watched are kept.
    assert (units(shop), shop.bench.in_flight) == ({"beside", "elsewhere", "not begun"}, 4)
    shop.now = 9.0
    shop.stopping.look()
    assert shop.stopped == []
    shop.now = 11.0
    shop.stopping.look()
    shop.stopping.look()
    assert (shop.stopped, shop.given_back) == ([HERE], ["beside"])
    assert (units(shop), shop.bench.in_flight) == ({"elsewhere", "not begun"}, 2)
    assert shop.failed == []


def test_what_was_cancelled_and_ends_by_itself_stops_nobody(tmp_path: Path) -> None:
    """Nor does what a worker was at that has gone by itself."""
    shop = Shop(tmp_path)
    short, orphan = shop.hand_out("short", HERE), shop.hand_out("orphan", "tcp://127.0.0.1:7")
    shop.stopping.withdraw(short)
    shop.stopping.withdraw(orphan)
    short.made.end(Computed(Part("part", "digest", 1, None), 0.5))
    short.making.__exit__(None, None, None)
    shop.now = 60.0
    shop.stopping.look()
    assert (shop.stopped, shop.bench.in_flight) == ([], 0)


@pytest.mark.parametrize("begun", [True, False])
def test_what_was_withdrawn_is_not_begun_any_more(tmp_path: Path, begun: bool) -> None:
    """Not on another worker either, when the one that was at it is gone."""
    shop = Shop(tmp_path)
    each = shop.hand_out("unit", HERE if begun else None)
    shop.stopping.withdraw(each)
    with pytest.raises(FileExistsError), each.order.notes.making(THERE):
        pass
    assert each.order.notes.outcome() == NotBegun("nobody wants it any more")


def test_of_two_slow_units_at_a_worker_one_has_failed(tmp_path: Path) -> None:
    """The other one may have been slow because of it; the worker that comes is not stopped too."""
    shop = Shop(tmp_path, unit_seconds=5.0)
    for name in ("one", "two"):
        os.utime(shop.hand_out(name, HERE).order.notes.begun, (0.0, 0.0))
    os.utime(shop.hand_out("elsewhere", THERE).order.notes.begun)
    shop.stopping.look()
    assert shop.failed == [("one", FailureClass.TIMED_OUT)]
    assert (shop.stopped, shop.given_back, units(shop)) == ([HERE], ["two"], {"elsewhere"})
