"""What something costs, and processes of their own to measure it in."""

import gc
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took."""

    seconds: float
    """On the clock."""
    cpu_seconds: float
    """Of all threads of the process and of its children, in the kernel too.

    What the kernel does in threads of its own, writing back its page cache, is not among it.
    """


def cost_of(work: Callable[[], object]) -> Cost:
    """Do something and return what it cost."""
    # The memory of what was measured before is given back first, which nobody does in time.
    gc.collect()
    cpu, began = _cpu_seconds(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - began, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@contextmanager
def processes(names: Iterable[str]) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """Give a process of its own to each name, for what is submitted to it."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for name in names
        }
