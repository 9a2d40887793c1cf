"""Taking a run out of a bundle: nothing of it is seen before all of it is there and compared."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from blake3 import blake3

from forebay.acquisition import durable
from forebay.acquisition.errors import RunNameError
from forebay.acquisition.format.layout import METADATA, check_run_name
from forebay.acquisition.plain_path import plain_path
from forebay.errors import ForebayError
from forebay.tiering.errors import BundleDamagedError, BundleError
from forebay.tiering.handoff.aside import flush_below, fresh_aside, name_whole
from forebay.tiering.handoff.bag import Bag, check_bag, read_bag
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.exporting import RESULTS, RUNS, Bundled
from forebay.tiering.handoff.unpacking import files_of
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import of_this_place

type TakeResults = Callable[[Bundled, Mapping[str, Callable[[], Iterator[bytes]]]], None]
"""Takes results in, given their run and, by name and path, what yields the bytes of their files."""


def import_run(
    bundle: str | os.PathLike[str],
    root: str | os.PathLike[str],
    *,
    take_results: TakeResults | None = None,
    on_object: Callable[[str], None] = lambda _key: None,
) -> Bundled:
    """Put the run of a bundle into a folder of runs.

    Each file is compared with its digest on the way, flushed, and the run then read once more from
    where it was put and compared with its own log.  Only then has it its name.

    Parameters
    ----------
    bundle
        A folder or a tar file.
    root
        The folder of runs.
    take_results
        Takes in the results that go along with the run, once that is there; it may be called with
        the same ones again.  They are left out if not given.
    on_object
        Called after each object, to show progress: tests end it there.

    Returns
    -------
    Bundled
        The run, and where it lies now.

    Raises
    ------
    BundleError
        If it is no bundle of one run.
    BundleDamagedError
        If it lacks something, holds too much, or has changed.
    TargetTakenError
        If there is something of the run's name.
    HandoffBusyError
        If another process imports it.
    PlaceUnavailableError, StorageError
        If the folder of runs cannot be used.
    """
    with files_of(plain_path(bundle)) as files:
        bag = read_bag(files)
        if problems := list(bag.incomplete()):
            more = f" ({len(problems)} problems in all)" if problems[1:] else ""
            raise BundleDamagedError(f"{problems[0]}{more}: get the bundle once more")
        name, run_id = _run_in(bag)
        target = plain_path(root) / name
        results = {path: path.removeprefix(f"{RESULTS}{name}/") for path in _results_in(bag)}
        paths = [path for path in bag.paths if path not in results]
        size = sum(bag.files.sizes[path] for path in bag.paths)
        made = Bundled(str(target), name, run_id, len(bag.paths), size)
        if not (results and _is_there(bag, paths, target, run_id)):
            with fresh_aside(target, run_id) as aside:
                put = aside / name
                _copy(bag, paths, f"{RUNS}{name}/", put, on_object)
                _check_run(put, run_id, len(paths), bag.files.where)
                with durable.storage_errors(str(put)):
                    flush_below(put)
                on_object(METADATA)
                name_whole(put, target)
        if take_results is not None and results:
            take_results(made, {name: partial(bag.parts, path) for path, name in results.items()})
        return made


def check_bundle(bundle: str | os.PathLike[str]) -> list[str]:
    """Return everything that is wrong with a bundle, in a sentence each, reading all of it.

    Parameters
    ----------
    bundle
        A folder or a tar file.

    Raises
    ------
    BundleError
        If it is no bundle of one run.
    BundleDamagedError
        If it cannot even be told what it should hold.
    """
    with files_of(plain_path(bundle)) as files:
        bag = read_bag(files)
        # What is incomplete is damage, as it is for who imports it: no run can be told from that.
        if not any(bag.incomplete()):
            _run_in(bag)
        return list(check_bag(bag))


def _run_in(bag: Bag) -> tuple[str, str]:
    """Return the name of the one run in a bag, and its identity."""
    where = bag.files.where
    names = set()
    results = set(_results_in(bag))
    for path in bag.paths:
        if path in results:
            continue
        name, _, key = path.removeprefix(RUNS).partition("/")
        if not path.startswith(RUNS) or not key:
            raise BundleError(f"{where} holds {path!r}, which is no part of a run in {RUNS}")
        if of_this_place(key):
            raise BundleDamagedError(
                f"{where} holds {path!r}, which says of a run where it lies, and never leaves its "
                "folder"
            )
        names.add(name)
    if len(names) != 1:
        raise BundleError(f"{where} holds {len(names)} runs; a bundle holds one")
    (name,) = names
    try:
        check_run_name(name)
    except RunNameError as error:
        raise BundleDamagedError(f"{where} holds {RUNS}{name}, and {error}") from error
    for path in results:
        if not path.startswith(f"{RESULTS}{name}/"):
            raise BundleError(f"{where} holds {path!r}, which is no result of the run {name!r}")
    document = f"{RUNS}{name}/{METADATA}"
    if document not in bag.paths:
        raise BundleError(f"{where} holds no run: {document!r} is not in it")
    try:
        content = json.loads(b"".join(bag.parts(document)))
        return name, str(uuid.UUID(content["attributes"]["forebay"]["run_id"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleDamagedError(f"{where}: {document!r} does not say what run it is") from error


def _results_in(bag: Bag) -> list[str]:
    return [path for path in bag.paths if path.startswith(RESULTS)]


def _is_there(bag: Bag, paths: Sequence[str], target: Path, run_id: str) -> bool:
    """Tell whether the run of a bundle is at its place already, every byte of it."""
    if not target.is_dir():
        return False
    try:
        there = contents_of(target)
    except ForebayError:
        return False
    if there.run.run_id != run_id or len(there.objects) != len(paths):
        return False
    for path in paths:
        digest, size = blake3(), 0
        for part in bag.parts(path):
            digest.update(part)
            size += len(part)
        key = path.removeprefix(RUNS).partition("/")[2]
        if there.objects.get(key) != KnownObject(size, str(digest.hexdigest())):
            return False
    return True


def _copy(
    bag: Bag,
    paths: Sequence[str],
    prefix: str,
    made: Path,
    on_object: Callable[[str], None],
) -> None:
    for path in paths:
        key = path.removeprefix(prefix)
        target = made / key
        with durable.storage_errors(str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            durable.write_aside(target, bag.parts(path))
        on_object(key)


def _check_run(made: Path, run_id: str, objects: int, where: str) -> None:
    """Read a run that was put down and compare it with its log."""
    contents = contents_of(made)
    if contents.run.run_id != run_id:
        raise BundleDamagedError(
            f"{where} says that it holds the run {run_id}, and its log is of {contents.run.run_id}"
        )
    problems = contents.run.verify().problems
    if problems or len(contents.objects) != objects:
        what = problems[0].what if problems else "it holds objects that belong to no run"
        told = what.replace(f"{made}/", "")
        raise BundleDamagedError(f"{where} holds a run that is not as it was committed: {told}")
