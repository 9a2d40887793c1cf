"""What the commands print: tables for people, JSON for machines, progress on stderr."""

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer

from forebay.cli.errors import OutputClosedError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

_WIDTH_OF_A_FILE = 240
_SPACES = (1, 0)
"""Spaces on each side of a cell: as many as leave each word whole."""


def print_json(content: Any) -> None:
    """Print one JSON object on a line of its own, at once."""
    with writing_output():
        typer.echo(json.dumps(content, default=_plain))


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn a stdout that takes no more into an `OutputClosedError`."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is still held back would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise OutputClosedError(
            f"stdout takes no more: {error.strerror}; what was asked is done as far as it got"
        ) from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.repr
        }
    return str(value)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        # A file has no edge: nothing in it needs to be cut or wrapped.
        console.width = _WIDTH_OF_A_FILE
    return console


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under the names of their columns; numbers stand to the right.

    On a terminal too narrow for their words each row is printed as names and values.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    columns_of_text = [
        [name, *(str(row[index]) for row in rows)] for index, name in enumerate(columns)
    ]
    words = [max(map(cell_len, " ".join(texts).split()), default=0) for texts in columns_of_text]
    console = _console()
    with writing_output():
        for spaces in _SPACES:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, spaces))
            for index, name in enumerate(columns):
                numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
                justify: Literal["left", "right"] = "right" if numeric else "left"
                table.add_column(name, justify=justify, overflow="fold", min_width=words[index])
            for row in rows:
                table.add_row(*(Text(str(cell)) for cell in row))
            least = console.measure(table, options=console.options.update(max_width=sys.maxsize))
            if least.minimum <= console.width:
                console.print(table)
                return
        for row in rows:
            console.print(_pairs(zip(columns, map(str, row), strict=True)))
            console.print()


def _pairs(facts: Iterable[tuple[str, str]]) -> "Table":
    """Return names and values for a terminal, one pair below the other."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))
    return table


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values under a title, one pair on a line."""
    from rich.text import Text

    shown = [(name, str(value)) for name, value in facts]
    wide = max((len(name) for name, _ in shown), default=0) + 2
    console = _console()
    with writing_output():
        # A title of the table would be cut to its width, and with it the path that it names.
        console.print(Text(title, style="italic"), soft_wrap=True)
        if console.is_terminal:
            console.print(_pairs(shown))
            return
        # A line of a file is as long as what stands in it: others search it for words.
        for name, value in shown:
            typer.echo(name.ljust(wide) + value.replace("\n", "\n" + " " * wide))


def progress(unit: str) -> "Progress":
    """Return a progress display on stderr, silent where stderr is not a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = _console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def size(count: float) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> size(950), size(268435456)
    ('950 B', '256 MiB')
    """
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(len(units) - 1, int(math.log2(count) // 10)) if count >= 1 else 0
    return f"{count / 1024**power:.3g} {units[power]}"


def seconds(duration: float | None) -> str:
    """Return a duration for people.

    Examples
    --------
    >>> seconds(3.5e-5), seconds(0.0416), seconds(3.25), seconds(754), seconds(None)
    ('35 µs', '42 ms', '3.2 s', '12 min 34 s', '-')
    """
    if duration is None:
        return "-"
    if 0 < duration < 0.001:
        return f"{duration * 1e6:.0f} µs"
    if duration < 1:
        return f"{duration * 1000:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
