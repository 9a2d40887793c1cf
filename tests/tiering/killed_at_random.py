"""Kill two movers that work on one run, at random, and let two others go on; again and again.

Run as a program, since it forks: ``killed_at_random.py FOLDER ROUNDS SEED``.  Each mover passes time
by its own clock, so that one takes the other's move for abandoned now and then.  It prints how often
movers were killed in the midst of their work.
"""

import os
import random
import signal
import sys
from pathlib import Path

# What each child would import anew.
import dask.array
import obstore
import xarray
from tests.children import in_a_child
from tests.tiering.site import GRACE, Site

from forebay.tiering.reading import mending
from forebay.tiering.url_store import UrlStore

IMPORTED = (dask.array, obstore, xarray, mending, UrlStore)
FRAMES = 9
TIERS = ("hot", "warm", "cold", "packed")
MOST_POINTS = 40
"""Points that two movers pass together before they are killed, at the most."""


def prepare(folder: Path) -> None:
    """Record the run that moves."""
    with Site(folder) as site:
        site.record("water", frames=FRAMES)
        site.take_in()


def ask(folder: Path, tier: str, since: float) -> None:
    """Ask for a move, where none is under way."""
    with Site(folder) as site:
        site.pass_by(since)
        run = site.take_in()
        if not site.moves.find() and tier not in site.lies_in_tiers(run):
            site.moves.plan(run, tier=tier, keep=False, why="a test")


def work(folder: Path, since: float, told: int) -> None:
    """Move what is to be moved, telling each point that is passed."""
    with Site(folder) as site:
        site.pass_by(since)
        mover = site.mover(lambda _: _tell(told))
        while site.moves.find():
            mover.work()
            site.pass_by(GRACE + 1)


def _tell(told: int) -> None:
    os.write(told, b".")


def mover(folder: Path, since: float, reading: int, told: int) -> int:
    """Begin a mover in a process of its own; return that process."""
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            os.close(reading)
            work(folder, since, told)
            ended = 0
        finally:
            os._exit(ended)
    return child


def killed_together(folder: Path, since: float, points: int) -> bool:
    """Kill two movers when they have passed so many points; tell whether they had not ended."""
    reading, writing = os.pipe()
    children = [mover(folder, since, reading, writing) for _ in range(2)]
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as told:
        passed = 0
        while passed < points and told.read(1):
            passed += 1
        for child in children:
            os.kill(child, signal.SIGKILL)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(ended) <= {0, -signal.SIGKILL}, f"movers ended with {ended}"
    return -signal.SIGKILL in ended


def check(folder: Path, since: float) -> None:
    """See that it is there, whole."""
    with Site(folder) as site:
        site.pass_by(since)
        assert site.lies_in_tiers(site.take_in()), "no tier has all of it"
        site.check_readable(frames=FRAMES)


def settle(folder: Path, since: float) -> None:
    """Let what was begun end, and see that nothing is left behind."""
    with Site(folder) as site:
        site.pass_by(since)
        site.settle()
        assert site.moves.find() == []
        (there,) = site.lies_in_tiers(site.take_in())
        assert all(site.files(name) == set() for name in {*TIERS[1:]} - {there})
        site.check_readable(frames=FRAMES)


def main() -> None:
    """Move the run here and there, and kill those that do it."""
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    assert in_a_child(lambda: prepare(folder)) == 0
    killed, since = 0, 0.0
    for number in range(rounds):
        # Longer than anybody holds a move who does not say that he is there.
        since += 10_000.0
        tier = chance.choice(TIERS)
        assert in_a_child(lambda: ask(folder, tier, since)) == 0  # noqa: B023
        killed += killed_together(folder, since, chance.randint(1, MOST_POINTS))
        assert in_a_child(lambda: check(folder, since)) == 0, f"after round {number}"  # noqa: B023
    assert in_a_child(lambda: settle(folder, since + 10_000.0)) == 0
    sys.stdout.write(str(killed))


if __name__ == "__main__":
    main()
