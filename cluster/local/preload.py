"""Loaded by Dask into every process of a local cluster."""

import logging
import os
import signal
from typing import Any


def dask_setup(worker: Any) -> None:  # noqa: ARG001  # Dask's signature
    """Keep quiet about tasks under way when the cluster was closed; leave SIGTERM to the parent."""
    logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
    _outlive_sigterm()


def _outlive_sigterm() -> None:
    """Let SIGTERM pass by this process, where it is blocked, and end what algorithms start.

    A program or a process that an algorithm starts would inherit that it is blocked, and could not
    be ended by it.  The nanny kills a worker that does not end at its SIGTERM.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
