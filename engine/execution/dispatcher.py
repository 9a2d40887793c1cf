"""Handing out units as there is room for them, and taking in what comes back."""

import itertools
import logging
import math
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from forebay.acquisition import Run
from forebay.cluster.allocation import Share, divide
from forebay.cluster.division_log import DivisionLog
from forebay.engine.errors import AlgorithmError, ClusterLostError
from forebay.engine.execution.benches import Benches
from forebay.engine.execution.events import Observer, RunGrown, UnitSkipped
from forebay.engine.execution.executor import Executor, GivenUp, Outcome
from forebay.engine.execution.flights import Flights, InFlight
from forebay.engine.execution.notes import Computed, Failed, NotBegun
from forebay.engine.execution.planner import Planner
from forebay.engine.execution.recalls_ahead import RecallsAhead
from forebay.engine.execution.recording import Recording
from forebay.engine.execution.stopping import Stopping
from forebay.engine.execution.task_outcomes import outcomes_of, with_remedies
from forebay.engine.execution.workbench import FindAlgorithm
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.unit import Unit
from forebay.errors import ForebayError

STORAGE_SECONDS = 86_400.0
"""Longest time that a result waits for storage that is full, read-only or gone."""
RECALL_SECONDS = 60.0
"""Time between two looks whether what units read has come from its archive."""
_HOUSEKEEPING_SECONDS = 1.0
_AFTER_CHANGES_SECONDS = 0.01
"""Time between two looks at what has changed."""
_MEMORY_SHARE = 0.4
"""Part of the workers' memory that units in flight may take, with what they declare to need."""
_TASK_SECONDS = 0.1
"""How long a task should be: Dask's own work is little beside it, and so is it beside what urgent work
that nobody announced may wait."""
_TASK_SECONDS_BESIDE_LIVE = 0.05
"""The same as long as there is urgent work, which waits for the end of a task."""
_LIVE_SECONDS = 60.0
"""How long after the last urgent unit, or frame, there is believed to be such work."""
_MOST_IN_TASK = 64
_LANE_PRIORITY = 10_000_000
_NEW_WORKERS_SECONDS = 2.0
"""For how long is not looked again for workers with more time."""

_log = logging.getLogger("forebay.engine")


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
    recall_seconds
        Time between two looks whether what units read has come from its archive.
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
        recall_seconds: float = RECALL_SECONDS,
        job: int | None = None,
        run: Run | None = None,
        observer: Observer | None = None,
        lanes: Callable[[], Mapping[str, Share]] = dict,
        divisions: DivisionLog | None = None,
    ) -> None:
        self._service = service
        self._executor = executor
        self._per_slot = units_in_flight_per_worker
        self._job = job
        self._run = run
        self._lanes = lanes
        self._divisions = divisions
        self._recalls = RecallsAhead(database, every=recall_seconds)
        self._benches = Benches(
            database, service, find, patience=storage_seconds, run=run, recalls=self._recalls
        )
        self._flights = Flights()
        self._recording = Recording(
            service,
            self._benches,
            observer,
            waits_for_storage=job is None,
            recall_seconds=recall_seconds,
            recalls=self._recalls,
            give_up=lambda result, why: self._planner.give_up(result, why),
        )
        self._stopping = Stopping(
            service, executor, self._flights, self._recording, unit_seconds=unit_seconds
        )
        self._alone: list[Claim] = []
        # Holds a message for each task in flight, and one for each thing that has woken it.  No
        # SimpleQueue: on Python 3.12 a signal whose handler outlasts the time-out makes it wait for ever.
        self._messages: queue.Queue[tuple[Sequence[InFlight], Outcome] | None] = queue.Queue()
        self._changes = database.changes()
        self._planner = Planner(
            Planning(database, service.identity),
            self,
            find=find,
            wake=self.wake,
            job=job,
            opened=run,
        )
        self._look_at = self._looked_at = -math.inf
        self._urgent_until = -math.inf
        self._nothing_to_take = False
        self._drained = False

    def wake(self) -> None:
        """Let `turn` look again at once; may be called from any thread."""
        self._messages.put(None)

    def close(self) -> None:
        """Give back what was not computed."""
        # What the planner gives back is for the ledger, which may not be there.
        self._recalls.close()
        self._benches.close()
        self._changes.close()
        self._planner.close()

    @property
    def in_flight(self) -> int:
        """Units that are being computed."""
        return len(self._flights)

    @property
    def published(self) -> int:
        """Units that were published."""
        return self._recording.published

    @property
    def dead(self) -> int:
        """Units that became dead letters."""
        return self._recording.dead

    @property
    def refused(self) -> int:
        """Units that came back when they were no longer held."""
        return self._recording.refused

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
        now = time.monotonic()
        if self._changes.look():
            self._look_soon()
        if now >= self._look_at:
            self._look_at = now + self._keep_house()
            self._looked_at = now
            self._nothing_to_take = False
        more = False
        if not self._drained:
            more = self._planner.advance()
            self._hand_out()
        until_look = max(0.0, self._look_at - time.monotonic())
        self._receive(0.0 if more else min(wait_seconds, until_look))

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, self._looked_at + _AFTER_CHANGES_SECONDS)

    # What the planner tells.

    def grown(self, result: str, run: Run) -> None:
        """Take in how far a run has come."""
        if not run.closed:
            # Of its next frames nobody knows when they come.
            self._urgent_until = time.monotonic() + _LIVE_SECONDS
        self._benches.grown(result, run)
        self._recording.tell(RunGrown(run.history.frames, run.closed))

    def skipped(self, result: str, units: list[Unit]) -> None:  # noqa: ARG002
        """Take in which units are done already, of those that were added just now."""
        self._nothing_to_take = False
        for unit in units:
            self._recording.tell(UnitSkipped(unit))

    def _keep_house(self) -> float:
        """Look after what time or other services have changed; return when to look again."""
        buried = self._service.bury_the_dead()
        for name in buried:
            _log.warning("the service %s is gone: what it worked on is taken over", name)
        if buried:
            self._benches.sweep()
        retry_in = self._service.outcomes.promote()
        if not self._drained:
            self._planner.look()
        self._let_go_of_lost()
        self._stopping.look()
        if self._job is None:
            self._benches.close_idle(self._planner.results)
        soon = _HOUSEKEEPING_SECONDS if retry_in is None else max(0.01, retry_in)
        return min(_HOUSEKEEPING_SECONDS, soon)

    def _let_go_of_lost(self) -> None:
        """Forget units that were cancelled, or that others hold now."""
        claims = [each.claim for each in self._flights]
        own = self._service.still_own(claims) if claims else frozenset()
        for each in self._flights:
            if each.claim.unit not in own:
                self._stopping.withdraw(each)
                self._recording.lost(each)

    # Handing out.

    def _hand_out(self) -> None:
        """Claim units as long as there is room, and have them computed."""
        if self._alone:
            self._hand_out_alone()
            return
        if self._nothing_to_take:
            return
        if any(_is_alone(each.claim) for each in self._flights):
            return
        slots, shares = self._executor.slots, self._lanes()
        per_task = self._per_task()
        room = self._per_slot * slots * per_task - len(self._flights)
        # Filled up unit by unit, there would soon be no task but of a single one.
        room = round(room / per_task) * per_task
        memory = self._executor.memory
        left = None if memory is None else int(memory * _MEMORY_SHARE) - self._flights.bytes
        # What follows an instrument never stands behind what is there already.
        urgent = [int(Lane.REALTIME)] if room <= 0 or (left is not None and left <= 0) else None
        if urgent:
            most = slots
            if shares and self._job is None:
                # Beyond its share it waits as the others do.
                share = shares.get(Lane.REALTIME.label, Share(0.0))
                most = min(slots, round(self._per_slot * slots * share.guaranteed))
            room = most - self._flights.lanes()[Lane.REALTIME.label]
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
            # Nor is there before something happens, or time passes: to ask takes the write lock.
            self._nothing_to_take = not urgent and not shares
            return
        self._alone += [each for each in claims if _is_alone(each)]
        self._start([each for each in claims if not each.alone], last=len(claims) < room)
        if elsewhere := [each for each in claims if each.alone and not _is_alone(each)]:
            self._start(self._service.begin(elsewhere))
        if self._alone:
            self._hand_out_alone()

    def _claim_by_lane(
        self, room: int, shares: Mapping[str, Share], most_bytes: int | None
    ) -> list[Claim]:
        """Claim units of each lane, as many as its share of the room lets it have."""
        complete = {lane.label: shares.get(lane.label, Share(0.0)) for lane in Lane}
        wanting = {Lane(lane).label for lane in self._service.wanting()}
        whole, used = room + len(self._flights), self._flights.lanes()
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
        if not self._flights:
            self._start(self._service.begin([self._alone.pop(0)]))

    def _start(self, claims: Sequence[Claim], *, last: bool = True) -> None:
        """Have units computed that were begun, as few tasks as does them good.

        `last` says that no more of them wait.
        """
        if any(each.lane == Lane.REALTIME for each in claims):
            self._urgent_until = time.monotonic() + _LIVE_SECONDS
        ready = [each for each in map(self._prepare, claims) if each is not None]
        by_bench: dict[tuple[int, int], list[InFlight]] = defaultdict(list)
        for each in ready:
            by_bench[id(each.bench), each.claim.lane].append(each)
        for everything in by_bench.values():
            group = self._with_time(everything)
            choosy = [each for each in group if each.claim.avoid or each.claim.memory]
            for each in choosy:
                self._submit([each])
            group = [each for each in group if not (each.claim.avoid or each.claim.memory)]
            if group:
                for some in itertools.batched(group, self._size_of_task(group, last=last)):
                    self._submit(some)

    def _with_time(self, group: list[InFlight]) -> list[InFlight]:
        """Return those for which there are workers that last long enough; give back the others.

        One for each thread goes out: what waited for it there would find less time left.
        """
        bench, seconds = group[0].bench, group[0].order.seconds
        slots = None if seconds is None else self._executor.slots_for(seconds)
        if slots is None:
            return group
        room = max(0, slots - (bench.in_flight - len(group)))
        if room < len(group):
            for each in group[room:]:
                self._flights.forget(each)
            self._service.hand_back([each.claim for each in group[room:]])
            why = f"a unit takes {seconds:.0f} s, and the jobs of other workers end before that"
            self._service.hold_back(group[0].claim.result, _NEW_WORKERS_SECONDS, because=why)
        return group[:room]

    def _prepare(self, claim: Claim) -> InFlight | None:
        """Return what a worker has to know; what cannot be given to one has failed."""
        if self._benches.waits(claim):
            self._service.hand_back([claim])
            return None
        try:
            bench = self._benches.of(claim)
            order = bench.order(claim)
        except ForebayError as error:
            if self._run is not None:
                raise
            if self._job is None and self._benches.waits_for_others(claim, error):
                self._service.hand_back([claim])
                return None
            kind = FailureClass.INPUT_OUTPUT if isinstance(error, OSError) else FailureClass.INVALID
            failure = Failure(kind, f"{type(error).__name__}: {error}")
            self._recording.fail_before_work(claim, failure)
            return None
        if order is None:
            error_text = "the run is not what it was when this unit was planned"
            self._recording.fail_before_work(claim, Failure(FailureClass.INVALID, error_text))
            return None
        flying = InFlight(claim, order, bench)
        self._flights.add(flying)
        return flying

    def _submit(self, some: Sequence[InFlight]) -> None:
        claim = some[0].claim
        priority = (len(Lane) - claim.lane) * _LANE_PRIORITY + claim.priority
        try:
            self._executor.submit(
                [each.order for each in some],
                lambda outcome: self._messages.put((some, outcome)),
                priority=priority,
                urgent=claim.lane == Lane.REALTIME,
                avoid=claim.avoid,
                memory=claim.memory,
            )
        except AlgorithmError as error:
            if self._run is not None:
                raise
            failure = Failure(FailureClass.INVALID, f"{type(error).__name__}: {error}")
            for each in some:
                self._flights.forget(each)
            self._recording.fail([(each, failure) for each in some])

    def _per_task(self) -> int:
        """Return how many units a task holds at the most, by how long they take."""
        longest = self._benches.seconds()
        return 1 if longest is None else self._units_of(longest)

    def _size_of_task(self, group: Sequence[InFlight], *, last: bool) -> int:
        """Return how many units to put into a task; of the last ones each worker gets its share."""
        if group[0].claim.lane == Lane.REALTIME or group[0].bench.seconds is None:
            return 1
        most = self._units_of(group[0].bench.seconds)
        return min(most, math.ceil(len(group) / self._executor.slots)) if last else most

    def _units_of(self, seconds: float) -> int:
        beside_live = time.monotonic() < self._urgent_until
        longest = _TASK_SECONDS_BESIDE_LIVE if beside_live else _TASK_SECONDS
        return max(1, min(_MOST_IN_TASK, int(longest / max(seconds, 1e-6))))

    # Recording.

    def _receive(self, wait_seconds: float) -> None:
        """Wait for something to happen, and record all that has."""
        came: list[tuple[Sequence[InFlight], Outcome]] = []
        try:
            message = self._messages.get(wait_seconds > 0, wait_seconds)
            while True:
                self._nothing_to_take = False
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
            if isinstance(outcome, GivenUp):
                gone = outcome
            for each, one in zip(some, outcomes_of(some, outcome), strict=True):
                match one:
                    case Computed():
                        computed.append((each, one))
                    case Failed():
                        why = with_remedies(one.failure, each, self._executor)
                        failed.append((each, why))
                    case NotBegun() | None:
                        back.append(each)
        everything = [*(each for each, _ in computed), *(each for each, _ in failed), *back]
        known = {id(each) for each in everything if self._flights.forget(each)}
        self._recording.record(
            [(each, one) for each, one in computed if id(each) in known],
            [(each, why) for each, why in failed if id(each) in known],
        )
        if back:
            self._service.hand_back([each.claim for each in back if id(each) in known])
        for each in everything:
            each.order.notes.forget()
        if failed or any(not each.bench.in_flight for each in everything):
            # What is to be tried again soon, or waited for the end of this, is ready by then.
            self._look_soon()
        if gone is not None and not self._drained:
            raise ClusterLostError(
                f"the Dask cluster gave up units ({gone.reason}); {self.published} units are "
                "published: start the cluster again and run it again to go on"
            )

    def refuse_larger(self, because: str) -> None:
        """Take in why no worker with more memory will come; nothing if it may."""
        self._executor.refuse_larger(because)


def _is_alone(claim: Claim) -> bool:
    """Tell whether nothing else is computed meanwhile.

    What is for a larger worker has that one, which may have to be started, and holds up nobody.
    """
    return claim.alone and claim.memory is None
