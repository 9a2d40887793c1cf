"""Workers that are forked from a process that has imported what they need.

A worker that is spawned imports everything anew, which takes seconds of a processor for each one,
and again for each that takes the place of one that died.  The process that they are forked from
does nothing but import: it has no threads, no open files and no data.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_SETTINGS = {
    "distributed.worker.multiprocessing-method": "forkserver",
    # Who has threads had better not fork, and Arrow's allocator has one of its own.
    "distributed.nanny.pre-spawn-environ.JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_FIRST = ("forebay.cluster.local.forked", "distributed.nanny", "distributed.worker")


@contextmanager
def forked_workers(modules: Sequence[str]) -> Iterator[None]:
    """Let the workers that are started in the block be forked.

    Parameters
    ----------
    modules
        What they find imported.  It counts for the first block of a process; those after it are
        forked from the same one.
    """
    import dask
    from distributed.utils import get_mp_context

    with dask.config.set(_SETTINGS):
        # Asked first, for it puts down modules of its own choice.
        context: Any = get_mp_context()  # type: ignore[no-untyped-call]
        context.set_forkserver_preload([*_FIRST, *modules])
        yield
