"""How long the job of a worker still lasts: told by its keeper, and asked by what is to begin there.

A batch system ends a job when its time is up, with all that it is at.  What takes longer than that
is not begun there.
"""

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

KEY = "forebay_time_left"
"""The operation that tells a worker, and where its scheduler says the same to those who ask."""
_OF_A_LIFE = 0.9
"""Part of a job's time that is enough for what takes longer than a job lasts."""
_CHANGE_SECONDS = 2.0
"""Slurm tells whole seconds: by less nothing has changed."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """The time that a job has."""

    seconds: float
    """From now on."""
    life: float
    """From its beginning."""

    def is_enough(self, seconds: float) -> bool:
        """Tell whether something may begin that takes so long.

        What takes longer than any job of its kind lasts may begin where a job is new.

        Examples
        --------
        >>> TimeLeft(60, life=3600).is_enough(50), TimeLeft(60, life=3600).is_enough(70)
        (True, False)
        >>> TimeLeft(3500, life=3600).is_enough(5000), TimeLeft(3000, life=3600).is_enough(5000)
        (True, False)
        """
        return self.seconds >= min(seconds, _OF_A_LIFE * self.life)


class Ends:
    """When the job of a worker ends, at that worker."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._life = 0.0

    def take_in(self, seconds: float, life: float) -> None:
        """Learn how much time is left."""
        self._at, self._life = time.monotonic() + seconds, life

    @property
    def left(self) -> TimeLeft | None:
        """The time that is left; None where nobody has told of an end."""
        if self._at is None:
            return None
        return TimeLeft(self._at - time.monotonic(), self._life)


def listen(worker: Any) -> None:
    """Let a `distributed.Worker` be told."""
    worker.extensions[KEY] = ends = Ends()
    worker.stream_handlers[KEY] = ends.take_in


def tell(scheduler: Any, address: str, left: TimeLeft) -> None:
    """Tell a worker, and those who ask the `distributed.Scheduler` for it, what time it has."""
    worker = scheduler.workers.get(address)
    if worker is None:
        return
    ends, known = time.monotonic() + left.seconds, worker.extra.get(KEY)
    told = -math.inf if known is None else known["told"]
    if abs(told - ends) > _CHANGE_SECONDS:
        told = ends
        scheduler.stream_comms[address].send({"op": KEY, **asdict(left)})
    worker.extra[KEY] = {**asdict(left), "told": told}


def told_of(worker: dict[str, Any]) -> TimeLeft | None:
    """Return what a scheduler says of a worker's time; None where that has no end."""
    told = worker.get(KEY)
    return None if told is None else TimeLeft(told["seconds"], told["life"])


def time_left() -> TimeLeft | None:
    """Return the time of the worker that this runs on; None where nobody has told of an end."""
    from distributed import get_worker

    try:
        ends = get_worker().extensions.get(KEY)
    except ValueError:
        return None
    return None if ends is None else ends.left
