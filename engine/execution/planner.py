"""Runs become units: all at once for a run that is closed, block by block for one that grows."""

import itertools
import logging
from collections.abc import Callable, Container, Iterator
from typing import Protocol

from forebay.acquisition import Run, open_run
from forebay.engine.definition import WholeRun
from forebay.engine.errors import RunNotClosedError, UnknownAlgorithmError
from forebay.engine.execution.follower import RunFollower
from forebay.engine.execution.relief import Relief
from forebay.engine.execution.workbench import FindAlgorithm
from forebay.engine.queue.planning import Planning, ToPlan
from forebay.engine.unit import Job, Unit, needed_bytes, plan, plannable, seen_bytes
from forebay.errors import ForebayError
from forebay.tiering import open_store

_UNITS_AT_ONCE = 200
_RESULTS_AT_ONCE = 4

_log = logging.getLogger("forebay.engine")


class Watcher(Protocol):
    """Is told how planning goes."""

    def grown(self, result: str, run: Run) -> None:
        """Take in how far a run has come."""

    def skipped(self, result: str, units: list[Unit]) -> None:
        """Take in which units are done already."""


class RunPlan:
    """One result, as far as its units are known."""

    def __init__(
        self, wanted: ToPlan, run: Run, *, find: FindAlgorithm, wake: Callable[[], None]
    ) -> None:
        self.wanted = wanted
        self._run = run
        self._bytes = _sizes(wanted.target.job, find)
        self._blocks = 0
        self._pending: Iterator[Unit] = iter(())
        self._last: str | None = None
        self.relief: Relief | None = None
        self._follower: RunFollower | None = None
        self.complete = False
        if wanted.live and not run.closed:
            self._follower = RunFollower(run, wake=wake)
            self._follower.__enter__()
            if wanted.reduce_at is not None:
                self.relief = Relief(run.run_id, wanted.reduce_at)

    @property
    def run(self) -> Run:
        """The run, as far as it was seen."""
        return self._run

    def close(self) -> None:
        """Watch the run no longer."""
        if self._follower is not None:
            self._follower.__exit__(None, None, None)
            self._follower = None

    def grown(self) -> bool:
        """Look whether the run has grown since the last look."""
        latest = self._follower.latest() if self._follower is not None else None
        if latest is None or latest is self._run:
            return False
        self._run = latest
        return True

    def next_units(self) -> list[Unit]:
        """Return the next units, no more than some."""
        units = list(itertools.islice(self._pending, _UNITS_AT_ONCE))
        ready = plannable(self._run, self.wanted.target.job.needs)
        if not units and ready > self._blocks:
            self._pending = self._planned(self._blocks)
            self._blocks = ready
            units = list(itertools.islice(self._pending, _UNITS_AT_ONCE))
        self.complete = (
            len(units) < _UNITS_AT_ONCE
            and ready == self._blocks
            and (self._run.closed or not self.wanted.live)
        )
        return units

    def _planned(self, first_block: int) -> Iterator[Unit]:
        job = self.wanted.target.job
        for unit, _ in plan(self._run, job, first_block=first_block, before=self._last):
            self._last = unit.identity
            yield unit

    def bytes_of(self, unit: Unit) -> int:
        """Return how much of a worker's memory a unit takes."""
        return self._bytes(self._run, unit)

    @property
    def blocks(self) -> int:
        """Blocks of which the units are known or coming."""
        return self._blocks


def _sizes(job: Job, find: FindAlgorithm) -> Callable[[Run, Unit], int]:
    """Return what tells how much of a worker's memory a unit of a job takes."""
    try:
        algorithm = find(job.algorithm, job.version)
    except UnknownAlgorithmError:
        # Its units say so when they are to be computed; until then it may be installed.
        return seen_bytes
    arguments = algorithm.arguments(job.parameters)
    return lambda run, unit: needed_bytes(run, unit, algorithm, arguments)


class Planner:
    """Plans what jobs ask for, a little at a time.

    Parameters
    ----------
    planning
        The queue's side of it.
    watcher
        Is told how it goes.
    find
        Where algorithms come from, which tell how much memory their units need.
    wake
        Called, from any thread, when a run has grown.
    job
        The only job to plan for, if it is one.
    opened
        The only run of that job, where it is open already; then its errors are raised.
    """

    def __init__(
        self,
        planning: Planning,
        watcher: Watcher,
        *,
        find: FindAlgorithm,
        wake: Callable[[], None],
        job: int | None = None,
        opened: Run | None = None,
    ) -> None:
        self._planning = planning
        self._watcher = watcher
        self._find = find
        self._wake = wake
        self._job = job
        self._opened = opened
        self._plans: dict[str, RunPlan] = {}

    def close(self) -> None:
        """Let others go on with what is not planned."""
        names = list(self._plans)
        for name in names:
            self._plans.pop(name).close()
        if self._job is None:
            for name in names:
                self._planning.release(name)

    @property
    def results(self) -> Container[str]:
        """The results that more units are to come of."""
        return self._plans.keys()

    def look(self) -> None:
        """Take on what is to be planned."""
        most = _RESULTS_AT_ONCE if self._job is None else 10**6
        for wanted in self._planning.take(most, job=self._job):
            if wanted.result not in self._plans:
                self._begin(wanted)

    def give_up(self, name: str, why: str) -> None:
        """Compute nothing more of a result, nor plan it."""
        _log.warning("%s", why)
        self._planning.give_up(name, why)
        if (plan_ := self._plans.pop(name, None)) is not None:
            plan_.close()

    def advance(self) -> bool:
        """Add some units of each run; tell whether there is more to add at once."""
        more = False
        for name, each in list(self._plans.items()):
            try:
                more |= self._advance(name, each)
            except ForebayError as error:
                self._fail(name, error)
        return more

    def _advance(self, name: str, each: RunPlan) -> bool:
        if each.grown():
            self._watcher.grown(name, each.run)
        if each.relief is not None and each.relief.due and not each.run.closed:
            each.relief.look(self._planning.waiting(name))
        units = each.next_units()
        if not units and not each.complete:
            return False
        late = self._deferred(name, each, units) if units else frozenset()
        done = self._planning.add(
            name,
            [(unit, each.bytes_of(unit)) for unit in units],
            blocks=each.blocks,
            frames=each.run.history.frames,
            complete=each.complete,
            deferred=late,
        )
        self._watcher.skipped(name, [unit for unit in units if unit.identity in done])
        if each.complete:
            self._plans.pop(name).close()
            return False
        return bool(units)

    def _deferred(self, name: str, each: RunPlan, units: list[Unit]) -> frozenset[str]:
        """Return the units that are put off, since processing is late for this run."""
        keep_up = each.wanted.keep_up
        if not each.wanted.live or keep_up == 1:
            return frozenset()
        size = each.run.layout.frames_per_block
        waiting, late = self._planning.waiting(name), set()
        for unit in units:
            if waiting >= keep_up and unit.core.t.start // size % keep_up:
                late.add(unit.identity)
            else:
                waiting += 1
        return frozenset(late)

    def _begin(self, wanted: ToPlan) -> None:
        try:
            run = self._opened or open_run(open_store(wanted.target.location))
            whole = isinstance(wanted.target.job.needs, WholeRun)
            if whole and not (run.closed or wanted.live):
                raise RunNotClosedError(
                    f"{wanted.target.job.algorithm} needs the whole run and {run.location} is "
                    "still growing: submit it as a live job, or when the run is closed"
                )
            if run.run_id != wanted.target.job.run_id:
                raise RunNotClosedError(
                    f"{run.location} is another run than when the job was submitted: submit it anew"
                )
            self._plans[wanted.result] = RunPlan(wanted, run, find=self._find, wake=self._wake)
        except ForebayError as error:
            self._fail(wanted.result, error)
        else:
            self._watcher.grown(wanted.result, run)

    def _fail(self, name: str, error: ForebayError) -> None:
        if self._opened is not None:
            raise error
        _log.warning("a run cannot be planned: %s", error)
        self._planning.fail(name, str(error))
        plan_ = self._plans.pop(name, None)
        if plan_ is not None:
            plan_.close()
