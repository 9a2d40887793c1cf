"""Kill a mover at each kind of point that it passes, and let another one go on each time.

Run as a program, since it forks: ``killed_mover.py FOLDER FROM TO [POINT]...``.  Every point has a process of
its own, forked from one that has imported everything and has not spoken to an object store.  It
prints the names of the points.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

# What each child would import anew.
import dask.array
import obstore
import xarray
from tests.children import in_a_child
from tests.tiering.site import GRACE, Site, points_of

from forebay.tiering.reading import mending
from forebay.tiering.url_store import UrlStore

IMPORTED = (dask.array, obstore, xarray, mending, UrlStore)


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
        assert site.lies_in(), "no tier has all of the run"
        site.check_readable(frames=2)
        site.settle()
        assert site.moves.find() == []
        if site.lies_in() != {target}:
            # Killed before it was asked for.
            site.move(target)
        assert site.lies_in() == {target}
        site.check_readable(frames=2)
        others = {"warm", "cold", "packed"} - {target}
        assert all(site.files(name) == set() for name in others), "something was left behind"


def pass_all(folder: Path, target: str, told: Path) -> None:
    """Move the run without being killed, and write down every point that is passed."""
    with Site(folder) as site:
        told.write_text("\n".join(points_of(site, target)))


def main() -> None:
    """Kill at the middle one of the points of each name."""
    folder, source, target = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    # The catalogue knows folders by their paths: each mover works in the same one.
    used, kept, told = folder / "used", folder / "kept", folder / "points"
    used.mkdir()
    assert in_a_child(lambda: prepare(used, source)) == 0
    shutil.copytree(used, kept)
    assert in_a_child(lambda: pass_all(used, target, told)) == 0
    places: dict[str, list[int]] = {}
    for place, name in enumerate(told.read_text().split("\n")):
        places.setdefault(name, []).append(place)
    wanted = sys.argv[4:] or list(places)
    for name, passed in [(name, places[name]) for name in wanted]:
        shutil.rmtree(used)
        shutil.copytree(kept, used)
        point = passed[len(passed) // 2]
        ended = in_a_child(lambda at=point: move_and_die(used, target, at))  # type: ignore[misc]
        assert ended == -signal.SIGKILL, f"at '{name}' it ended with {ended}"
        assert in_a_child(lambda: check_and_go_on(used, target)) == 0, f"killed at '{name}'"
    sys.stdout.write("\n".join(wanted))


if __name__ == "__main__":
    main()
