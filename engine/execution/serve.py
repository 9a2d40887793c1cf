"""The service: it works on what others submit, for as long as it is let."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from forebay.cluster.allocation import Share
from forebay.cluster.division_log import DivisionLog
from forebay.engine.errors import ClusterLostError, LeaseLostError, LedgerError
from forebay.engine.execution.demand import DemandTeller
from forebay.engine.execution.dispatcher import RECALL_SECONDS, STORAGE_SECONDS, Dispatcher
from forebay.engine.execution.events import Observer
from forebay.engine.execution.heartbeat import Heartbeat
from forebay.engine.execution.here import executor_for
from forebay.engine.execution.workbench import FindAlgorithm
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import LEASE_SECONDS, Service
from forebay.engine.queue.retry import RetryPolicy
from forebay.errors import ForebayError

_WAKE_SECONDS = 0.2
_STOP_SECONDS = 60.0
_LONGEST_PAUSE = 60.0
"""Seconds between two tries to reach a cluster or a ledger that is not there, at the most."""
_STEADY_SECONDS = 60.0
"""After so long without a failure the next one counts as the first."""

_log = logging.getLogger("forebay.engine")

type Connect = Callable[[], AbstractContextManager[Any]]
"""Gives a `distributed.Client`, or None to compute in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How a service works."""

    units_in_flight_per_worker: int = 2
    """Units that are handed out at a time, for each one that is computed at the same time."""
    unit_seconds: float | None = None
    """Longest time that a worker may be at a unit; None for any."""
    storage_seconds: float = STORAGE_SECONDS
    """Longest time that a result waits for storage that is full, read-only or gone."""
    recall_seconds: float = RECALL_SECONDS
    """Time between two looks whether what units read has come from its archive."""
    lease_seconds: float = LEASE_SECONDS
    """Silence after which others take over what it works on."""
    ageing_seconds: float = 600.0
    """Time without a turn after which a job moves up by one lane."""
    policy: RetryPolicy | None = None
    """What becomes of units that fail."""
    lanes: Callable[[], Mapping[str, Share]] = dict
    """Says how the workers are divided between lanes; asked anew each time."""
    divisions: DivisionLog | None = None
    """Where it is written down how they were divided; nowhere if not given."""
    cluster: str | None = None
    """Name of the cluster: jobs for it alone are taken, beside those for any."""


def serve(
    database: Database,
    connect: Connect,
    find: FindAlgorithm,
    *,
    options: ServiceOptions | None = None,
    stop: threading.Event,
    on_event: Observer | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Work on the jobs of a database until told to stop.

    Several services may share a database.  A cluster or a database that goes away is tried again
    with growing pauses; what was being computed meanwhile is computed again.

    Parameters
    ----------
    database
        The queue and the ledger.
    connect
        What computes.
    find
        Where algorithms come from.
    options
        How to work.
    stop
        Ends the service when it is set; what is being computed then is still published.
    on_event
        Told of everything that happens, from the calling thread.
    on_ready
        Told the service's name each time that it begins to take work.
    """
    chosen = options or ServiceOptions()
    tries = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            _serve_once(database, connect, find, chosen, stop, on_event, on_ready)
        except (ClusterLostError, LeaseLostError, LedgerError) as error:
            problem: ForebayError = error
        except ForebayError as error:
            # A cluster that does not start may do so later; what can never work is refused
            # before a service begins.
            problem = error
        else:
            return
        tries = 1 if time.monotonic() - began > _STEADY_SECONDS else tries + 1
        pause = min(_LONGEST_PAUSE, 2.0 ** (tries - 1))
        _log.warning("%s; trying again in %g s", problem, pause)
        stop.wait(pause)


def _serve_once(
    database: Database,
    connect: Connect,
    find: FindAlgorithm,
    options: ServiceOptions,
    stop: threading.Event,
    on_event: Observer | None,
    on_ready: Callable[[str], None] | None,
) -> None:
    """Work until told to stop, or until the cluster, the lease or the database is lost."""
    with ExitStack() as stack:
        client = stack.enter_context(connect())
        # What is still being computed writes to folders that the dispatcher removes.
        computed = stack.enter_context(ExitStack())
        executor = stack.enter_context(executor_for(client))
        service = Service(
            database,
            policy=options.policy,
            lease_seconds=options.lease_seconds,
            ageing_seconds=options.ageing_seconds,
            cluster=options.cluster,
        )
        stack.callback(_end, service)
        dispatcher = Dispatcher(
            database,
            service,
            executor,
            find,
            units_in_flight_per_worker=options.units_in_flight_per_worker,
            unit_seconds=options.unit_seconds,
            storage_seconds=options.storage_seconds,
            recall_seconds=options.recall_seconds,
            observer=on_event,
            lanes=options.lanes,
            divisions=options.divisions,
        )
        computed.callback(_close, dispatcher)
        heart = stack.enter_context(
            Heartbeat(service, every=options.lease_seconds / 3, wake=dispatcher.wake)
        )
        demand = DemandTeller(database, client, cluster=options.cluster, service=service)
        if on_ready is not None:
            on_ready(service.identity)
        while not stop.is_set():
            demand.look()
            dispatcher.refuse_larger(demand.no_larger_because)
            dispatcher.turn(wait_seconds=_WAKE_SECONDS)
            heart.check()
        dispatcher.drain()
        deadline = time.monotonic() + _STOP_SECONDS
        while dispatcher.in_flight and time.monotonic() < deadline:
            dispatcher.turn(wait_seconds=_WAKE_SECONDS)
            heart.check()


def _end(service: Service) -> None:
    """Give everything back; if the database is not there, that is done when it is."""
    try:
        service.end()
    except LedgerError as error:
        _log.warning("what %s worked on is left for later: %s", service.identity, error)


def _close(dispatcher: Dispatcher) -> None:
    try:
        dispatcher.close()
    except LedgerError as error:
        _log.warning("%s", error)
