"""What movers have to know of the work on what they move."""

from typing import Protocol

from forebay.tiering.catalogue.records import RunRecord


class Work(Protocol):
    """The work on runs and results."""

    def waits(self, run: RunRecord) -> str | None:
        """Say why something is not to be moved yet; None if it may be."""

    def needed(self, run: RunRecord) -> str | None:
        """Say why something must stay where it is read at once; None if it need not."""


class NoWork:
    """Nobody works on anything."""

    def waits(self, run: RunRecord) -> str | None:  # noqa: ARG002
        """Let everything be moved."""
        return None

    def needed(self, run: RunRecord) -> str | None:  # noqa: ARG002
        """Let everything go into an archive."""
        return None
