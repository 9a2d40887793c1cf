"""Writing down what became of units that came back, and telling of it."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from forebay.engine.execution.benches import Benches
from forebay.engine.execution.events import (
    JobEvent,
    Observer,
    UnitFailed,
    UnitPublished,
    UnitRetried,
)
from forebay.engine.execution.flights import InFlight
from forebay.engine.execution.notes import Computed
from forebay.engine.execution.recalls_ahead import RecallsAhead
from forebay.engine.execution.workbench import Workbench
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.leases import Service
from forebay.engine.queue.outcomes import Refused
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.queue.states import UnitState
from forebay.errors import ForebayError

_log = logging.getLogger("forebay.engine")


class Recording:
    """Records outcomes in the ledger.

    Parameters
    ----------
    service
        In whose name units are held.
    benches
        What the units belong to.
    observer
        Told of everything that happens.
    waits_for_storage
        Whether units wait for storage that is out of order; else they have failed.
    recall_seconds
        Time between two looks whether what a unit reads has come from its archive.
    recalls
        Asks archives for what units read.
    give_up
        Called with a result and the reason, when nothing more of it can be computed.
    """

    def __init__(
        self,
        service: Service,
        benches: Benches,
        observer: Observer | None,
        *,
        waits_for_storage: bool,
        recall_seconds: float,
        recalls: RecallsAhead,
        give_up: Callable[[str, str], None],
    ) -> None:
        self._service = service
        self._benches = benches
        self._observer = observer
        self._waits_for_storage = waits_for_storage
        self._recall_seconds = recall_seconds
        self._recalls = recalls
        self._give_up = give_up
        self.published = 0
        """Units that were published."""
        self.dead = 0
        """Units that became dead letters."""
        self.refused = 0
        """Units that came back when they were no longer held."""

    def tell(self, event: JobEvent) -> None:
        """Tell the observer."""
        if self._observer is not None:
            self._observer(event)

    def lost(self, each: InFlight) -> None:
        """Note that a unit is not held any more."""
        self.refused += 1
        _log.info("unit given up: it is not held any more", extra=_fields(each))

    def record(
        self,
        computed: Sequence[tuple[InFlight, Computed]],
        failed: Sequence[tuple[InFlight, Failure]],
    ) -> None:
        """Publish what was computed, and record what has failed."""
        left = self._without_recalled([*failed, *self._publish(computed)])
        self.fail(self._without_storage(left))

    def fail(self, failures: Sequence[tuple[InFlight, Failure]]) -> None:
        """Record failures."""
        if not failures:
            return
        states = self._service.outcomes.fail([(each.claim, why) for each, why in failures])
        for each, why in failures:
            self._failed(each, why, states.get(each.claim.unit))
        claims = [each.claim for each, _ in failures]
        self._without_run(each for each in claims if states.get(each.unit) == UnitState.DEAD)

    def fail_before_work(self, claim: Claim, why: Failure) -> None:
        """Record that a unit could not be given to a worker: of it only the claim is known."""
        state = self._service.outcomes.fail([(claim, why)]).get(claim.unit)
        if state is None:
            self.refused += 1
            return
        self.dead += state == UnitState.DEAD
        then = "is a dead letter" if state == UnitState.DEAD else "is tried again"
        _log.warning("a unit cannot be begun, and %s: %s", then, why.error, extra=_of_claim(claim))
        if state == UnitState.DEAD:
            self._without_run([claim])

    def _without_run(self, dead: Iterable[Claim]) -> None:
        """Give up results of which units are dead letters, since their runs are not there."""
        for claim in {each.result: each for each in dead}.values():
            if (why := self._benches.without_run(claim)) is not None:
                self._give_up(claim.result, why)

    def _failed(self, each: InFlight, why: Failure, state: UnitState | None) -> None:
        """Tell of a failure, and of how its unit stands; None where that is not held any more."""
        _log.info(
            "unit failed",
            extra=_fields(each, error=why.error, failure=str(why.kind), now=str(state)),
        )
        _log.debug("%s", why.traceback)
        if state is None:
            self.refused += 1
        elif state == UnitState.DEAD:
            self.dead += 1
            self.tell(UnitFailed(each.order.unit, why.error, why.traceback))
        else:
            self.tell(UnitRetried(each.order.unit, why.error))

    def _publish(
        self, computed: Sequence[tuple[InFlight, Computed]]
    ) -> list[tuple[InFlight, Failure]]:
        """Put parts in their place, and publish them in one transaction; return what failed."""
        failed: list[tuple[InFlight, Failure]] = []
        here: list[tuple[InFlight, Computed]] = []
        for bench, group in _by_bench(computed):
            try:
                taken = bench.folder.take_in(bench.staging, [each.part.name for _, each in group])
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
                _log.info("part refused: a later attempt has begun", extra=_fields(each))
                continue
            if isinstance(done, Refused):
                each.bench.folder.discard(one.part.name)
                self._failed(each, done.failure, done.state)
                continue
            for name in done.replaced:
                each.bench.folder.discard(name)
            each.bench.took(one.seconds)
            each.bench.storage.worked(one.part.bytes)
            self.published += 1
            latency = time.time() - each.order.unit.taken_at / 1e9
            _log.info("unit published", extra=_fields(each, seconds=one.seconds))
            self.tell(UnitPublished(each.order.unit, one.part.rows, one.seconds, latency))
        for result in {each.claim.result for each, _ in here}:
            self._recalls.look(result)
        return failed

    def _without_recalled(
        self, failures: Sequence[tuple[InFlight, Failure]]
    ) -> list[tuple[InFlight, Failure]]:
        """Give back what waits for an archive, and return the other failures.

        Units are taken in their order, and so are their blocks asked for: nothing more of the
        result is begun until it is time to look again.  The waiting ends with the job; where it
        has not agreed to a recall, or not to what that costs, what nobody has asked for has failed.
        """
        waiting: list[tuple[InFlight, Failure]] = []
        left: list[tuple[InFlight, Failure]] = []
        for each, why in failures:
            if self._waits(each, why):
                waiting.append((each, why))
            else:
                left.append((each, self._refused(each, why)))
        if not waiting:
            return left
        away = defaultdict(list)
        for each, failure in waiting:
            if failure.kind is FailureClass.ARCHIVED:
                away[each.claim.result].append(each.claim.unit)
        for result, units in away.items():
            self._recalls.look(result, again=units)
        for result, because in {each.claim.result: why.error for each, why in waiting}.items():
            _log.info("%s; what needs it is tried again in %g s", because, self._recall_seconds)
            self._service.hold_back(result, self._recall_seconds, because=because)
        self._service.hand_back([each.claim for each, _ in waiting])
        return left

    def _refused(self, each: InFlight, why: Failure) -> Failure:
        """Say as well why what a unit needs is not asked for, where that costs too much."""
        refused = self._recalls.refused(each.claim.result)
        if why.kind is not FailureClass.ARCHIVED or refused is None:
            return why
        return replace(why, error=f"{why.error}; {refused}")

    def _waits(self, each: InFlight, why: Failure) -> bool:
        """Tell whether a unit has failed for what an archive is asked for."""
        return why.kind is FailureClass.RECALLED or (
            why.kind is FailureClass.ARCHIVED and self._recalls.waits(each.claim.result)
        )

    def _without_storage(
        self, failures: Sequence[tuple[InFlight, Failure]]
    ) -> list[tuple[InFlight, Failure]]:
        """Give back what failed because storage is out of order, and return the other failures.

        Such a failure is none of the unit's: it uses up no retry, and nothing more of the result
        is begun before the storage has been looked at again.
        """
        if not self._waits_for_storage:
            return list(failures)
        doubtful = {
            id(each.bench): each.bench
            for each, why in failures
            if why.kind is FailureClass.INPUT_OUTPUT
        }
        out = {
            name: bench
            for name, bench in doubtful.items()
            if self._benches.hold(bench.job.identity, bench.storage)
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


def _fields(each: InFlight, **more: object) -> dict[str, object]:
    job = each.bench.job
    name = f"{job.algorithm}-{job.version}-{job.identity[:8]}"
    return {"run": job.run_name, "job": name, "unit": each.order.unit.label, **more}


def _of_claim(claim: Claim) -> dict[str, object]:
    return {"job": claim.job, "unit": claim.label}


def _by_bench(
    computed: Sequence[tuple[InFlight, Computed]],
) -> list[tuple[Workbench, list[tuple[InFlight, Computed]]]]:
    groups: dict[int, list[tuple[InFlight, Computed]]] = defaultdict(list)
    for each, one in computed:
        groups[id(each.bench)].append((each, one))
    return [(group[0][0].bench, group) for group in groups.values()]
