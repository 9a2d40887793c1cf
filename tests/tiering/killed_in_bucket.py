"""Kill a mover of runs that were recorded into a bucket, and let another one go on each time.

Run as a program, since it forks: ``killed_in_bucket.py FOLDER URL FROM TO POINT...``, where one of
the two tiers is ``cold``, which is the bucket.  Every point has a run, a catalogue and processes of
its own, forked from one that has imported everything and has not spoken to an object store.
"""

import os
import signal
import sys
from pathlib import Path

# What each child would import anew.
import dask.array
import obstore
import xarray
from tests.children import in_a_child
from tests.tiering.site import GRACE, Site

from forebay.tiering.homes.home import home_of
from forebay.tiering.reading import mending
from forebay.tiering.scan import scan
from forebay.tiering.url_store import UrlStore

IMPORTED = (dask.array, obstore, xarray, mending, UrlStore)
FRAMES = 2


def laboratory(folder: Path, url: str) -> Site:
    """Return a laboratory whose cold tier is a prefix of the bucket, with a run in there."""
    site = Site(folder, cold=f"{url}/{folder.name}")
    site.in_buckets["water"] = site.tiers["cold"].where("runs/water")
    return site


def move_and_die(folder: Path, url: str, source: str, target: str, point: str) -> None:
    """Record a run, move it, and be killed at the first point of that name."""

    def reached(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    folder.mkdir()
    with laboratory(folder, url) as site:
        site.record_in("cold", frames=FRAMES)
        if source != "cold":
            site.move(source)
        site.plan(target)
        site.mover(reached).work()
        site.pass_by(GRACE + 1)
        site.mover(reached).work()


def check_and_go_on(folder: Path, url: str, target: str) -> None:
    """See that it is there, whole, and let another mover end what was begun."""
    with laboratory(folder, url) as site:
        assert site.lies_in(), "no tier has all of it"
        site.check_readable(frames=FRAMES)
        site.settle()
        assert site.moves.find() == []
        if site.lies_in() != {target}:
            # Killed before it was asked for.
            site.move(target)
        assert site.lies_in() == {target}
        site.check_readable(frames=FRAMES)
        at_home = home_of(site.tiers, site.take_in()).stored()
        assert all(key.startswith("_forebay/") for key in at_home), "its home was not left"
        assert scan(site.catalogue, site.tiers, repair=False).agrees


def main() -> None:
    """Kill at each of the points."""
    folder, url, source, target = Path(sys.argv[1]), *sys.argv[2:5]
    for number, name in enumerate(sys.argv[5:]):
        used = folder / f"at-{number}"
        ended = in_a_child(
            lambda at=used, name=name: move_and_die(at, url, source, target, name)  # type: ignore[misc]
        )
        assert ended == -signal.SIGKILL, f"at '{name}' it ended with {ended}"
        ended = in_a_child(lambda at=used: check_and_go_on(at, url, target))  # type: ignore[misc]
        assert ended == 0, f"killed at '{name}'"


if __name__ == "__main__":
    main()
