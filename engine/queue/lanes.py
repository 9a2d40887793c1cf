"""Lanes: whose work goes first."""

from enum import IntEnum
from typing import Self

from forebay.engine.errors import JobError


class Lane(IntEnum):
    """What a job is for, in the order in which jobs are served."""

    REALTIME = 0
    """Following an instrument."""
    VALIDATION = 1
    """Trying an algorithm."""
    REPROCESS = 2
    """Going through what is there already."""

    @property
    def label(self) -> str:
        """Its name."""
        return self.name.lower()

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the lane of a name.

        Raises
        ------
        JobError
            If there is none.

        Examples
        --------
        >>> Lane.of("validation")
        <Lane.VALIDATION: 1>
        """
        try:
            return cls[str(name).upper()]
        except KeyError:
            known = ", ".join(each.label for each in cls)
            raise JobError(f"there is no lane {name!r}; there are {known}") from None
