"""On which terms an archive gives its objects back: how long it takes, and what it costs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

HOURS: Mapping[tuple[str, str], float] = {
    ("GLACIER", "expedited"): 5 / 60,
    ("GLACIER", "standard"): 5.0,
    ("GLACIER", "bulk"): 12.0,
    ("DEEP_ARCHIVE", "standard"): 12.0,
    ("DEEP_ARCHIVE", "bulk"): 48.0,
}
"""Hours until an object of a class can be read, at the most, by how fast it is asked for.

From "Understanding archive retrieval options", Amazon S3 User Guide.
"""
CLASSES = tuple(dict.fromkeys(storage_class for storage_class, _ in HOURS))
"""Classes whose objects cannot be read until they are recalled."""
USUAL_DAYS = 3
"""Days for which objects stay readable where nothing else is said."""


@dataclass(frozen=True, slots=True)
class RecallTerms:
    """What it takes to have objects of an archive back."""

    storage_class: str
    """Storage class that the objects are of."""
    speed: str
    """How fast they are asked for: ``expedited``, ``standard`` or ``bulk``."""
    hours: float
    """Hours until they can be read, about."""
    cost_per_gb: float
    """What a gigabyte (10^9 bytes) costs."""
    cost_per_1000: float
    """What a thousand requests cost, one for each object."""
    days: int = USUAL_DAYS
    """Days for which objects stay readable."""

    def cost(self, size: int, objects: int) -> float:
        """Return what it costs to recall so many bytes in so many objects.

        Examples
        --------
        >>> RecallTerms("GLACIER", "standard", 5.0, 0.01, 0.05).cost(2 * 10**9, 1000)
        0.07
        """
        return size / 1e9 * self.cost_per_gb + objects / 1000 * self.cost_per_1000

    def told(self, size: int, objects: int) -> str:
        """Return what that means, in a few words.

        Examples
        --------
        >>> RecallTerms("GLACIER", "standard", 5.0, 0.01, 0.05).told(2 * 10**9, 1000)
        'which costs about 0.07 for 2 GB and takes about 5 hours'
        """
        long = f"{self.hours:.3g} hours" if self.hours >= 1 else f"{self.hours * 60:.0f} minutes"
        cost = self.cost(size, objects)
        return f"which costs about {cost:.2f} for {size / 1e9:.3g} GB and takes about {long}"

    def to_json(self) -> dict[str, Any]:
        """Return them for a document."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read them back."""
        return cls(
            str(document["storage_class"]),
            str(document["speed"]),
            float(document["hours"]),
            float(document["cost_per_gb"]),
            float(document["cost_per_1000"]),
            int(document.get("days", USUAL_DAYS)),
        )
