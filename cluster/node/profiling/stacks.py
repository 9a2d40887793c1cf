"""Samples of a profiler: what was being called, and how often that was seen."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping

from forebay.cluster.node.errors import ProfilerError

type Stack = tuple[str, ...]
"""Functions, the outermost one first."""

_NATIVE = re.compile(r"\s+[0-9a-f]+ (?P<name>.+) \((?P<where>[^()]*)(?: \(deleted\))?\)$")
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
_INTERPRETER = re.compile(r"_?Py(Eval|Function|Object|Vectorcall)|py_trampoline|trampoline_start")
_TIME = re.compile(r"\S.*?\s([0-9]{1,12}\.[0-9]{1,9}):\s")
_WAITS = re.compile(
    r"(\w+\.)*(select|accept|wait|_worker|_wait_for_tstate_lock) "
    r"\((selectors|socket|threading|concurrent/futures/thread)\.py"
)
"""Where threads without work stand; a profiler may take some of them for busy."""


def folded(text: str) -> Counter[Stack]:
    """Read stacks of which each stands on a line, its functions between semicolons.

    Raises
    ------
    ProfilerError
        If a line is none.

    Examples
    --------
    >>> folded("main (a.py:1);work (a.py:5) 7")
    Counter({('main (a.py:1)', 'work (a.py:5)'): 7})
    """
    stacks: Counter[Stack] = Counter()
    for line in filter(str.strip, text.splitlines()):
        frames, _, count = line.rpartition(" ")
        if not (count.isascii() and count.isdigit()) or not (frames or line.startswith(" ")):
            raise ProfilerError(f"the profiler has written {line[:80]!r}, which is no stack")
        # Threads that never were in Python have none.
        if frames:
            stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def from_perf(text: str, during: tuple[float, float] = (0.0, float("inf"))) -> Counter[Stack]:
    r"""Read what ``perf script`` prints: samples, the innermost function of each first.

    Functions of Python that perf knows by ``python -X perf`` are told as such, and those of the
    interpreter between them left out.

    Parameters
    ----------
    text
        What it prints.
    during
        The time, by the clock that it was told to use; other samples are left out.

    Examples
    --------
    >>> from_perf("python 7 1.2: 1 cycles:\n\t4a main+0x2 (/bin/python)\n\n")
    Counter({('main (python)',): 1})
    """
    stacks: Counter[Stack] = Counter()
    for sample in re.split(r"\n\s*\n", text):
        lines = sample.strip("\n").splitlines()
        at = _TIME.match(lines[0]) if lines else None
        if at is None or not during[0] <= float(at[1]) <= during[1]:
            continue
        frames = [found for line in lines[1:] if (found := _NATIVE.match(line))]
        named = [_native(found["name"], found["where"]) for found in reversed(frames)]
        told = [name for name, _ in itertools.groupby(filter(None, named))]
        if told:
            stacks[tuple(told)] += 1
    return stacks


def _native(name: str, where: str) -> str:
    name = _OFFSET.sub("", name)
    if name.startswith("py::"):
        function, _, file = name.removeprefix("py::").partition(":")
        return f"{function} ({file.rpartition('/')[2]})"
    if _INTERPRETER.match(name):
        return ""
    return f"{name} ({where.rpartition('/')[2]})"


def below(stacks: Mapping[Stack, int], function: str, *, script: str, rest: str) -> Counter[Stack]:
    """Keep what was called by a function, and what was not called by the program at all.

    Parameters
    ----------
    stacks
        All that was seen.
    function
        The function.
    script
        File name of the program: what it does outside of the function is left out.
    rest
        What stands above the others, such as those of other threads; those that wait are left out.

    Examples
    --------
    >>> seen = {("<module> (p.py)", "f (p.py)", "g (q.py)"): 2, ("<module> (p.py)", "import"): 5}
    >>> below(seen, "f", script="p.py", rest="other threads")
    Counter({('f (p.py)', 'g (q.py)'): 2})
    """
    kept: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        place = next((n for n, each in enumerate(stack) if each.startswith(f"{function} (")), None)
        if place is not None:
            kept[stack[place:]] += count
        elif not (any(script in each for each in stack) or _WAITS.match(stack[-1])):
            kept[(rest, *stack)] += count
    return kept


def hottest(stacks: Mapping[Stack, int], number: int) -> list[tuple[str, float, float]]:
    """Return the functions in which most of the time was spent.

    Returns
    -------
    list of tuple
        The function, the part of the time that it took itself, and with what it called.

    Examples
    --------
    >>> hottest({("f", "g"): 3, ("f",): 1}, 2)
    [('g', 0.75, 0.75), ('f', 0.25, 1.0)]
    """
    itself: Counter[str] = Counter()
    altogether: Counter[str] = Counter()
    for stack, count in stacks.items():
        itself[stack[-1]] += count
        for function in set(stack):
            altogether[function] += count
    total = sum(stacks.values())
    ordered = sorted(itself.items(), key=lambda pair: (-pair[1], pair[0]))[:number]
    return [(name, count / total, altogether[name] / total) for name, count in ordered]
