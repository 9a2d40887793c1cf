"""Kill a mover at every point that it passes, and let another one go on each time.

Run as a program, since it forks: ``killed_mover.py FOLDER FROM TO``.  Every point has a process of
its own, forked from one that has imported everything and has not spoken to an object store.  It
prints how many points there were.
"""

import itertools
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

# What each child would import anew.
import obstore
import xarray
from tests.tiering.site import GRACE, Site

from forebay.tiering.reading import mending
from forebay.tiering.url_store import UrlStore

IMPORTED = (obstore, xarray, mending, UrlStore)


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; return what it ended with, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (nothing of the child may go on in the parent's code)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(folder: Path, source: str) -> None:
    """Make a laboratory whose run lies in a tier."""
    with Site(folder) as site:
        site.record("water", frames=2)
        site.take_in()
        if source != "hot":
            site.move(source)


def move_and_die(folder: Path, target: str, point: int) -> None:
    """Move the run, and be killed at the point of that number."""
    points = itertools.count()

    def reached(_: str) -> None:
        if next(points) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Site(folder) as site:
        site.plan(target)
        site.mover(reached).work()
        site.pass_by(GRACE + 1)
        site.mover(reached).work()


def check_and_go_on(folder: Path, target: str) -> None:
    """See that the run is there, whole, and let another mover end what was begun."""
    with Site(folder) as site:
        assert site.lies_in() or site.moves.find(), "no tier has all of the run"
        site.check_readable(frames=2)
        site.settle()
        assert site.moves.find() == []
        if site.lies_in() != {target}:
            # Killed before it was asked for.
            site.move(target)
        assert site.lies_in() == {target}
        site.check_readable(frames=2)
        others = {"warm", "cold"} - {target}
        assert all(site.files(name) == set() for name in others), "something was left behind"


def main() -> None:
    """Kill at every point, until a mover passes all of them."""
    folder, source, target = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    made, used = folder / "made", folder / "used"
    made.mkdir()
    assert in_a_child(lambda: prepare(made, source)) == 0
    for point in itertools.count():
        shutil.rmtree(used, ignore_errors=True)
        # The catalogue knows folders by their paths: each mover works on the same one.
        made.rename(used)
        shutil.copytree(used, made, symlinks=True)
        made.rename(folder / "kept")
        used.rename(made)
        ended = in_a_child(lambda at=point: move_and_die(made, target, at))  # type: ignore[misc]
        if ended == 0:
            sys.stdout.write(f"{point}\n")
            return
        assert ended == -signal.SIGKILL, f"at point {point} it ended with {ended}"
        assert in_a_child(lambda: check_and_go_on(made, target)) == 0, f"killed at point {point}"
        shutil.rmtree(made)
        (folder / "kept").rename(made)


if __name__ == "__main__":
    main()
