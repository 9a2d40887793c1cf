"""What keeps the memory of workers in use, and flat over weeks.

Operations on frames make and drop arrays of megabytes again and again.  Dask has its workers give
each of them back to the system at once, which then clears every page of the next one: a third of
the time that particles are looked for.  The variables of glibc let it keep some of it for the next
array.

Dask's own profiler keeps the call stacks of each second for an hour: a worker that is never idle
grows by more than a gigabyte, and what a unit does is seen better by ``forebay profile``.  Of each
connection it keeps the last thousand messages whole, which hold what the tasks are given, and of each
process the load of the last hour: both are shortened, so that a process stays as it is after minutes.
Once somebody has opened the dashboard, the last hundred thousand tasks are kept, a kilobyte of each.

Where frames are cut anew for the histories of pixels, Dask lets a gigabyte of pieces wait to be sent and
sends ten blocks at once, however little a worker has: one of 2 GB pauses for ever, or ends, before they
reach its disk.
"""

from typing import Final

_ALLOCATOR: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_PROFILER: Final = "distributed.worker.profile.enabled"

_DASK: Final = {
    _PROFILER: False,
    "distributed.p2p.comm.buffer": "32MiB",
    "distributed.p2p.comm.concurrency": 2,
    "distributed.p2p.storage.buffer": "32MiB",
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.system-monitor.log-length": 1200,  # two a second
    "distributed.scheduler.dashboard.tasks.task-stream-length": 10_000,
}

ENVIRONMENT: Final = {
    **_ALLOCATOR,
    **{
        f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": str(it)
        for name, it in _DASK.items()
    },
}
"""Variables of a worker's environment, unless it has others of these names; see mallopt(3)."""
SETTINGS: Final = {
    **{f"distributed.nanny.pre-spawn-environ.{name}": it for name, it in _ALLOCATOR.items()},
    **_DASK,
}
"""The same for workers that are started from this process, as settings of Dask."""
