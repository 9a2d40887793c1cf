"""Loaded by Dask into every process of a local cluster."""

import logging
import os
import signal
from typing import Any

from distributed.comm.core import CommClosedError


def dask_setup(worker: Any) -> None:  # noqa: ARG001  # Dask's signature
    """Keep quiet about what a cluster cuts short when it closes; leave SIGTERM to the parent."""
    logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
    logging.getLogger("distributed.worker").addFilter(_tells_more_than_a_closed_connection)
    _outlive_sigterm()


def _tells_more_than_a_closed_connection(record: logging.LogRecord) -> bool:
    """Tell whether a record has more than that a connection was closed under a call.

    The scheduler is in the process that closes the cluster: a heartbeat may be on its way to it.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], CommClosedError))


def _outlive_sigterm() -> None:
    """Let SIGTERM pass by this process, where it is blocked, and end what algorithms start.

    A program or a process that an algorithm starts would inherit that it is blocked, and could not
    be ended by it.  The nanny kills a worker that does not end at its SIGTERM.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
