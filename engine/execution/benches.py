"""The workbenches of the results that are worked on, and the storage that each lies on."""

import logging
import time
from collections.abc import Container
from pathlib import Path

from forebay.acquisition import Run, open_run
from forebay.acquisition.errors import RunNotFoundError
from forebay.engine.errors import UnknownAlgorithmError
from forebay.engine.execution.leftovers import Leftovers
from forebay.engine.execution.recalls_ahead import RecallsAhead
from forebay.engine.execution.storage import Storage
from forebay.engine.execution.workbench import FindAlgorithm, Workbench
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.leases import Service
from forebay.engine.queue.submission import Target
from forebay.errors import ForebayError
from forebay.tiering import open_store

_IDLE_SECONDS = 5.0
_UNKNOWN_SECONDS = 10.0
"""For how long nobody is asked again for an algorithm that a service does not know."""

_log = logging.getLogger("forebay.engine")


class Benches:
    """Opens what a result needs when its first unit comes, and closes it when none is left.

    Parameters
    ----------
    database
        The queue and the ledger.
    service
        In whose name units are held.
    find
        Where algorithms come from.
    patience
        Seconds that a result waits for storage that is out of order.
    run
        The only run, where it is open already.
    recalls
        Asks archives for what units read.
    """

    def __init__(
        self,
        database: Database,
        service: Service,
        find: FindAlgorithm,
        *,
        patience: float,
        run: Run | None,
        recalls: RecallsAhead,
    ) -> None:
        self._database = database
        self._service = service
        self._jobs = Jobs(database)
        self._find = find
        self._patience = patience
        self._run = run
        self._recalls = recalls
        self._benches: dict[str, Workbench] = {}
        self._followed: dict[str, Run] = {}
        """Runs that are open already, since they are planned here; to read a log takes its time."""
        self._storages: dict[str, Storage] = {}
        self._leftovers = Leftovers(database, service)
        self._unknown: set[str] = set()

    def of(self, claim: Claim) -> Workbench:
        """Return the workbench of a unit.

        Raises
        ------
        ForebayError
            If the run cannot be read, the folder not written, or the algorithm is unknown.
        """
        bench = self._benches.get(claim.result)
        if bench is None:
            target = self._target(claim)
            storage = self._storage(claim, target)
            run = self._run or self._followed.get(claim.result)
            bench = Workbench(target, self._database, self._find, storage=storage, run=run)
            self._benches[claim.result] = bench
            self._recalls.begin(target, bench.run)
        return bench

    def grown(self, result: str, run: Run) -> None:
        """Take in how far a run has come."""
        self._followed[result] = run
        bench = self._benches.get(result)
        if bench is not None:
            bench.run = run

    def seconds(self) -> float | None:
        """Return how long the slowest units take; None if that is not known."""
        known = [x.seconds for x in self._benches.values() if x.seconds is not None]
        return max(known, default=None)

    def sweep(self) -> None:
        """Remove what those that have died have left behind."""
        for bench in self._benches.values():
            bench.sweep()
        self._leftovers.sweep()

    def close_idle(self, keep: Container[str] = ()) -> None:
        """Close those of which no unit has been in flight for some time.

        To open one again takes the longer the more of its result is published: of runs that are
        followed, the results to `keep`, it would be done for each block.
        """
        now = time.monotonic()
        self._followed = {name: run for name, run in self._followed.items() if name in keep}
        for name, bench in [*self._benches.items()]:
            if bench.in_flight or name in keep:
                bench.idle_since = None
            elif bench.idle_since is None:
                bench.idle_since = now
            elif now - bench.idle_since > _IDLE_SECONDS:
                del self._benches[name]
                bench.close()
                if bench.storage.works:
                    self._storages.pop(name, None)

    def close(self) -> None:
        """Close all of them."""
        self._leftovers.close()
        for bench in self._benches.values():
            bench.close()

    def waits(self, claim: Claim) -> bool:
        """Tell whether the result's storage was out of order, and is so still."""
        known = self._storages.get(claim.result)
        return known is not None and not known.works and self.hold(claim.result, known)

    def waits_for_others(self, claim: Claim, error: Exception) -> bool:
        """Tell whether the result waits, now that it cannot be worked on.

        It does as long as its storage is out of order, or its algorithm is unknown: a version that
        was installed after the service was started is for one that is started later.
        """
        if isinstance(error, UnknownAlgorithmError):
            self._hold_unknown(claim)
            return True
        return isinstance(error, OSError) and self.hold(
            claim.result, self._storage(claim, self._target(claim))
        )

    def without_run(self, claim: Claim) -> str | None:
        """Return that the run of a unit is not there any more; None if it is, or may be."""
        location = self._target(claim).location
        if "://" not in location and Path(location).is_dir():
            # Nothing is read where there is nothing to find.
            return None
        try:
            open_run(open_store(location))
        except RunNotFoundError:
            return (
                f"the run {location} is not there any more, and what was not computed of it is "
                "given up: put it back, then run it again or retry the job"
            )
        except (ForebayError, OSError) as error:
            _log.debug("it is not known whether %s is there: %s", location, error)
        return None

    def _hold_unknown(self, claim: Claim) -> None:
        job = self._target(claim).job
        label = f"{job.algorithm}-{job.version}"
        why = f"the service {self._service.identity} does not know {label}: start it anew"
        if label not in self._unknown:
            self._unknown.add(label)
            _log.warning("%s where that is installed; what needs it waits", why)
        self._service.hold_back(claim.result, _UNKNOWN_SECONDS, because=why)

    def hold(self, result: str, storage: Storage) -> bool:
        """Look at the storage of a result, and begin nothing of it while that is out of order."""
        if storage.pausing:
            return True
        problem = storage.to_wait_for()
        if problem is None:
            return False
        pause = storage.next_pause()
        _log.warning("%s; what needs it waits, and is tried again in %g s", problem, pause)
        self._service.hold_back(result, pause, because=problem)
        return True

    def _storage(self, claim: Claim, target: Target) -> Storage:
        storage = self._storages.get(claim.result)
        if storage is None:
            storage = Storage.of(target, patience=self._patience)
            self._storages[claim.result] = storage
        return storage

    def _target(self, claim: Claim) -> Target:
        for target in self._jobs.results(claim.job):
            if target.job.identity == claim.result:
                return target
        raise AssertionError(f"job {claim.job} does not ask for {claim.result}")
