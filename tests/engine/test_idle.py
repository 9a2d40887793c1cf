"""A service with nothing to do leaves the ledger to others, and takes work when there is some."""

import faulthandler
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
from tests.children import in_a_child
from tests.engine.conftest import WriteRun

from forebay.engine import Algorithm, submit
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.executor import InProcessExecutor
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service

SECONDS = 30.0
ALGORITHM = Algorithm("listed", "1.0.0", lambda frames: pd.DataFrame({"t": frames.t}))


class Counted(Service):
    """A service that counts how often it looks around, and how often it asks for units."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.looks = self.claims = 0

    def bury_the_dead(self) -> list[str]:
        """Count it."""
        self.looks += 1
        return super().bury_the_dead()

    def claim(self, *args: Any, **how: Any) -> Any:
        """Count it."""
        self.claims += 1
        return super().claim(*args, **how)


def test_an_idle_service_asks_for_units_no_oftener_than_it_looks_around(
    write_run: WriteRun, tmp_path: Path
) -> None:
    """To ask takes the write lock. What is submitted is computed."""
    ledger = tmp_path / "ledger.sqlite"
    with Database(ledger) as database:
        service, executor = Counted(database), InProcessExecutor()
        dispatcher = Dispatcher(database, service, executor, lambda *_: ALGORITHM)
        for _ in range(100):
            dispatcher.turn(wait_seconds=0.001)
        assert service.claims <= service.looks
        submit(write_run(), ALGORITHM, ledger=ledger, results=tmp_path / "results")
        while dispatcher.published < 3:
            dispatcher.turn(wait_seconds=0.1)
        executor.close()
        dispatcher.close()
        service.end()


def test_a_signal_that_comes_while_it_waits_lets_it_go_on(tmp_path: Path) -> None:
    """Though its handler takes longer than is waited: a service that is asked to end would stay."""

    def wait_through_a_signal() -> None:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.3))
        with Database(tmp_path / "ledger.sqlite") as database:
            service, executor = Service(database), InProcessExecutor()
            dispatcher = Dispatcher(database, service, executor, lambda *_: ALGORITHM)
            dispatcher.turn(wait_seconds=0.0)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            dispatcher.turn(wait_seconds=0.1)
            executor.close()
            dispatcher.close()
            service.end()
        faulthandler.cancel_dump_traceback_later()

    assert in_a_child(wait_through_a_signal) == 0
