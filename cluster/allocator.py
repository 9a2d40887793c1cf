"""How workers keep the memory that they have freed.

Operations on frames make and drop arrays of megabytes again and again.  Dask has its workers give
each of them back to the system at once, which then clears every page of the next one: a third of
the time that particles are looked for.  These let glibc keep some of it for the next array.
"""

from typing import Final

ENVIRONMENT: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
"""Variables of a worker's environment, unless it has others of these names; see mallopt(3)."""
SETTINGS: Final = {
    f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()
}
"""The same for workers that are started from this process, as settings of Dask."""
