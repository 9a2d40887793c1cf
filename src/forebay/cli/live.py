"""How an acquisition is doing, for people: drawn anew on a terminal, a line a minute elsewhere."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Self

from forebay.cli.output import seconds, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from forebay.acquisition import AcquisitionStatus
    from forebay.acquisition.clock import Clock

_DRAWING_SECONDS = 0.2
_LINE_SECONDS = 60.0
_BAR_WIDTH = 30
_NAMED = 4
"""How many reasons and anomalies are named; the others are counted."""

_CALM = "green"
_STRAINED = "yellow"
_LOSING = "bold red"
_FLOW_STYLES = {
    "normal": _CALM,
    "holding": _STRAINED,
    "spilling": _STRAINED,
    "reducing": _STRAINED,
    "giving way": _STRAINED,
}
_SOURCE_STYLES = {"delivering": _CALM, "ended": "", "waiting": ""}


def live_view(status: "AcquisitionStatus") -> "RenderableType":
    """Return how an acquisition is doing, as rich draws it."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, content in _rows(status):
        grid.add_row(name, content)
    return grid


def _rows(status: "AcquisitionStatus") -> Iterator[tuple[str, "RenderableType"]]:
    from rich.text import Text

    flow = Text(status.flow, _FLOW_STYLES.get(status.flow, _LOSING))
    source = Text(status.source_state, _SOURCE_STYLES.get(status.source_state, _LOSING))
    yield "run", Text(f"{PurePath(status.run).name}, {seconds(status.seconds)}")
    yield "state", Text.assemble(flow, ", source ", source)
    lost = Text(f"{status.dropped} dropped", _LOSING if status.dropped else "")
    yield (
        "frames",
        Text.assemble(f"{status.committed} committed, ", lost, f" of {status.counted} counted"),
    )
    if status.dropped_by_reason:
        yield "dropped", Text(_counts(status.dropped_by_reason), _LOSING)
    if status.spilled_frames:
        yield "spilled", Text(f"{status.spilled_frames} frames wait on the second path", _STRAINED)
    yield "rate", Text(_rate(status))
    yield "ring", _ring(status)
    if status.latency_seconds:
        yield "latency", Text(latency_text(status.latency_seconds))
    yield "disk", Text(_room(status))
    if status.anomalies:
        yield "unusual", Text(_counts(status.anomalies), _STRAINED)
    for warning in status.warnings:
        yield "warning", Text(warning, _STRAINED)


def _ring(status: "AcquisitionStatus") -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    fill = status.ring_depth / status.ring_slots if status.ring_slots else 0.0
    style = _CALM if fill < 0.5 else _STRAINED if fill < 0.9 else _LOSING
    bar = ProgressBar(
        total=max(1, status.ring_slots),
        completed=status.ring_depth,
        width=_BAR_WIDTH,
        complete_style=style,
        finished_style=style,
    )
    row = Table.grid(padding=(0, 1))
    row.add_row(
        bar, f"{status.ring_depth} of {status.ring_slots}, at most {status.ring_highest} so far"
    )
    return row


def _rate(status: "AcquisitionStatus") -> str:
    return f"{status.frames_per_second:.1f} frames/s, {size(status.bytes_per_second)}/s"


def latency_text(latency: Mapping[str, float]) -> str:
    """Return the points of a latency that are shown, as far as they are known."""
    return ", ".join(
        f"{name} {seconds(latency[name])}" for name in ("median", "p99", "max") if name in latency
    )


def _room(status: "AcquisitionStatus") -> str:
    if status.disk_free_bytes is None:
        return "not known"
    left = "" if status.seconds_left is None else f", full in {seconds(status.seconds_left)}"
    return f"{size(status.disk_free_bytes)} free{left}"


def _counts(counts: Mapping[str, int]) -> str:
    """Name the most frequent ones, with how often each was.

    Examples
    --------
    >>> _counts({"stalled": 1, "counter gap": 3})
    '3 × counter gap, 1 × stalled'
    """
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    named = [f"{count} × {name}" for name, count in ordered[:_NAMED]]
    rest = sum(count for _, count in ordered[_NAMED:])
    return ", ".join([*named, f"{rest} others"] if rest else named)


def status_line(status: "AcquisitionStatus") -> str:
    """Return how an acquisition is doing in one line, for a file or a journal."""
    parts = [
        f"{status.committed} frames committed, {status.dropped} dropped of {status.counted}",
        _rate(status),
        f"ring {status.ring_depth} of {status.ring_slots}",
        status.flow,
        f"source {status.source_state}",
        f"disk {_room(status)}",
    ]
    return f"{PurePath(status.run).name}: {'; '.join(parts)}"


class LiveStatus:
    """Shows within a ``with`` block how an acquisition is doing, on stderr.

    Parameters
    ----------
    console
        Where it is shown; stderr if not given.
    clock
        Source of times.
    """

    def __init__(self, console: "Console | None" = None, *, clock: "Clock | None" = None) -> None:
        from rich.console import Console
        from rich.live import Live

        from forebay.acquisition.clock import SYSTEM_CLOCK

        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._clock = clock or SYSTEM_CLOCK
        self._due = self._clock.monotonic()
        # Once it has gone a terminal is none any more, and the view still has to be taken down.
        self._on_terminal = self._console.is_terminal
        if not self._on_terminal:
            self._due += _LINE_SECONDS

    def show(self, status: "AcquisitionStatus") -> None:
        """Show how it is doing, if it is time for that."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        try:
            self._draw(status, now)
        except OSError:
            # The terminal has gone, or what the lines were piped into: there is nobody to tell.
            self._due = math.inf

    def _draw(self, status: "AcquisitionStatus", now: float) -> None:
        if self._on_terminal:
            self._due = now + _DRAWING_SECONDS
            self._live.update(live_view(status), refresh=True)
        else:
            self._due = now + _LINE_SECONDS
            self._console.print(status_line(status), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._on_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._on_terminal:
            with contextlib.suppress(OSError):
                self._live.stop()
