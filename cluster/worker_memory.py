"""What keeps the memory of workers in use, and flat over weeks.

Operations on frames make and drop arrays of megabytes again and again.  Dask has its workers give
each of them back to the system at once, which then clears every page of the next one: a third of
the time that particles are looked for.  The variables of glibc let it keep some of it for the next
array.

Dask's own profiler keeps the call stacks of each second for an hour: a worker that is never idle
grows by more than a gigabyte, and what a unit does is seen better by ``forebay profile``.
"""

from typing import Final

_ALLOCATOR: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_PROFILER: Final = "distributed.worker.profile.enabled"

ENVIRONMENT: Final = {
    **_ALLOCATOR,
    f"DASK_{_PROFILER.replace('.', '__').upper()}": "False",
}
"""Variables of a worker's environment, unless it has others of these names; see mallopt(3)."""
SETTINGS: Final = {
    **{f"distributed.nanny.pre-spawn-environ.{name}": it for name, it in _ALLOCATOR.items()},
    _PROFILER: False,
}
"""The same for workers that are started from this process, as settings of Dask."""
