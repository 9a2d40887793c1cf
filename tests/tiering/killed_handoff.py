"""Kill an export, an import or a transfer at each kind of point that it passes, and do it again.

Run as a program, since it forks: ``killed_handoff.py FOLDER``.  It prints what was killed where.
"""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.children import in_a_child
from tests.tiering.site import Site
from tests.tiering.test_results import LISTED
from tests.tiering.test_results_sent import send

from forebay.engine import open_result, process
from forebay.opening import open_run
from forebay.tiering.errors import TargetTakenError
from forebay.tiering.handoff import aside
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.destination import FolderDestination
from forebay.tiering.handoff.exporting import export_run
from forebay.tiering.handoff.importing import check_bundle, import_run
from forebay.tiering.handoff.sending import Transfer

type Reached = Callable[[str], None]


def prepare(folder: Path) -> None:
    """Make a run, a result of it, and a bundle of the run."""
    with Site(folder) as site:
        process(open_run(site.record("water", frames=2)), LISTED)
        export_run(contents_of(site.runs / "water"), folder / "given")


def export(folder: Path, reached: Reached) -> None:
    """Write the run into a folder."""
    export_run(contents_of(folder / "runs" / "water"), folder / "to" / "water", on_object=reached)


def export_tar(folder: Path, reached: Reached) -> None:
    """Write the run into a tar file."""
    target = folder / "to" / "water.tar"
    export_run(contents_of(folder / "runs" / "water"), target, on_object=reached)


def take_in(folder: Path, reached: Reached) -> None:
    """Put the run of the bundle into another folder."""
    import_run(folder / "given", folder / "to", on_object=reached)


def transfer(folder: Path, reached: Reached) -> None:
    """Send the run to another folder."""
    contents = contents_of(folder / "runs" / "water")
    destination = FolderDestination(folder / "to", "water")
    Transfer(contents, destination, contents.own_shelf, streams=1, reached=reached).run()


def transfer_result(folder: Path, reached: Reached) -> None:
    """Send the run to another folder, and its result behind it."""
    (result,) = (folder / "runs" / "results" / "water").iterdir()
    results = [open_result(result)]
    send(folder / "runs" / "water", folder / "to", results, streams=1, reached=reached)


WAYS = (export, export_tar, take_in, transfer, transfer_result)


def die_at(number: int) -> Reached:
    """Return what ends the process at the point of that number."""
    points = itertools.count()

    def reached(_: str) -> None:
        if next(points) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def named_first(reached: Reached) -> None:
    """Pass a point behind the moment when a target has its name, too."""
    plain = aside.name_whole

    def name_whole(made: Path, target: Path) -> None:
        reached("before the name")
        plain(made, target)
        reached("behind the name")

    for module in ("exporting", "importing", "destination"):
        sys.modules[f"forebay.tiering.handoff.{module}"].name_whole = name_whole  # type: ignore[attr-defined]


def go(folder: Path, way: Callable[[Path, Reached], None], reached: Reached) -> None:
    """Do it, passing all points."""
    named_first(reached)
    way(folder, reached)


def look(folder: Path, way: Callable[[Path, Reached], None]) -> None:
    """See that there is nothing, or all of it; do it again; see that there is all of it."""
    to = folder / "to"

    def is_whole() -> bool:
        seen = [each for each in to.iterdir() if not each.name.startswith((".", "results"))]
        for each in seen:
            if way in (export, export_tar):
                assert check_bundle(each) == []
            else:
                assert open_run(each).verify().ok
        return bool(seen)

    there = is_whole()
    try:
        way(folder, lambda _: None)
    except TargetTakenError:
        assert there, "something that is not whole is in the way"
    assert is_whole()
    left = [*to.glob(".*"), *to.glob("water/_forebay/handoff/results/.*")]
    assert left == [], f"{left} were left behind"
    if way is transfer_result:
        (result,) = (to / "results" / "water").iterdir()
        assert len(open_result(result).table()) == 2


def main() -> None:
    """Kill at one of the points of each name, the one in the middle."""
    folder = Path(sys.argv[1])
    assert in_a_child(lambda: prepare(folder)) == 0
    told = folder / "points"

    def note(point: str) -> None:
        with told.open("a") as file:
            # One object is like another one.
            file.write(f"{'object' if '/' in point or point.endswith('.json') else point}\n")

    for way in WAYS:
        told.unlink(missing_ok=True)
        (folder / "to").mkdir()
        assert in_a_child(lambda way=way: go(folder, way, note)) == 0  # type: ignore[misc]
        places: dict[str, list[int]] = {}
        for place, name in enumerate(told.read_text().splitlines()):
            places.setdefault(name, []).append(place)
        for name, passed in places.items():
            shutil.rmtree(folder / "to")
            (folder / "to").mkdir()
            shutil.rmtree(folder / "runs" / "water" / "_forebay" / "handoff", ignore_errors=True)
            die = die_at(passed[len(passed) // 2])
            ended = in_a_child(lambda way=way, die=die: go(folder, way, die))  # type: ignore[misc]
            assert ended == -signal.SIGKILL, f"{way.__name__} at '{name}' ended with {ended}"
            where = f"{way.__name__} killed at '{name}'"
            assert in_a_child(lambda way=way: look(folder, way)) == 0, where  # type: ignore[misc]
            sys.stdout.write(f"{way.__name__}: {name}\n")
        shutil.rmtree(folder / "to")


if __name__ == "__main__":
    main()
