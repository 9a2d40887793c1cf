"""Submissions: what somebody asks for, checked before anything is done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from forebay.engine.definition import Sequential
from forebay.engine.errors import JobError
from forebay.engine.queue.database import plain
from forebay.engine.queue.lanes import Lane
from forebay.engine.unit import Job, Unit, needs_of

_LONGEST_KEY = 200
_LARGEST_PRIORITY = 10**6
LARGEST = 2**63 - 1
"""The largest number that a database takes."""
_NUMBERS = (
    "priority",
    "deadline",
    "keep_up",
    "reduce_at",
    "recall_ahead",
    "failures_allowed",
)
_TEXTS = ("owner", "key", "cluster")


@dataclass(frozen=True, slots=True)
class Target:
    """A result that is wanted, and where its run and its folder lie."""

    job: Job
    """The algorithm with its parameters, over one run."""
    location: str
    """The run's path or URL."""
    folder: str
    """The result's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What somebody asks for: an algorithm with parameters, over one run or many."""

    targets: Sequence[Target]
    """What is wanted: of one algorithm, with the same parameters."""
    lane: Lane = Lane.REPROCESS
    """Whose turn it is."""
    priority: int = 0
    """Within the lane, higher first."""
    owner: str = ""
    """Who asks."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Words to find it by."""
    deadline: int | None = None
    """When it should be done, in nanoseconds since 1970-01-01 UTC: of equal ones, the nearest
    deadline goes first."""
    live: bool = False
    """Whether it goes on while its runs grow."""
    keep_up: int = 1
    """When processing is late, only every so-manieth block is computed at once, and the others
    when there is time; 1 for all of them in their order."""
    reduce_at: int | None = None
    """Of a live job, blocks that may wait before the acquisition is asked to reduce its frames;
    None to ask for nothing."""
    recall_ahead: int | None = None
    """Bytes that archives are asked for ahead of what is computed; None to ask for nothing."""
    recall_most: float | None = None
    """What that may cost in all; None for any amount."""
    recall_cost: float = 0.0
    """What it costs that was asked for already."""
    force: bool = False
    """Whether to compute also what is done."""
    after: Sequence[int] = ()
    """Jobs that must be done before."""
    failures_allowed: int | None = None
    """Dead letters after which it is given up; None for any number."""
    key: str | None = None
    """Submitting the same with the key of a job that has not ended finds that job; by default it
    is made of everything that is asked for."""
    private: str | None = None
    """The only service that may work on it."""
    cluster: str | None = None
    """The only cluster that may compute it; None for any."""
    units: Mapping[str, Sequence[tuple[Unit, int]]] | None = None
    """By result, the only units that are wanted, each with the bytes of frames that it has to see;
    None for all that the runs are cut into."""


def target_of(row: Any) -> Target:
    """Return what a row of the results wants."""
    needs = needs_of(row.needs)
    job = Job(row.run_id, row.run_name, row.algorithm, row.version, needs, dict(row.parameters))
    return Target(job, row.location or "", row.folder or "")


def check(submission: Submission) -> None:
    """Refuse what cannot be as it is asked for.

    Raises
    ------
    JobError
        If it cannot.
    """
    _check_types(submission)
    if not submission.targets:
        raise JobError("a job needs at least one run")
    kinds = {(each.job.algorithm, each.job.version) for each in submission.targets}
    if len(kinds) > 1:
        raise JobError(f"a job is of one algorithm, not of {len(kinds)}: submit one for each")
    if any(
        each.job.parameters != submission.targets[0].job.parameters for each in submission.targets
    ):
        raise JobError("a job has the same parameters for all its runs: submit one for each")
    given: dict[str, Target] = {}
    for each in submission.targets:
        if same := given.get(each.job.identity):
            raise JobError(
                f"a job cannot go over the same run twice: {same.location} and {each.location} "
                "are one, leave one of them out"
            )
        given[each.job.identity] = each
    if submission.key is not None and not 0 < len(submission.key) <= _LONGEST_KEY:
        raise JobError(f"a key has 1 to {_LONGEST_KEY} characters, not {len(submission.key)}")
    if submission.keep_up < 1:
        raise JobError(f"keep_up cannot be {submission.keep_up}: 1 is every block")
    if submission.keep_up > 1 and isinstance(submission.targets[0].job.needs, Sequential):
        raise JobError(
            f"{submission.targets[0].job.algorithm} goes from each block to the next one, so that "
            f"it cannot leave blocks for later: keep_up is 1 for it, not {submission.keep_up}"
        )
    if submission.units is not None and (submission.after or submission.live):
        raise JobError("a job of chosen units comes after no other, and follows no run")
    if submission.reduce_at is not None and (submission.reduce_at < 1 or not submission.live):
        raise JobError(
            f"reduce_at cannot be {submission.reduce_at}: it is a number of blocks of a live job "
            "(--follow)"
        )
    if submission.failures_allowed is not None and submission.failures_allowed < 0:
        raise JobError(f"failures_allowed cannot be {submission.failures_allowed}")
    checked_priority(submission.priority)
    for each in submission.targets:
        for text in (
            submission.key,
            submission.owner,
            submission.cluster,
            each.job.run_name,
            each.location,
            each.folder,
        ):
            if text is not None and plain(text) != text:
                raise JobError(f"{text!r} cannot be kept: it holds what is no character")


def _check_types(submission: Submission) -> None:
    """Refuse what is no number or no text: a database may keep it, and nobody could read it."""
    numbers = {name: getattr(submission, name) for name in _NUMBERS}
    numbers |= {f"after[{place}]": each for place, each in enumerate(_sequence(submission.after))}
    for name, number in numbers.items():
        if number is None:
            continue
        if not isinstance(number, int) or isinstance(number, bool):
            raise JobError(f"{name} cannot be {number!r}: it is a whole number")
        if abs(number) > LARGEST:
            raise JobError(f"{name} cannot be {number}: it has 64 bits")
    labels = submission.labels
    if not isinstance(labels, Mapping):
        raise JobError(f"labels cannot be {labels!r}: give them as names with their values")
    texts = {name: getattr(submission, name) for name in _TEXTS}
    texts |= {f"labels[{name!r}]": value for name, value in labels.items()}
    texts |= {f"the label {name!r}": name for name in labels}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise JobError(f"{name} cannot be {text!r}: it is a text")


def _sequence(after: object) -> Sequence[object]:
    if isinstance(after, str) or not isinstance(after, Sequence):
        raise JobError(f"after cannot be {after!r}: it is a list of the numbers of jobs")
    return after


def checked_priority(priority: int) -> int:
    """Return a priority, if it can be one."""
    if abs(priority) > _LARGEST_PRIORITY:
        raise JobError(f"a priority lies within ±{_LARGEST_PRIORITY}, not at {priority}")
    return priority


def default_key(submission: Submission) -> str:
    """Return the key of a submission that names none: of everything that is asked for."""
    wanted: list[object] = [
        sorted(each.job.identity for each in submission.targets),
        submission.live,
        submission.force,
        submission.private,
        submission.cluster,
        submission.units
        and {name: [unit.identity for unit, _ in some] for name, some in submission.units.items()},
    ]
    return str(blake3(json.dumps(wanted).encode()).hexdigest())
