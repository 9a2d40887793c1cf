"""Keeping work from workers at their scheduler, and letting it go to them again.

It is sent whole to a scheduler elsewhere, which may run without forebay: so nothing of forebay is
imported here, and what is returned are plain dictionaries.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

HELD = "forebay_held"
"""Where a scheduler says of a worker why it is given nothing more."""
TOPIC = "forebay-health"
"""The topic of Dask's events under which that stands."""


def look(dask_scheduler: Any) -> list[dict[str, Any]]:
    """Return what a scheduler knows of its workers."""
    return [
        {
            "address": each.address,
            "name": str(each.name),
            "threads": each.nthreads,
            "memory": each.memory_limit,
            "status": each.status.name,
            "processing": len(each.processing),
            "last_seen": each.last_seen,
            "silence": time.time() - each.last_seen,
            "skew": each.time_delay,
            "health": each.metrics.get("forebay"),
            "held": each.extra.get(HELD),
        }
        for each in dask_scheduler.workers.values()
    ]


def change(dask_scheduler: Any, hold: Mapping[str, str], release: Collection[str]) -> None:
    """Keep work from some workers, each for a reason, and let it go to others again."""
    for address, why in hold.items():
        worker = dask_scheduler.workers.get(address)
        if worker is None:
            continue
        if worker.extra.get(HELD) != why:
            worker.extra[HELD] = why
            dask_scheduler.log_event(TOPIC, {"worker": address, "action": "held", "why": why})
        keep_from(dask_scheduler, worker)
    for address in release:
        worker = dask_scheduler.workers.get(address)
        if worker is None or worker.extra.pop(HELD, None) is None:
            continue
        dask_scheduler.log_event(TOPIC, {"worker": address, "action": "released"})
        if worker.status.name == "closing_gracefully":
            tell_status(dask_scheduler, worker, "running")


def keep_from(scheduler: Any, worker: Any) -> None:
    """Let a scheduler choose others than a worker; what that has begun it finishes."""
    if worker.status.name not in {"running", "paused"}:
        relieve(scheduler, worker)
        return
    # As the scheduler does itself at the beginning of retire_workers, which would give what is
    # being computed to others at once.
    stimulus = f"forebay-hold-{time.time()}"
    scheduler.handle_worker_status_change("closing_gracefully", worker, stimulus)
    tell_status(scheduler, worker, "closing_gracefully")


def tell_status(scheduler: Any, worker: Any, status: str) -> None:
    """Let a worker change its status, which it then tells its scheduler."""
    scheduler.stream_comms[worker.address].send(
        {
            "op": "worker-status-change",
            "status": status,
            "stimulus_id": f"forebay-{status}-{time.time()}",
        }
    )


def relieve(scheduler: Any, worker: Any) -> None:
    """Let others have what waits at a worker that begins nothing more.

    Dask's own stealing leaves alone who has no more tasks than threads, whether they run or not.
    A worker gives away only what it has not begun.
    """
    stealing = scheduler.extensions.get("stealing")
    for task in list(worker.processing) if stealing is not None else ():
        able = None if task.loose_restrictions else scheduler.valid_workers(task)
        others = {each for each in scheduler.running if able is None or each in able} - {worker}
        if others:
            thief = min(others, key=lambda each: each.occupancy)
            stealing.move_task_request(task, worker, thief)
