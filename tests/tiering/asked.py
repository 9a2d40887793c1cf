"""An archive that only remembers what it was asked for."""

from forebay.tiering.archive.archive import Archive, Reach, Standing
from forebay.tiering.archive.terms import RecallTerms
from forebay.tiering.errors import PlaceUnavailableError


class Asked(Archive):
    """An archive that gives nothing back."""

    def __init__(self) -> None:
        self.terms = RecallTerms("GLACIER", "bulk", 12.0, 0.0, 0.0)
        self.names: list[str] = []
        """What was asked for."""
        self.fails = False
        """Whether it does not answer."""

    def standing(self, key: str) -> Standing:
        """Say that it has to be asked for."""
        return Standing(Reach.AWAY)

    def recall(self, key: str, *, days: int) -> None:
        """Write down what is asked for."""
        if self.fails:
            raise PlaceUnavailableError("the archive does not answer")
        assert days == self.terms.days
        self.names.append(key)
