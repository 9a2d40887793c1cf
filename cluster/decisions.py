"""Decisions about a cluster as events: what was decided, why, and the figures it comes from.

They are lines of JSON in a file that is bounded: when it is full it takes the place of the one
before, and a new one is begun.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from forebay.cluster.burst.rule import BurstRules, Decision, Situation, Standing, decide
from forebay.cluster.errors import ClusterError

MOST_BYTES = 4 * 2**20
"""Size of a file at which the next one is begun; there are two of them at the most."""
_DEFAULT_PLACE = Path("clusters")

_log = logging.getLogger("forebay.cluster")


class DecisionEvent(BaseModel):
    """A decision, as it was written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float
    """When, in seconds since 1970-01-01 UTC."""
    event: Literal["burst", "size", "budget", "allocation"]
    """What was decided: workers of a costlier cluster, workers by the work that waits, workers
    that the budget does not pay for, or how lanes divide the workers."""
    cluster: str
    """Of which cluster."""
    workers: int | None = None
    """Workers that there should be; None where it is not about their number."""
    change: int = 0
    """How many more, or less, than before."""
    reason: str
    """Why, in words."""
    figures: dict[str, Any]
    """What it was computed from."""
    situation: dict[str, Any] | None = None
    """All that the burst rule was given, for going through it again."""
    standing: dict[str, Any] | None = None
    """What the burst rule remembered from the time before."""

    def again(self, rules: BurstRules) -> Decision | None:
        """Return what the burst rule says to the same with other bounds.

        None if it was not asked, or was one that went by other figures.
        """
        if self.situation is None or self.standing is None:
            return None
        if self.situation.keys() != {each.name for each in fields(Situation)}:
            return None
        changed_at = self.standing["changed_at"]
        standing = Standing(
            self.standing["workers"],
            self.standing["agreed"],
            # JSON has no infinity.
            float("-inf") if changed_at is None else changed_at,
        )
        return decide(Situation(**self.situation), rules, standing)


class DecisionLog:
    """Writes decisions down; several processes may do so at a time.

    Parameters
    ----------
    path
        The file; it is made, with its folder, when there is something to write.
    now
        Source of times in seconds since 1970-01-01 UTC.
    most_bytes
        Size at which the next file is begun.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "decisions.jsonl"
    ...     DecisionLog(path, now=lambda: 0.0).take(
    ...         "size", "gpu", workers=4, change=2, reason="240 s of work wait", figures={"units": 9}
    ...     )
    ...     [(each.workers, each.reason) for each in read_decisions(path)]
    [(4, '240 s of work wait')]
    """

    def __init__(
        self, path: Path, *, now: Callable[[], float] = time.time, most_bytes: int = MOST_BYTES
    ) -> None:
        self.path = path
        self._now = now
        self._most_bytes = most_bytes
        self._last_burst = ""

    def take(
        self,
        event: Literal["burst", "size", "budget", "allocation"],
        cluster: str,
        *,
        reason: str,
        figures: Mapping[str, Any],
        workers: int | None = None,
        change: int = 0,
        **more: Any,
    ) -> None:
        """Write a decision down; it is durable when this returns.

        A file that cannot be written is said to be so, and stops nobody.
        """
        made = DecisionEvent(
            at=self._now(),
            event=event,
            cluster=cluster,
            workers=workers,
            change=change,
            reason=reason,
            figures=dict(figures),
            **more,
        )
        try:
            self._append(made.model_dump_json(exclude_defaults=True).encode() + b"\n")
        except OSError as error:
            _log.warning("a decision about %s is not written down (%s): %s", cluster, error, reason)
        if change:
            # Sizes follow the work all the time; the others cost money.
            level = logging.INFO if event == "size" else logging.WARNING
            _log.log(level, "%s: %s workers, %s", cluster, workers, reason)

    def take_burst(
        self, cluster: str, decision: Decision, situation: Situation, before: Standing
    ) -> None:
        """Write down what the burst rule says, if it changes anything or has another reason."""
        # Waits and times differ at every look; the words around them say whether it is news.
        kind = "".join(each for each in decision.reason if not each.isdigit())
        if not decision.change and kind == self._last_burst:
            return
        self._last_burst = kind
        self.take(
            "burst",
            cluster,
            workers=decision.workers,
            change=decision.change,
            reason=decision.reason,
            figures=decision.figures,
            situation=asdict(situation),
            standing=asdict(before),
        )

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path):
            size = self.path.stat().st_size if self.path.exists() else 0
            if size and size + len(line) > self._most_bytes:
                self.path.replace(_older(self.path))
            with self.path.open("a+b") as file:
                # One that was killed as it wrote may have left part of a line.
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    file.write(b"\n")
                file.write(line)
                file.flush()
                os.fsync(file.fileno())


def decisions_path(place: Path | None, name: str) -> Path:
    """Return the file of a cluster's decisions.

    Parameters
    ----------
    place
        The folder of all clusters of its kind; None where nothing else is written down of it.
    name
        What it is called.
    """
    return (place or _DEFAULT_PLACE) / name / "decisions.jsonl"


def read_decisions(path: Path) -> Iterator[DecisionEvent]:
    """Return the decisions of a cluster, the oldest first; a line that is not whole is left out.

    Raises
    ------
    ClusterError
        If the file cannot be read.
    """
    for each in (_older(path), path):
        try:
            lines = each.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ClusterError(f"the decisions in {each} cannot be read ({error})") from error
        for number, line in enumerate(lines, 1):
            try:
                yield DecisionEvent.model_validate_json(line)
            except ValidationError:
                _log.warning("line %d of %s is no decision, or part of one", number, each)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing for the length of a block."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
