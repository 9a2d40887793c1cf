"""Kill a mover at each kind of point that it passes, and let another one go on each time.

Run as a program, since it forks: ``killed_mover.py WHAT FOLDER FROM TO [POINT]...``, where what moves
is a ``run`` or a ``result``.  Every point has a process of
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
from tests.tiering.test_results import LISTED

from forebay.engine import open_result, process
from forebay.opening import open_run
from forebay.tiering.catalogue.records import Kind, RunRecord
from forebay.tiering.reading import mending
from forebay.tiering.url_store import UrlStore

IMPORTED = (dask.array, obstore, xarray, mending, UrlStore)


WHAT = sys.argv[1]
"""What moves."""


def subject(site: Site) -> RunRecord:
    """Return the run, or the volume of its result."""
    run = site.take_in()
    return next((each for each in site.catalogue.runs() if each.kind is Kind.RESULT), run)


def move(site: Site, tier: str) -> None:
    """Move it, and let the grace pass."""
    site.moves.plan(subject(site), tier=tier, keep=False, why="a test")
    site.settle()


def check_readable(site: Site) -> None:
    """Read what can be read, and compare all of it."""
    site.check_readable(frames=2)
    if WHAT == "result":
        (path,) = (site.runs / "results" / "water").iterdir()
        assert list(open_result(path).table()["mean"]) == [0, 1]


def prepare(folder: Path, source: str) -> None:
    """Make a laboratory whose run, or result, lies in a tier."""
    with Site(folder) as site:
        water = site.record("water", frames=2)
        if WHAT == "result":
            process(open_run(water), LISTED, ledger=folder / "ledger.sqlite")
            site.volumes().take_in()
        if source != "hot":
            move(site, source)


def move_and_die(folder: Path, target: str, point: int) -> None:
    """Move it, and be killed at the point of that number."""
    points = itertools.count()

    def reached(_: str) -> None:
        if next(points) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Site(folder) as site:
        site.moves.plan(subject(site), tier=target, keep=False, why="a test")
        site.mover(reached).work()
        site.pass_by(GRACE + 1)
        site.mover(reached).work()


def check_and_go_on(folder: Path, target: str) -> None:
    """See that it is there, whole, and let another mover end what was begun."""
    with Site(folder) as site:
        moving = subject(site)
        assert site.lies_in_tiers(moving), "no tier has all of it"
        check_readable(site)
        site.settle()
        assert site.moves.find() == []
        if site.lies_in_tiers(moving) != {target}:
            # Killed before it was asked for.
            move(site, target)
        assert site.lies_in_tiers(moving) == {target}
        check_readable(site)
        others = {"warm", "cold", "packed"} - {target}
        assert all(site.files(name) == set() for name in others), "something was left behind"


def pass_all(folder: Path, target: str, told: Path) -> None:
    """Move it without being killed, and write down every point that is passed."""
    with Site(folder) as site:
        told.write_text("\n".join(points_of(site, subject(site), target)))


def main() -> None:
    """Kill at the middle one of the points of each name."""
    folder, source, target = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    # The catalogue knows folders by their paths: each mover works in the same one.
    used, kept, told = folder / "used", folder / "kept", folder / "points"
    used.mkdir()
    assert in_a_child(lambda: prepare(used, source)) == 0
    shutil.copytree(used, kept)
    assert in_a_child(lambda: pass_all(used, target, told)) == 0
    places: dict[str, list[int]] = {}
    for place, name in enumerate(told.read_text().split("\n")):
        places.setdefault(name, []).append(place)
    wanted = sys.argv[5:] or list(places)
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
