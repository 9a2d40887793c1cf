"""Other processes that keep the machine busy."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_BUSY_BYTES = 64 * 2**20
_JOIN_SECONDS = 10.0


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many other processes compute and copy without a pause."""
    context = multiprocessing.get_context("spawn")
    started = [context.Event() for _ in range(count)]
    others = [context.Process(target=_keep_busy, args=(each,), daemon=True) for each in started]
    for each in others:
        each.start()
    try:
        for ready in started:
            if not ready.wait(_JOIN_SECONDS):
                raise TimeoutError("a process that was to keep the machine busy did not start")
        yield
    finally:
        for each in others:
            each.terminate()
            each.join(_JOIN_SECONDS)


def _keep_busy(started: Any) -> None:
    values, copy = np.ones(_BUSY_BYTES, np.uint8), np.zeros(_BUSY_BYTES, np.uint8)
    started.set()
    while True:
        copy[:] = values
        sum(range(100_000))
