"""Use one cache from several processes, some of which are killed: ``cache_users.py FOLDER``.

Run as a program, since it forks.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.children import in_a_child

from forebay.tiering.caching.read_cache import ReadCache

CAPACITY = 20_000
USERS = 3
POINTS = ("room taken", "written", "file removed")


def content_of(number: int) -> bytes:
    """Return what an entry of that number has to be."""
    return number.to_bytes(2) * (100 + 37 * (number % 40))


def use(cache: ReadCache, seed: int, times: int) -> None:
    """Read and put entries, and compare each that is found."""
    chosen = random.Random(seed)
    for _ in range(times):
        number = chosen.randrange(60)
        found = cache.get(str(number))
        if found is None:
            cache.put(str(number), content_of(number), cost=number + 1.0)
        else:
            assert found == content_of(number)
    assert cache.used() <= CAPACITY


def killing(point: str) -> Callable[[str], None]:
    """Return what kills this process at a point."""

    def reached(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def main() -> None:
    """Let users come and go."""
    folder = Path(sys.argv[1])
    cache = ReadCache(folder, CAPACITY)
    for point in POINTS:
        users = []
        for seed in range(USERS):
            if (user := os.fork()) == 0:
                os._exit(in_a_child(lambda seed=seed: use(cache, seed, 60)))  # type: ignore[misc]
            users.append(user)
        fatal = ReadCache(folder, CAPACITY, killing(point))
        assert in_a_child(lambda at=fatal: use(at, 9, 500)) == -signal.SIGKILL  # type: ignore[misc]
        for user in users:
            assert os.waitstatus_to_exitcode(os.waitpid(user, 0)[1]) == 0
        use(cache, 5, 50)
        cache.sweep()
        there = sum(path.stat().st_size for path in folder.glob("*.bytes"))
        assert there <= cache.used() <= CAPACITY


if __name__ == "__main__":
    main()
