"""A program that computes one unit again and again, for a profiler to watch."""

from collections.abc import Iterable
from pathlib import Path

from forebay.engine.execution.reproduce import reproduce_text
from forebay.engine.queue.found import FoundUnit

FUNCTION = "profiled_unit"
"""The function below which the unit is computed."""


def profiling_script(
    found: FoundUnit,
    *,
    seconds: float,
    modules: Iterable[str] = (),
    after: Path | None = None,
) -> str:
    """Return a program that computes a unit for some time in one process.

    It is computed once before, so that what is loaded or compiled at the first use is not
    counted.  Into the file that is its argument the program writes, as JSON, how often the unit
    was computed, how long that took and when it was by the monotonic clock, and its own process; or
    the error, if the unit fails.

    Parameters
    ----------
    found
        The unit.
    seconds
        How long it is computed at least; at least once.
    modules
        Paths of ``.py`` files, or names of modules, that declare algorithms.
    after
        Folder of the part with whose state it goes on.
    """
    call_text = reproduce_text(
        found.target, found.start, found.y, found.x, modules=modules, after=after
    )
    return f'''"""Computes the unit {found.unit[:12]} again and again, to be profiled."""

import json
import os
import sys
import time
from pathlib import Path

from forebay.engine import reproduce

SECONDS = {seconds!r}
{call_text}


def {FUNCTION}():
    return unit.compute()


told = {{"process": os.getpid()}}
try:
    unit.compute()
    began, times = time.monotonic(), 0
    while not times or time.monotonic() - began < SECONDS:
        {FUNCTION}()
        times += 1
    ended = time.monotonic()
    told |= {{"times": times, "seconds": (ended - began) / times, "during": [began, ended]}}
except Exception as error:
    told["error"] = f"{{type(error).__name__}}: {{error}}"
Path(sys.argv[1]).write_text(json.dumps(told))
'''.replace("\0", "")
