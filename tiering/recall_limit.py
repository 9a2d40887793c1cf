"""What policies may have recalled from archives: up to what each may cost within some days."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from forebay.tiering.policy import Suggestion
from forebay.tiering.specification import PolicySpecification

LIMIT_DAYS = 30
"""Days within which what a policy has recalled counts against what that may cost."""


class RecallLimit:
    """Lets policies move out of archives what they may, and counts what has to wait.

    Parameters
    ----------
    policies
        The policies.
    spent
        What they have had recalled within the last days, by their names.
    """

    def __init__(self, policies: Sequence[PolicySpecification], spent: Mapping[str, float]) -> None:
        self._most = {
            each.name: each.recall_cost for each in policies if each.recall_cost is not None
        }
        self._spent = defaultdict(float, spent)
        self._waiting: dict[str, list[float]] = {}

    def allows(self, wanted: Suggestion) -> bool:
        """Tell whether something may be recalled for a policy; then it counts."""
        most = self._most.get(wanted.policy)
        if most is not None and self._spent[wanted.policy] + wanted.recall_cost > most:
            self._waiting.setdefault(wanted.policy, []).append(wanted.recall_cost)
            return False
        self._spent[wanted.policy] += wanted.recall_cost
        return True

    def told(self) -> list[str]:
        """Return which policies have something wait, in a sentence for each."""
        return [
            f"policy {name!r} has {len(costs)} runs or results wait in their archive: to recall "
            f"them costs about {sum(costs):.2f}, and {self._spent[name]:.2f} of the "
            f"{self._most[name]:.2f} that it may cost in {LIMIT_DAYS} days (recall_cost) are spent"
            for name, costs in self._waiting.items()
        ]
