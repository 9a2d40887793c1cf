"""Carrying out a job in the calling process, which nobody else may work on."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from forebay.acquisition import Run
from forebay.engine.errors import JobInterruptedError, ParameterError
from forebay.engine.execution.demand import DemandTeller
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.events import Observer
from forebay.engine.execution.executor import DaskExecutor, Executor, InProcessExecutor
from forebay.engine.execution.heartbeat import Heartbeat
from forebay.engine.execution.workbench import FindAlgorithm
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import JobRecord, Jobs
from forebay.engine.queue.leases import LEASE_SECONDS, Service
from forebay.engine.queue.retry import PROMPT_RULES, RetryPolicy
from forebay.engine.queue.states import JobState
from forebay.engine.queue.submission import Submission

_WAKE_SECONDS = 0.2
_STOP_SECONDS = 30.0
"""How long a job that was stopped waits for what is being computed."""


@contextmanager
def executor_for(client: Any) -> Iterator[Executor]:
    """Give what computes: the workers of a `distributed.Client`, or this process for None."""
    with contextlib.closing(InProcessExecutor() if client is None else DaskExecutor(client)) as it:
        yield it


def check_how(client: Any, units_in_flight_per_worker: Any) -> None:
    """Refuse what nothing could be computed with, before anything is done.

    Raises
    ------
    ParameterError
        If the client is none, or nothing would be handed out.
    """
    if client is not None:
        from distributed import Client

        if not isinstance(client, Client) or client.asynchronous:
            kind = "an asynchronous one" if isinstance(client, Client) else repr(client)
            raise ParameterError(
                f"client cannot be {kind}: give an ordinary distributed.Client, such as "
                "Client('tcp://scheduler:8786') or cluster.get_client()"
            )
    number = units_in_flight_per_worker
    if not isinstance(number, int) or number < 1:
        raise ParameterError(
            f"units_in_flight_per_worker cannot be {number!r}: at least 1 unit has to be handed out"
        )


def carry_out(
    database: Database,
    submission: Submission,
    find: FindAlgorithm,
    *,
    client: Any,
    units_in_flight_per_worker: int,
    stop: threading.Event,
    on_event: Observer | None,
    run: Run | None = None,
) -> tuple[JobRecord, int]:
    """Submit a job for this process alone, and work until it has ended.

    Returns
    -------
    JobRecord
        The job, as it ended.
    int
        Number of units that were published.

    Raises
    ------
    JobInterruptedError
        If it was stopped, or cancelled by somebody.
    LeaseLostError
        If others have taken this process for dead.
    ClusterLostError
        If the cluster went away.
    """
    jobs = Jobs(database)
    with contextlib.ExitStack() as stack:
        service = Service(database, policy=RetryPolicy(PROMPT_RULES))
        stack.callback(service.end)
        number, _ = jobs.submit(replace(submission, private=service.identity))
        # What is still being computed writes to folders that the dispatcher removes.
        computed = stack.enter_context(contextlib.ExitStack())
        executor = stack.enter_context(executor_for(client))
        dispatcher = Dispatcher(
            database,
            service,
            executor,
            find,
            units_in_flight_per_worker=units_in_flight_per_worker,
            job=number,
            run=run,
            observer=on_event,
        )
        computed.callback(dispatcher.close)
        heart = Heartbeat(service, every=LEASE_SECONDS / 3, wake=dispatcher.wake)
        demand = DemandTeller(database, client, job=number)
        with heart:
            record = _until_it_ends(dispatcher, heart, jobs, number, stop, demand)
        demand.withdraw()
        return record, dispatcher.published


def _until_it_ends(
    dispatcher: Dispatcher,
    heart: Heartbeat,
    jobs: Jobs,
    number: int,
    stop: threading.Event,
    demand: DemandTeller,
) -> JobRecord:
    stopped_at: float | None = None
    # Where everything is done already there is nothing to wait for.
    wait = 0.0
    while True:
        demand.look()
        dispatcher.refuse_larger(demand.no_larger_because)
        dispatcher.turn(wait_seconds=wait)
        wait = _WAKE_SECONDS
        heart.check()
        if not dispatcher.in_flight and (record := jobs.get(number)).ended:
            if record.state == JobState.CANCELLED:
                heart.beat()
                raise JobInterruptedError(
                    f"the job was cancelled ({record.error}) after {dispatcher.published} units; "
                    "they are published; run it again to go on"
                )
            return record
        if stop.is_set():
            if stopped_at is None:
                stopped_at = time.monotonic()
                dispatcher.drain()
            left = dispatcher.in_flight
            if not left or time.monotonic() - stopped_at > _STOP_SECONDS:
                given_up = f"; {left} units were given up" if left else ""
                raise JobInterruptedError(
                    f"the job was stopped after {dispatcher.published} units{given_up}; they are "
                    "published; run it again to go on"
                )
