"""Handing out units as there is room for them, and recording what comes back."""

import itertools
import logging
import math
import queue
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forebay.acquisition import Run
from forebay.cluster.allocation import Share, divide
from forebay.cluster.division_log import DivisionLog
from forebay.engine.errors import AlgorithmError, ClusterLostError
from forebay.engine.execution.events import (
    JobEvent,
    Observer,
    RunGrown,
    UnitFailed,
    UnitPublished,
    UnitRetried,
    UnitSkipped,
)
from forebay.engine.execution.executor import Executor, GivenUp, Lost, Outcome
from forebay.engine.execution.planner import Planner
from forebay.engine.execution.storage import Storage
from forebay.engine.execution.work import (
    WORKER_DIED,
    Computed,
    Failed,
    Order,
    begun_note,
    noted_worker,
)
from forebay.engine.execution.workbench import FindAlgorithm, Workbench
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Claim, Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Target
from forebay.engine.unit import Unit
from forebay.errors import ForebayError

STORAGE_SECONDS = 86_400.0
"""Longest time that a result waits for storage that is full, read-only or gone."""
_HOUSEKEEPING_SECONDS = 1.0
_MEMORY_SHARE = 0.4
"""Part of the workers' memory that units in flight may take, with what they declare to need."""
_TASK_SECONDS = 0.2
"""How long a task should be, so that Dask's own work is little beside it."""
_MOST_IN_TASK = 64
_LANE_PRIORITY = 10_000_000

_log = logging.getLogger("forebay.engine")


@dataclass(frozen=True, slots=True)
class InFlight:
    """A unit that was handed out."""

    claim: Claim
    """The claim on it."""
    order: Order
    """What the worker has to do."""
    bench: Workbench
    """What it belongs to."""


class Dispatcher:
    """Takes units from the queue, has them computed, and records what became of them.

    Everything but computing happens in the thread that calls `turn`.  Units that came back, runs
    that have grown and other services wake it.

    Parameters
    ----------
    database
        The queue and the ledger.
    service
        In whose name units are held.
    executor
        What computes.
    find
        Where algorithms come from.
    units_in_flight_per_worker
        Units that are handed out at a time, for each one that is computed at the same time.
    unit_seconds
        Longest time that a worker may be at a unit; None for any.
    storage_seconds
        Longest time that a result waits for storage that is out of order.
    job
        The only job to work on; any that is for all services if not given.
    run
        The only run of that job, where it is open already; then its errors are raised.
    observer
        Told of everything that happens.
    lanes
        Says how the room is divided between lanes; asked anew each time, so that a change takes
        effect at once.  By urgency alone if it says nothing.
    divisions
        Where it is written down how the room was divided; nowhere if not given.
    """

    def __init__(
        self,
        database: Database,
        service: Service,
        executor: Executor,
        find: FindAlgorithm,
        *,
        units_in_flight_per_worker: int = 2,
        unit_seconds: float | None = None,
        storage_seconds: float = STORAGE_SECONDS,
        job: int | None = None,
        run: Run | None = None,
        observer: Observer | None = None,
        lanes: Callable[[], Mapping[str, Share]] = dict,
        divisions: DivisionLog | None = None,
    ) -> None:
        self._database = database
        self._service = service
        self._executor = executor
        self._find = find
        self._per_slot = units_in_flight_per_worker
        self._unit_seconds = unit_seconds
        self._storage_seconds = storage_seconds
        self._job = job
        self._run = run
        self._observer = observer
        self._lanes = lanes
        self._divisions = divisions
        self._jobs = Jobs(database)
        self._benches: dict[str, Workbench] = {}
        self._storages: dict[str, Storage] = {}
        self._flying: dict[str, InFlight] = {}
        self._alone: list[Claim] = []
        # Holds a message for each task in flight, and one for each thing that has woken it.
        self._messages: queue.SimpleQueue[tuple[Sequence[InFlight], Outcome] | None] = (
            queue.SimpleQueue()
        )
        self._changes = database.changes()
        self._planner = Planner(
            Planning(database, service.identity),
            self,
            find=find,
            wake=self.wake,
            job=job,
            opened=run,
        )
        self._look_at = -math.inf
        self._drained = False
        self.published = 0
        """Units that were published."""
        self.dead = 0
        """Units that became dead letters."""
        self.refused = 0
        """Units that came back when they were no longer held."""

    def wake(self) -> None:
        """Let `turn` look again at once; may be called from any thread."""
        self._messages.put(None)

    def close(self) -> None:
        """Give back what was not computed."""
        # What the planner gives back is for the ledger, which may not be there.
        for bench in self._benches.values():
            bench.close()
        self._changes.close()
        self._planner.close()

    @property
    def in_flight(self) -> int:
        """Units that are being computed."""
        return len(self._flying)

    def drain(self) -> None:
        """Hand out nothing more."""
        self._drained = True
        self._executor.drop_waiting()

    def turn(self, *, wait_seconds: float) -> None:
        """Do what there is to do, then wait for something to happen, and record it.

        Raises
        ------
        ClusterLostError
            If the cluster went away.
        ForebayError
            If the one run that this is for cannot be worked on.
        """
        changed = self._changes.look()
        now = time.monotonic()
        if changed or now >= self._look_at:
            self._look_at = now + self._keep_house()
        more = False
        if not self._drained:
            more = self._planner.advance()
            self._hand_out()
        self._receive(0.0 if more else wait_seconds)

    # What the planner tells.

    def grown(self, result: str, run: Run) -> None:
        """Take in how far a run has come."""
        bench = self._benches.get(result)
        if bench is not None:
            bench.run = run
        self._tell(RunGrown(run.history.frames, run.closed))

    def skipped(self, result: str, units: list[Unit]) -> None:  # noqa: ARG002
        """Take in which units are done already."""
        for unit in units:
            self._tell(UnitSkipped(unit))

    def _keep_house(self) -> float:
        """Look after what time or other services have changed; return when to look again."""
        buried = self._service.bury_the_dead()
        for name in buried:
            _log.warning("the service %s is gone: what it worked on is taken over", name)
        if buried:
            for bench in self._benches.values():
                bench.sweep()
        retry_in = self._service.outcomes.promote()
        if not self._drained:
            self._planner.look()
        self._let_go_of_lost()
        self._stop_slow()
        for name, bench in list(self._benches.items()):
            if not bench.in_flight and self._job is None:
                del self._benches[name]
                bench.close()
                if bench.storage.works:
                    self._storages.pop(name, None)
        soon = _HOUSEKEEPING_SECONDS if retry_in is None else max(0.01, retry_in)
        return min(_HOUSEKEEPING_SECONDS, soon)

    def _let_go_of_lost(self) -> None:
        """Forget units that were cancelled, or that others hold now."""
        claims = [each.claim for each in self._flying.values()]
        own = self._service.still_own(claims) if claims else frozenset()
        for claim in claims:
            if claim.unit not in own:
                lost = self._flying.pop(claim.unit)
                lost.bench.in_flight -= 1
                self.refused += 1
                _log.info("unit given up: it is not held any more", extra=self._fields(lost))

    def _stop_slow(self) -> None:
        """Stop workers that are at a unit for longer than a unit may take."""
        if self._unit_seconds is None:
            return
        for each in list(self._flying.values()):
            try:
                begun = begun_note(each.order).stat().st_mtime
            except OSError:
                continue
            # The clock of the storage, compared with itself.
            took = _storage_now(each.order) - begun
            worker = noted_worker(each.order)
            # Of one that has died the note stays: that comes back by itself, for what it is.
            if took > self._unit_seconds and self._executor.has_worker(worker):
                error = f"it took longer than {self._unit_seconds:g} s"
                failure = Failure(FailureClass.TIMED_OUT, error, worker=worker)
                self._forget(each)
                self._record_failures([(each, failure)])
                self._executor.stop_worker(worker or None)

    # Handing out.

    def _hand_out(self) -> None:
        """Claim units as long as there is room, and have them computed."""
        if self._alone:
            self._hand_out_alone()
            return
        slots, shares = self._executor.slots, self._lanes()
        room = self._per_slot * slots * self._per_task() - len(self._flying)
        memory = self._executor.memory
        seen = sum(each.claim.bytes for each in self._flying.values())
        left = None if memory is None else int(memory * _MEMORY_SHARE) - seen
        # What follows an instrument never stands behind what is there already.
        urgent = [int(Lane.REALTIME)] if room <= 0 or (left is not None and left <= 0) else None
        if urgent:
            realtime = [x for x in self._flying.values() if x.claim.lane == Lane.REALTIME]
            most = slots
            if shares and self._job is None:
                # Beyond its share it waits as the others do.
                share = shares.get(Lane.REALTIME.label, Share(0.0))
                most = min(slots, round(self._per_slot * slots * share.guaranteed))
            room = most - len(realtime)
            left = None
        if room <= 0:
            return
        if urgent or not shares or self._job is not None:
            claims = self._service.claim(
                room, job=self._job, lanes=urgent, most_bytes=left, begin=True
            )
        else:
            claims = self._claim_by_lane(room, shares, left)
        if not claims:
            return
        self._alone += [each for each in claims if each.alone]
        self._start([each for each in claims if not each.alone])
        if self._alone:
            self._hand_out_alone()

    def _claim_by_lane(
        self, room: int, shares: Mapping[str, Share], most_bytes: int | None
    ) -> list[Claim]:
        """Claim units of each lane, as many as its share of the room lets it have."""
        complete = {lane.label: shares.get(lane.label, Share(0.0)) for lane in Lane}
        used = Counter(Lane(each.claim.lane).label for each in self._flying.values())
        wanting = {Lane(lane).label for lane in self._service.wanting()}
        whole = room + len(self._flying)
        more = divide(whole, complete, used, wanting)
        if self._divisions is not None:
            self._divisions.take(whole, complete, used, wanting, more)
        claims: list[Claim] = []
        left = most_bytes
        for lane in Lane:
            if not more[lane.label] or (left is not None and left <= 0):
                continue
            taken = self._service.claim(
                more[lane.label], lanes=[int(lane)], most_bytes=left, begin=True
            )
            claims += taken
            if left is not None:
                left -= sum(each.bytes for each in taken)
        return claims

    def _hand_out_alone(self) -> None:
        """Have a unit computed under which a worker has died, while nothing else is."""
        if not self._flying:
            self._start(self._service.begin([self._alone.pop(0)]))

    def _start(self, claims: Sequence[Claim]) -> None:
        """Have units computed that were begun, as few tasks as does them good."""
        ready = [each for each in map(self._prepare, claims) if each is not None]
        by_bench: dict[tuple[int, int], list[InFlight]] = defaultdict(list)
        for each in ready:
            by_bench[id(each.bench), each.claim.lane].append(each)
        for group in by_bench.values():
            wary = [each for each in group if each.claim.avoid is not None]
            for each in wary:
                self._submit([each])
            group = [each for each in group if each.claim.avoid is None]
            if group:
                for some in itertools.batched(group, self._size_of_task(group)):
                    self._submit(some)

    def _prepare(self, claim: Claim) -> InFlight | None:
        """Return what a worker has to know; what cannot be given to one has failed."""
        known = self._storages.get(claim.result)
        if known is not None and not known.works and self._hold(claim.result, known):
            self._service.hand_back([claim])
            return None
        try:
            bench = self._bench(claim)
            order = bench.order(claim)
        except ForebayError as error:
            if self._run is not None:
                raise
            if isinstance(error, OSError) and self._job is None:
                target = self._target(claim)
                storage = self._storage(claim, target)
                if self._hold(claim.result, storage):
                    self._service.hand_back([claim])
                    return None
            kind = FailureClass.INPUT_OUTPUT if isinstance(error, OSError) else FailureClass.INVALID
            failure = Failure(kind, f"{type(error).__name__}: {error}")
            self._service.outcomes.fail([(claim, failure)])
            return None
        if order is None:
            error_text = "the run is not what it was when this unit was planned"
            self._service.outcomes.fail([(claim, Failure(FailureClass.INVALID, error_text))])
            return None
        flying = InFlight(claim, order, bench)
        self._flying[claim.unit] = flying
        bench.in_flight += 1
        return flying

    def _submit(self, some: Sequence[InFlight]) -> None:
        claim = some[0].claim
        priority = (len(Lane) - claim.lane) * _LANE_PRIORITY + claim.priority
        try:
            self._executor.submit(
                [each.order for each in some],
                lambda outcome: self._messages.put((some, outcome)),
                priority=priority,
                avoid=claim.avoid,
            )
        except AlgorithmError as error:
            if self._run is not None:
                raise
            failure = Failure(FailureClass.INVALID, f"{type(error).__name__}: {error}")
            for each in some:
                self._forget(each)
            self._record_failures([(each, failure) for each in some])

    def _bench(self, claim: Claim) -> Workbench:
        bench = self._benches.get(claim.result)
        if bench is None:
            target = self._target(claim)
            storage = self._storage(claim, target)
            bench = Workbench(target, self._database, self._find, storage=storage, run=self._run)
            self._benches[claim.result] = bench
        return bench

    def _storage(self, claim: Claim, target: Target) -> Storage:
        storage = self._storages.get(claim.result)
        if storage is None:
            storage = Storage.of(target, patience=self._storage_seconds)
            self._storages[claim.result] = storage
        return storage

    def _target(self, claim: Claim) -> Target:
        for target in self._jobs.results(claim.job):
            if target.job.identity == claim.result:
                return target
        raise AssertionError(f"job {claim.job} does not ask for {claim.result}")

    def _per_task(self) -> int:
        """Return how many units a task holds at the most, by how long they take."""
        longest = [x.seconds for x in self._benches.values() if x.seconds is not None]
        return self._units_of(max(longest)) if longest else 1

    def _size_of_task(self, group: Sequence[InFlight]) -> int:
        """Return how many units to put into a task, so that no worker goes without one."""
        if group[0].claim.lane == Lane.REALTIME or group[0].bench.seconds is None:
            return 1
        share = math.ceil(len(group) / self._executor.slots)
        return max(1, min(share, self._units_of(group[0].bench.seconds)))

    @staticmethod
    def _units_of(seconds: float) -> int:
        return max(1, min(_MOST_IN_TASK, int(_TASK_SECONDS / max(seconds, 1e-6))))

    # Recording.

    def _receive(self, wait_seconds: float) -> None:
        """Wait for something to happen, and record all that has."""
        came: list[tuple[Sequence[InFlight], Outcome]] = []
        try:
            message = self._messages.get(timeout=wait_seconds) if wait_seconds else None
            while True:
                if message is not None:
                    came.append(message)
                message = self._messages.get_nowait()
        except queue.Empty:
            pass
        computed: list[tuple[InFlight, Computed]] = []
        failed: list[tuple[InFlight, Failure]] = []
        back: list[InFlight] = []
        gone: GivenUp | None = None
        for some, outcome in came:
            match outcome:
                case GivenUp():
                    gone = outcome
                    back += some
                case Lost():
                    for each in some:
                        died = noted_worker(each.order)
                        if died is None:
                            back.append(each)
                        else:
                            why = Failure(FailureClass.WORKER_LOST, WORKER_DIED, worker=died)
                            failed.append((each, why))
                case _:
                    for each, one in zip(some, outcome, strict=True):
                        if isinstance(one, Failed):
                            failed.append((each, one.failure))
                        else:
                            computed.append((each, one))
        everything = [*(each for each, _ in computed), *(each for each, _ in failed), *back]
        known = {id(each) for each in everything if self._forget(each)}
        own = [(each, why) for each, why in failed if id(each) in known]
        own += self._publish([(x, y) for x, y in computed if id(x) in known])
        self._record_failures(self._without_storage(own))
        if back:
            self._service.hand_back([each.claim for each in back if id(each) in known])
        if gone is not None and not self._drained:
            raise ClusterLostError(
                f"the Dask cluster gave up units ({gone.reason}); {self.published} units are "
                "published: start the cluster again and run it again to go on"
            )

    def _forget(self, each: InFlight) -> bool:
        """Take a unit out of those in flight; False if it is not this attempt that flies."""
        known = self._flying.get(each.claim.unit)
        if known is not each:
            return False
        del self._flying[each.claim.unit]
        each.bench.in_flight -= 1
        return True

    def _publish(
        self,
        computed: Sequence[tuple[InFlight, Computed]],
    ) -> list[tuple[InFlight, Failure]]:
        """Put parts in their place, and publish them in one transaction; return what failed."""
        failed: list[tuple[InFlight, Failure]] = []
        here: list[tuple[InFlight, Computed]] = []
        for bench, group in _by_bench(computed):
            staged = [bench.staging / each.part.name for _, each in group]
            try:
                taken = bench.folder.take_in(staged)
            except ForebayError as error:
                why = Failure(FailureClass.INPUT_OUTPUT, f"{type(error).__name__}: {error}")
                failed += [(each, why) for each, _ in group]
                continue
            for each, one in group:
                if one.part.name in taken:
                    here.append((each, one))
                else:
                    gone = (
                        f"FileNotFoundError: the worker's part is not in {bench.staging}; workers "
                        "and this process must see the same folder"
                    )
                    failed.append((each, Failure(FailureClass.INPUT_OUTPUT, gone)))
        if not here:
            return failed
        parts = [(each.claim, one.part, one.seconds) for each, one in here]
        published = self._service.outcomes.publish(parts)
        for each, one in here:
            done = published.get(each.claim.unit)
            if done is None:
                # Another service has begun it anew: what this one made counts nothing.
                each.bench.folder.discard(one.part.name)
                self.refused += 1
                _log.info("part refused: a later attempt has begun", extra=self._fields(each))
                continue
            for name in done.replaced:
                each.bench.folder.discard(name)
            each.bench.took(one.seconds)
            each.bench.storage.worked(one.part.bytes)
            self.published += 1
            latency = time.time() - each.order.unit.taken_at / 1e9
            _log.info("unit published", extra=self._fields(each, seconds=one.seconds))
            self._tell(UnitPublished(each.order.unit, one.part.rows, one.seconds, latency))
        return failed

    def _without_storage(
        self, failures: Sequence[tuple[InFlight, Failure]]
    ) -> list[tuple[InFlight, Failure]]:
        """Give back what failed because storage is out of order, and return the other failures.

        Such a failure is none of the unit's: it uses up no retry, and nothing more of the result
        is begun before the storage has been looked at again.
        """
        if self._job is not None:
            return list(failures)
        doubtful = {
            id(each.bench): each.bench
            for each, why in failures
            if why.kind is FailureClass.INPUT_OUTPUT
        }
        out = {
            name: bench
            for name, bench in doubtful.items()
            if self._hold(bench.job.identity, bench.storage)
        }
        back = [
            each.claim
            for each, why in failures
            if why.kind is FailureClass.INPUT_OUTPUT and id(each.bench) in out
        ]
        if back:
            self._service.hand_back(back)
        return [
            (each, why)
            for each, why in failures
            if why.kind is not FailureClass.INPUT_OUTPUT or id(each.bench) not in out
        ]

    def _hold(self, result: str, storage: Storage) -> bool:
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

    def _record_failures(self, failures: Sequence[tuple[InFlight, Failure]]) -> None:
        if not failures:
            return
        states = self._service.outcomes.fail([(each.claim, why) for each, why in failures])
        for each, why in failures:
            state = states.get(each.claim.unit)
            _log.info(
                "unit failed",
                extra=self._fields(each, error=why.error, failure=str(why.kind), now=str(state)),
            )
            _log.debug("%s", why.traceback)
            if state is None:
                self.refused += 1
            elif state == UnitState.DEAD:
                self.dead += 1
                self._tell(UnitFailed(each.order.unit, why.error, why.traceback))
            else:
                self._tell(UnitRetried(each.order.unit, why.error))

    def _fields(self, each: InFlight, **more: object) -> dict[str, object]:
        job = each.bench.job
        name = f"{job.algorithm}-{job.version}-{job.identity[:8]}"
        return {"run": job.run_name, "job": name, "unit": each.order.unit.label, **more}

    def _tell(self, event: JobEvent) -> None:
        if self._observer is not None:
            self._observer(event)


def _by_bench(
    computed: Sequence[tuple[InFlight, Computed]],
) -> list[tuple[Workbench, list[tuple[InFlight, Computed]]]]:
    groups: dict[int, list[tuple[InFlight, Computed]]] = defaultdict(list)
    for each, one in computed:
        groups[id(each.bench)].append((each, one))
    return [(group[0][0].bench, group) for group in groups.values()]


def _storage_now(order: Order) -> float:
    """Return the time by the clock that gives files in the staging folder their times."""
    path = order.staging / "clock"
    path.touch()
    return path.stat().st_mtime
