"""What other processes do with a ledger while a test runs."""

import itertools
import os
import resource
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.engine.queue.desk import Desk, Place

from forebay.engine.errors import LedgerError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.leases import Service


def hold(place: Place, told: Connection) -> None:
    """Hold a unit, begin with another, and wait to be killed."""
    service = Service(Database(place), lease_seconds=1e6)
    held, begun = service.claim(1), service.begin(service.claim(1))
    told.send((service.identity, len(held), len(begun)))
    time.sleep(1000)


def open_together(place: Place, together: Barrier, told: Connection) -> None:
    """Open a ledger at the same moment as others do, and tell how many jobs are in it."""
    together.wait(60)
    try:
        with Database(place) as database:
            told.send(len(Jobs(database).find()))
    except LedgerError as error:
        told.send(str(error))


def open_and_die(place: Place, point: int) -> None:
    """Open a ledger, and be killed just before a statement, or a commit, of that number."""
    numbers = itertools.count()

    def count(*_: Any) -> None:
        if next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "commit", count)
    Database(place).close()


def fill_the_disk(path: Path, told: Connection) -> None:
    """Write a ledger until there is no room, and then go on with room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    infinity = resource.RLIM_INFINITY
    desk = Desk(Database(path))
    desk.queue_up("run", 100)
    size = max(each.stat().st_size for each in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 400_000, infinity))
    runs = [f"run {number}" for number in range(100)]
    error = "there was room"
    try:
        for run in runs:
            desk.queue_up(run, 100)
    except LedgerError as refused:
        error = str(refused)
    resource.setrlimit(resource.RLIMIT_FSIZE, (infinity, infinity))
    later = desk.queue_up("later", 2)
    desk.publish(desk.take(job=later))
    numbers = [len(desk.units(run)) for run in ("run", *runs)]
    told.send((error, numbers, desk.state(later)))
