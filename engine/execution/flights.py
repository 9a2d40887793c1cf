"""The units that were handed out and have not come back."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.engine.execution.work import Order
from forebay.engine.execution.workbench import Workbench
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.lanes import Lane


@dataclass(frozen=True, slots=True)
class InFlight:
    """A unit that was handed out."""

    claim: Claim
    """The claim on it."""
    order: Order
    """What the worker has to do."""
    bench: Workbench
    """What it belongs to."""


class Flights:
    """What is in flight, one attempt of each unit at the most."""

    def __init__(self) -> None:
        self._by_unit: dict[str, InFlight] = {}

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self._by_unit)

    def __iter__(self) -> Iterator[InFlight]:
        """Go over those that fly now, whatever becomes of them meanwhile."""
        return iter([*self._by_unit.values()])

    @property
    def bytes(self) -> int:
        """What they need of the workers' memory."""
        return sum(each.claim.bytes for each in self)

    def lanes(self) -> Counter[str]:
        """Count them by lane."""
        return Counter(Lane(each.claim.lane).label for each in self)

    def add(self, each: InFlight) -> None:
        """Take in a unit that is handed out."""
        self._by_unit[each.claim.unit] = each
        each.bench.in_flight += 1

    def forget(self, each: InFlight) -> bool:
        """Let go of a unit; False if it is not this attempt that flies."""
        if self._by_unit.get(each.claim.unit) is not each:
            return False
        del self._by_unit[each.claim.unit]
        each.bench.in_flight -= 1
        return True
