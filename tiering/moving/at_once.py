"""Doing the same with several objects at a time, within a bound of bytes."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

STREAMS = 4
"""Objects at a time."""
_IN_FLIGHT_BYTES = 256 * 2**20


def several_at_once[T](
    objects: Iterable[tuple[str, int]],
    work: Callable[[str, int], T],
    *,
    streams: int = STREAMS,
    in_flight: int = _IN_FLIGHT_BYTES,
) -> Generator[tuple[str, T]]:
    """Do something with each object, in threads, and yield what came of it as it is done.

    Once it has failed for one object, no more are begun; those that are on their way are ended,
    and yielded, before the failure is raised.  When the generator is closed, it waits for them.

    Parameters
    ----------
    objects
        Keys, and how many bytes each has.
    work
        What is done with one.
    streams
        Most objects at a time.
    in_flight
        Most bytes of objects at a time; a larger object goes alone.

    Yields
    ------
    tuple
        The key, and what `work` returned.

    Examples
    --------
    >>> list(several_at_once([("a", 3)], lambda key, size: key * size))
    [('a', 'aaa')]
    """
    remaining = iter(objects)
    following = next(remaining, None)
    running: dict[Future[T], tuple[str, int]] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(streams, "objects") as pool:
        while running or (following is not None and failure is None):
            while following is not None and failure is None and len(running) < streams:
                key, size = following
                if running and sum(each for _, each in running.values()) + size > in_flight:
                    break
                running[pool.submit(work, key, size)] = key, size
                following = next(remaining, None)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                key, _ = running.pop(each)
                if (error := each.exception()) is not None:
                    failure = failure or error
                else:
                    yield key, each.result()
    if failure is not None:
        raise failure
