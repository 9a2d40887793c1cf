"""A service's workers are divided between lanes, and a change of that needs no restart."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.cli.commands.serve import _Division
from forebay.cli.session import Session
from forebay.cluster.allocation import Share
from forebay.cluster.decisions import DecisionLog, read_decisions
from forebay.cluster.division_log import DivisionLog
from forebay.engine import Algorithm, submit
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.executor import Done, Lost
from forebay.engine.execution.notes import Failed
from forebay.engine.execution.work import Order
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.retry import Failure, FailureClass


def listed(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t})


class Full:
    """Eight threads that never end what they are given, unless they are told to lose it."""

    slots = 8
    memory = None

    def __init__(self) -> None:
        self.given: list[tuple[int, Done]] = []

    def submit(
        self,
        orders: Sequence[Order],
        done: Done,
        *,
        priority: int,
        urgent: bool = False,
        avoid: str | None = None,
        memory: int | None = None,
    ) -> None:
        self.given.append((priority, done))

    def lose(self, number: int) -> None:
        for _, done in self.given[:number]:
            done(Lost("gone"))
        del self.given[:number]

    def exceeded_memory(self, worker: str | None) -> int | None:
        return None

    def has_worker(self, worker: str | None) -> bool:
        return True

    def most_memory(self) -> str:
        return ""

    def refuse_larger(self, because: str) -> None: ...

    def stop_worker(self, worker: str | None) -> None: ...

    def drop_waiting(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def ledger(write_run: WriteRun, tmp_path: Path) -> Path:
    """A queue with more work in two lanes than there is room for."""
    place = tmp_path / "ledger.sqlite"
    for lane in ("realtime", "reprocess"):
        run = write_run(lane, frames=30, frames_per_block=1)
        algorithm = Algorithm("listed", "1.0.0", listed)
        submit(run, algorithm, ledger=place, results=tmp_path / "results", lane=lane)
    return place


def lanes_of(dispatcher: Dispatcher) -> Counter[str]:
    return dispatcher._flights.lanes()


def test_nothing_joins_what_is_computed_alone(ledger: Path) -> None:
    """A unit whose worker died is by itself from its beginning to its end."""
    executor: Any = Full()
    with Database(ledger) as database:
        service = Service(database)
        dispatcher = Dispatcher(
            database,
            service,
            executor,
            lambda *_: Algorithm("listed", "1.0.0", listed),
            units_in_flight_per_worker=1,
        )
        dispatcher.turn(wait_seconds=0.0)
        assert dispatcher.in_flight == 8
        (_, done), *others = executor.given
        failure = Failure(FailureClass.WORKER_LOST, "the worker died")
        done([Failed(failure)])
        for _, each in others:
            each(Lost("gone"))
        executor.given.clear()
        dispatcher.turn(wait_seconds=0.0)
        # Those that were taken with it are computed first.
        dispatcher.turn(wait_seconds=0.0)
        executor.lose(len(executor.given))
        for _ in range(5):
            dispatcher.turn(wait_seconds=0.0)
        assert dispatcher.in_flight == len(executor.given) == 1
        executor.lose(1)
        dispatcher.drain()
        dispatcher.turn(wait_seconds=0.0)
        dispatcher.close()
        service.end()


def test_each_lane_gets_its_share_and_a_change_counts_at_once(ledger: Path) -> None:
    """What is urgent does not take everything where some of it is promised to others."""
    division: dict[str, Share] = {
        "realtime": Share(0.75, lent=0.0),
        "reprocess": Share(0.25),
    }

    def now() -> Mapping[str, Share]:
        return division

    executor: Any = Full()
    algorithm = Algorithm("listed", "1.0.0", listed)
    decisions = DecisionLog(ledger.with_name("decisions.jsonl"))
    with Database(ledger) as database:
        service = Service(database)
        dispatcher = Dispatcher(
            database,
            service,
            executor,
            lambda *_: algorithm,
            units_in_flight_per_worker=1,
            lanes=now,
            divisions=DivisionLog(decisions, "gpu", clock=itertools.count(0.0, 10.0).__next__),
        )
        for _ in range(20):
            dispatcher.turn(wait_seconds=0.0)
        assert lanes_of(dispatcher) == {"realtime": 6, "reprocess": 2}
        division["realtime"], division["reprocess"] = Share(0.25), Share(0.75)
        executor.lose(8)
        for _ in range(20):
            dispatcher.turn(wait_seconds=0.0)
        assert lanes_of(dispatcher) == {"realtime": 2, "reprocess": 6}
        dispatcher.close()
        service.end()
    # Each division is an event, with what was promised to whom.
    events = list(read_decisions(decisions.path))
    assert {each.event for each in events} == {"allocation"}
    promised = [each.figures["promised"] for each in events]
    assert promised[0] == {"realtime": 6, "validation": 0, "reprocess": 2}
    assert promised[-1] == {"realtime": 2, "validation": 0, "reprocess": 6}


def test_without_a_division_what_is_urgent_goes_first(ledger: Path) -> None:
    """As it always did."""
    executor: Any = Full()
    algorithm = Algorithm("listed", "1.0.0", listed)
    with Database(ledger) as database:
        service = Service(database)
        dispatcher = Dispatcher(
            database, service, executor, lambda *_: algorithm, units_in_flight_per_worker=1
        )
        for _ in range(20):
            dispatcher.turn(wait_seconds=0.0)
        assert lanes_of(dispatcher) == {"realtime": 8}
        dispatcher.close()
        service.end()


def test_the_division_is_read_again_when_its_file_has_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be used leaves it as it was, and is told of."""
    file = tmp_path / "forebay.toml"
    file.write_text("[engine.lanes.realtime]\nguaranteed = 0.5\n")
    division = _Division(Session(file))
    assert division() == {"realtime": Share(0.5)}
    file.write_text("[engine.lanes.realtime]\nguaranteed = 0.25\nlent = 0.5\n")
    assert division() == {"realtime": Share(0.25, lent=0.5)}
    file.write_text("[engine.lanes.realtime]\nguaranteed = 25\n")
    assert division() == {"realtime": Share(0.25, lent=0.5)}
    assert "workers stay divided between lanes as they were" in caplog.text
    file.write_text(
        "[engine.lanes.realtime]\nguaranteed = 0.6\n[engine.lanes.reprocess]\nguaranteed = 0.6"
    )
    assert division() == {"realtime": Share(0.25, lent=0.5)}
    assert "1.2 of the workers are guaranteed together" in caplog.text
    file.unlink()
    assert division() == {"realtime": Share(0.25, lent=0.5)}
