"""What has come of the units of a task, and what can be done about those that failed."""

from collections.abc import Sequence
from dataclasses import replace

from forebay.engine.definition import Blockwise
from forebay.engine.execution.executor import Executor, GivenUp, Lost, Outcome
from forebay.engine.execution.flights import InFlight
from forebay.engine.execution.notes import WORKER_DIED, Computed, Failed, NotBegun
from forebay.engine.execution.pieces import most_pieces
from forebay.engine.execution.work import Order
from forebay.engine.queue.retry import Failure, FailureClass


def outcomes_of(
    some: Sequence[InFlight], outcome: Outcome
) -> Sequence[Computed | Failed | NotBegun | None]:
    """Return what has come of each unit of a task; None for one that was not begun."""
    if not isinstance(outcome, GivenUp | Lost):
        return outcome
    # What ended before the worker, or the cluster, went away is there all the same.
    ended = [each.order.notes.outcome() for each in some]
    if isinstance(outcome, GivenUp):
        return ended
    return [known or _died(each.order) for each, known in zip(some, ended, strict=True)]


def _died(order: Order) -> Failed | None:
    """Return the failure of a unit whose worker died while it was at it; None if none was."""
    worker = order.notes.worker()
    if worker is None:
        return None
    return Failed(Failure(FailureClass.WORKER_LOST, WORKER_DIED, worker=worker))


def with_remedies(failure: Failure, flying: InFlight, executor: Executor) -> Failure:
    """Return a failure with what could be done about it."""
    order = flying.order
    pieces = most_pieces(order.algorithm, order.unit)
    remedy = ""
    if failure.kind is FailureClass.OUT_OF_MEMORY:
        remedy = executor.most_memory()
        frames = len(order.unit.core.t)
        if pieces == 1 and isinstance(order.unit.job.needs, Blockwise) and frames > 1:
            remedy += ", or declare the algorithm divisible where its frames stand for themselves"
    return replace(
        failure,
        memory=executor.exceeded_memory(failure.worker),
        most_pieces=pieces,
        remedy=remedy,
    )
