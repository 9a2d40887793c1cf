"""``forebay serve``: work on what is submitted, until told to stop."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from forebay.cli.commands.job_options import ClusterOption
from forebay.cli.commands.process import cluster_client, cluster_of
from forebay.cli.output import print_json
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
)
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from forebay.cluster.allocation import Share
    from forebay.config import Settings
    from forebay.engine.execution.events import JobEvent
    from forebay.engine.queue.database import Database
    from forebay.engine.unit import Unit

_log = logging.getLogger("forebay.engine")


def serve(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Work on the jobs that are submitted, until Ctrl-C or SIGTERM.

    Where 'tiering.interval_seconds' is set, runs are moved between tiers beside that work.

    Several services may work on one PostgreSQL ledger. What is being computed when it is told to
    stop is still published; what a killed service had begun, the next one does again.
    """
    from forebay.cluster.decisions import DecisionLog, decisions_path
    from forebay.cluster.division_log import DivisionLog
    from forebay.engine import REGISTRY
    from forebay.engine.execution.serve import ServiceOptions
    from forebay.engine.execution.serve import serve as work
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.retry import RetryPolicy

    call = session(context)
    settings = call.settings.engine
    REGISTRY.load(settings.algorithm_modules)
    # What can never work is refused at once; a cluster that does not start may do so later.
    specification = cluster_of(call, cluster)
    chosen = cluster or settings.cluster
    place = None if specification is None else specification.place
    divisions = DivisionLog(DecisionLog(decisions_path(place, chosen)), chosen)

    @contextmanager
    def connect() -> Iterator[Any]:
        with cluster_client(call, cluster) as client:
            yield client

    def ready(name: str) -> None:
        if as_json:
            print_json({"event": "ready", "service": name, "ledger": database.name})
        else:
            typer.echo(f"{name} works on the jobs of {database.name}")

    options = ServiceOptions(
        units_in_flight_per_worker=settings.units_in_flight_per_worker,
        unit_seconds=settings.unit_seconds,
        storage_seconds=settings.storage_seconds,
        lease_seconds=settings.lease_seconds,
        ageing_seconds=settings.ageing_seconds,
        lanes=_Division(call),
        divisions=divisions,
        policy=RetryPolicy(settings.retries, most_retries=settings.most_retries),
        cluster=chosen,
    )
    with (
        stop_on_signals("what is being computed is still published") as stop,
        Database(call.ledger(ledger, results, runs)) as database,
        _moving(call, database, stop),
    ):
        work(
            database,
            connect,
            REGISTRY.get,
            options=options,
            stop=stop,
            on_event=_Told(as_json=as_json),
            on_ready=ready,
        )


def _moving(
    call: Session, database: "Database", stop: threading.Event
) -> AbstractContextManager[object]:
    """Return what moves runs between tiers beside the work, where that is configured."""
    settings = call.settings
    if not settings.tiers or settings.tiering.interval_seconds is None:
        return nullcontext()
    from forebay.engine.queue.lanes import Lane
    from forebay.engine.queue.waiting import work_waits
    from forebay.engine.results.volumes import ResultVolumes
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.catalogue.places import tiers_as_known
    from forebay.tiering.continuous.service import ContinuousMoving

    catalogue = Catalogue(database)
    return ContinuousMoving(
        database,
        settings.tiers,
        settings.tiering,
        stop=stop,
        realtime_waits=lambda: work_waits(database, Lane.REALTIME),
        beside=ResultVolumes(catalogue, database, tiers_as_known(catalogue, settings.tiers)),
    )


class _Division:
    """How workers are divided between lanes, as it stands in the configuration now.

    The file is read again when it has changed. One that cannot be used leaves all as it was, with
    a warning: a slip of the pen does not stop a service.
    """

    def __init__(self, call: Session) -> None:
        self._file = call.loaded.file
        self._stamp = self._look()
        self._shares = _shares(call.settings)

    def __call__(self) -> "Mapping[str, Share]":
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()
        return self._shares

    def _look(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read(self) -> None:
        from forebay.config import ConfigError, load_settings

        try:
            shares = _shares(load_settings(self._file).settings)
        except (ConfigError, OSError) as error:
            _log.warning("workers stay divided between lanes as they were: %s", error)
            return
        if shares != self._shares:
            self._shares = shares
            said = ", ".join(f"{lane} {each.guaranteed:.0%}" for lane, each in shares.items())
            _log.warning("workers are divided between lanes anew: %s", said or "by urgency alone")


def _shares(settings: "Settings") -> "Mapping[str, Share]":
    from forebay.cluster.allocation import Share

    given = settings.engine.lanes
    return {
        lane: Share(each.guaranteed, lent=each.lent, most=each.most) for lane, each in given.items()
    }


class _Told:
    """Tells of each unit: a line for people where something failed, JSON for machines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, event: "JobEvent") -> None:
        from forebay.engine.execution.events import UnitFailed, UnitPublished, UnitRetried

        match event:
            case UnitPublished(unit=unit, seconds=took, latency=latency):
                if self._as_json:
                    fields = {"seconds": took, "latency_seconds": latency}
                    self._line("published", unit, **fields)
            case UnitRetried(unit=unit, error=error):
                self._line("retried", unit, error=error)
            case UnitFailed(unit=unit, error=error):
                self._line("dead", unit, error=error)

    def _line(self, event: str, unit: "Unit", **fields: Any) -> None:
        run, label = unit.job.run_name, unit.label
        algorithm = f"{unit.job.algorithm}-{unit.job.version}"
        if self._as_json:
            print_json(
                {"event": event, "run": run, "algorithm": algorithm, "unit": label, **fields}
            )
        else:
            typer.echo(f"{event}: {run} {algorithm} {label}: {fields.get('error', '')}")
