"""What a cluster would be, said before anything is started."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be asked for, and what is missing for it."""

    facts: tuple[tuple[str, str], ...]
    """Names and values, for people: workers, memory, instance type."""
    submitted: str = ""
    """What would be sent, word for word: a job script, a resource."""
    problems: tuple[str, ...] = ()
    """What is missing or cannot be, each in a sentence that says what to do."""
    workers: tuple[int, int] = (0, 0)
    """The fewest and the most workers."""
    cost_per_worker_hour: float | None = None
    """What a worker costs in an hour; None where nobody has said."""
    cost_besides_per_hour: float = 0.0
    """What else there is costs in an hour, such as the machine of the scheduler."""

    @property
    def cost_per_hour(self) -> tuple[float, float] | None:
        """What the cluster costs in an hour, with the fewest workers and with the most.

        Examples
        --------
        >>> Plan((), workers=(1, 8), cost_per_worker_hour=0.5).cost_per_hour
        (0.5, 4.0)
        """
        if self.cost_per_worker_hour is None:
            return None
        fewest, most = (
            number * self.cost_per_worker_hour + self.cost_besides_per_hour
            for number in self.workers
        )
        return fewest, most
