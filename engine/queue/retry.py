"""What becomes of a unit that failed: classes of failures, and an ordered list of rules."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class FailureClass(StrEnum):
    """Why an attempt did not end with a part."""

    RAISED = "raised"
    """The algorithm raised an exception."""
    INVALID = "invalid"
    """The algorithm returned what cannot be kept, or is of another form than the parts before; or
    its input is not what it was."""
    INPUT_OUTPUT = "input-output"
    """Something could not be read or written."""
    RECALLED = "recalled"
    """What it reads was asked for from an archive, and is not there yet: no rule is needed, since
    the unit is given back and waits."""
    ARCHIVED = "archived"
    """What it reads lies in an archive, and was not asked for: it waits in the same way where that
    was agreed to, and is given up otherwise."""
    OUT_OF_MEMORY = "out-of-memory"
    """There was not enough memory, on the host or on a device."""
    WORKER_LOST = "worker-lost"
    """The worker died while it was at the unit."""
    TIMED_OUT = "timed-out"
    """It took longer than a unit may."""
    LEASE_EXPIRED = "lease-expired"
    """The service that held it was not heard of."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    kind: FailureClass
    """Its class."""
    error: str
    """Type and message of the exception, in one line."""
    traceback: str = ""
    """Where it was raised."""
    worker: str | None = None
    """The worker that was at it."""
    log: str | None = None
    """What the worker logged last."""
    memory: int | None = None
    """Bytes of memory of that worker, where another one has more."""
    remedy: str = ""
    """What somebody could do about it, where nothing more is tried."""
    most_pieces: int = 1
    """How many pieces, one after the other, the unit can be computed in."""


class RetryRule(BaseModel):
    """What to do about failures of some classes.

    A rule that cannot be followed does not fit: one that asks for more memory where no worker has
    more, or one that splits what cannot be split further.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    failures: tuple[FailureClass, ...] = Field(
        default=tuple(FailureClass), description="Classes of failures; all if not given."
    )
    action: Literal["retry", "more-memory", "split", "give-up"] = Field(
        default="retry",
        description="Whether to try again as it is; on a worker with more memory than this one; in "
        "twice as many pieces, one after the other; or to keep it as a dead letter.",
    )
    up_to: PositiveInt | None = Field(
        default=None,
        description="Apply only before so many retries; the rules behind this one decide about "
        "later failures.",
    )
    same_error: bool | None = Field(
        default=None,
        description="Apply only if the attempt before failed with the same error, or only if not.",
    )
    retries: NonNegativeInt = Field(
        default=3, description="Retries after which the unit is a dead letter."
    )
    wait_seconds: NonNegativeFloat = Field(
        default=1.0,
        description="Longest wait before the first retry; it doubles with each one, and a random "
        "part of it is waited.",
    )
    most_wait_seconds: NonNegativeFloat = Field(default=600.0, description="Longest wait of all.")
    alone: bool = Field(
        default=False, description="Compute it, from then on, while nothing else is computed."
    )
    elsewhere: bool = Field(
        default=False, description="Compute it on another worker than this time, if there is one."
    )


DEFAULT_RULES = (
    RetryRule(failures=(FailureClass.INVALID, FailureClass.ARCHIVED), action="give-up"),
    RetryRule(failures=(FailureClass.RAISED,), same_error=True, action="give-up"),
    RetryRule(failures=(FailureClass.RAISED,), retries=3, wait_seconds=0.0),
    RetryRule(
        failures=(FailureClass.WORKER_LOST,),
        action="split",
        retries=1,
        wait_seconds=0.0,
        alone=True,
    ),
    RetryRule(
        failures=(FailureClass.WORKER_LOST,),
        action="more-memory",
        retries=1,
        wait_seconds=0.0,
        alone=True,
    ),
    RetryRule(failures=(FailureClass.WORKER_LOST,), retries=1, wait_seconds=0.0, alone=True),
    RetryRule(failures=(FailureClass.OUT_OF_MEMORY,), up_to=1, wait_seconds=0.0, alone=True),
    RetryRule(
        failures=(FailureClass.OUT_OF_MEMORY,),
        action="more-memory",
        retries=10,
        wait_seconds=0.0,
        alone=True,
    ),
    RetryRule(
        failures=(FailureClass.OUT_OF_MEMORY,),
        action="split",
        retries=10,
        wait_seconds=0.0,
        alone=True,
    ),
    RetryRule(failures=(FailureClass.OUT_OF_MEMORY,), retries=2, wait_seconds=0.0, alone=True),
    RetryRule(failures=(FailureClass.TIMED_OUT,), retries=1, wait_seconds=0.0),
    RetryRule(failures=(FailureClass.LEASE_EXPIRED,), retries=5, wait_seconds=0.0),
    RetryRule(failures=(FailureClass.INPUT_OUTPUT,), retries=8, elsewhere=True),
)
"""A wrong result is wrong again, and so is an error that came twice; what kills workers must not
kill a third; what runs out of memory gets all of a worker's, then a larger worker's, then becomes
smaller; all else may be chance."""

PROMPT_RULES = (
    *DEFAULT_RULES[:-1],
    RetryRule(failures=(FailureClass.INPUT_OUTPUT,), retries=2, wait_seconds=0.2, elsewhere=True),
)
"""The same where somebody waits for the end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a unit."""

    retry: bool
    """Whether it is tried again."""
    wait_seconds: float = 0.0
    """How long it waits for that."""
    alone: bool = False
    """Whether nothing else may be computed meanwhile."""
    elsewhere: bool = False
    """Whether another worker is to compute it."""
    more_memory: bool = False
    """Whether a worker with more memory is to compute it."""
    split: bool = False
    """Whether it is to be computed in twice as many pieces."""


class RetryPolicy:
    """An ordered list of rules, of which the first that fits decides.

    Parameters
    ----------
    rules
        The rules; a failure that none of them fits is not retried.
    most_retries
        Retries after which a unit is a dead letter whatever the rules say; 0 for none at all.
    chance
        Source of the random part of waits.

    Examples
    --------
    >>> policy = RetryPolicy()
    >>> lost = Failure(FailureClass.WORKER_LOST, "KilledWorker")
    >>> policy.decide(lost, retries=0, deaths=1, error_before=None)
    Verdict(retry=True, wait_seconds=0.0, alone=True, elsewhere=False, more_memory=False, \
split=False)
    >>> policy.decide(lost, retries=1, deaths=2, error_before=None).retry
    False
    """

    def __init__(
        self,
        rules: Sequence[RetryRule] = DEFAULT_RULES,
        *,
        most_retries: int = 10,
        chance: random.Random | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._most = most_retries
        self._chance = chance or random.Random()  # noqa: S311 (no secret)

    def decide(
        self,
        failure: Failure,
        *,
        retries: int,
        deaths: int,
        error_before: str | None,
        pieces: int = 1,
    ) -> Verdict:
        """Decide about a unit that failed.

        Parameters
        ----------
        failure
            The failure.
        retries
            Retries that it has had.
        deaths
            Workers that died under it, this one included.
        error_before
            The error of the attempt before, if there was one.
        pieces
            Pieces that it was computed in.
        """
        same = failure.error == error_before
        for rule in self._rules:
            fits = failure.kind in rule.failures and rule.same_error in {None, same}
            early = rule.up_to is None or retries < rule.up_to
            if fits and early and _possible(rule, failure, pieces):
                # Of deaths no other failure uses up a retry: a third worker is never risked.
                had = deaths - 1 if failure.kind is FailureClass.WORKER_LOST else retries
                if rule.action == "give-up" or had >= rule.retries or retries >= self._most:
                    return Verdict(retry=False)
                doubled = rule.wait_seconds * 2.0 ** min(retries, 1000)
                longest = min(rule.most_wait_seconds, doubled)
                wait = self._chance.uniform(0.0, longest)
                return Verdict(
                    retry=True,
                    wait_seconds=wait,
                    alone=rule.alone,
                    elsewhere=rule.elsewhere,
                    more_memory=rule.action == "more-memory",
                    split=rule.action == "split",
                )
        return Verdict(retry=False)


def _possible(rule: RetryRule, failure: Failure, pieces: int) -> bool:
    """Tell whether a rule can be followed."""
    match rule.action:
        case "more-memory":
            return failure.memory is not None
        case "split":
            return pieces < failure.most_pieces
        case _:
            return True
