"""The workers that report to a scheduler, as the keeper sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from forebay.cluster.keeping.time_left import TimeLeft


@dataclass(frozen=True, slots=True)
class Member:
    """The workers of one job."""

    addresses: tuple[str, ...]
    """Where they listen."""
    idle: bool
    """None of them has anything to do."""
    complaint: str = ""
    """What is wrong with the machine of one of them."""
    unfit: str = ""
    """Why one of them cannot work here at all."""


class Crew(Protocol):
    """The workers, by the name of the job that carries them."""

    def look(self) -> Mapping[str, Member]:
        """Return who is there."""

    def hold(self, member: Member) -> None:
        """Give workers nothing more to do; what they have begun they finish."""

    def tell(self, member: Member, left: TimeLeft) -> None:
        """Tell workers how much time their job has: what takes longer does not begin there."""

    async def send_home(self, member: Member) -> bool:
        """End workers, if they have nothing to do; tell whether they had nothing."""
