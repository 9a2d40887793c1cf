"""How a move is told."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.tiering.catalogue.records import MoveRecord


def move_line(move: "MoveRecord", run: str) -> str:
    """Return how it is with a move, in one line."""
    line = f"move {move.move}: {run} to {move.tier}: {move.state}"
    if move.state == "grace" and move.not_before is not None:
        line += f"; it is read there, and the old copy goes after {when(move.not_before)}"
    if move.holder is not None and move.lease_until is not None and not move.state.over:
        silent = f"if that says nothing more, it goes on after {when(move.lease_until)}"
        line += f"; {move.holder.partition('/')[0]} is at it, and {silent}"
    return f"{line} ({move.error})" if move.error else line


def move_fields(move: "MoveRecord", run: str) -> dict[str, object]:
    """Return the same for machines."""
    return {
        "move": move.move,
        "run": run,
        "to": move.tier,
        "state": move.state,
        "why": move.why,
        "attempts": move.attempts,
        "error": move.error,
    }


def when(nanoseconds: int) -> str:
    """Return a moment, as it is shown."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds")
