"""Results that are sent along with their run: what each consists of, and where it goes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from forebay.acquisition import durable
from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.handoff.aside import held_folder
from forebay.tiering.handoff.destination import Destination, lie_on
from forebay.tiering.handoff.receipt import MANIFEST, RECEIPT, manifest_objects
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import HANDOFF
from forebay.tiering.storage.shelf import Shelf

HANDED = f"{HANDOFF}results/"
"""Where results lie, in the run that they came with, each in a folder of its name."""


@dataclass(frozen=True, slots=True)
class ResultContents:
    """The objects of a result."""

    name: str
    """The name of its folder."""
    run_id: str
    """The run that it is of."""
    objects: Mapping[str, KnownObject]
    """What each object is, by its path in the folder."""
    bytes_of: Callable[[str], bytes | None] = field(repr=False)
    """Gives the bytes of an object, from whichever tier has it."""

    @property
    def size(self) -> int:
        """Length of all of them."""
        return sum(each.bytes for each in self.objects.values())

    def read(self, key: str) -> bytes:
        """Return an object, compared with what it is known as.

        Raises
        ------
        CopyDamagedError
            If it is missing or has changed.
        """
        content = self.bytes_of(key)
        found = None if content is None else KnownObject(len(content), blake3(content).hexdigest())
        if content is None or found != self.objects[key]:
            raise CopyDamagedError(
                f"{key} of the result {self.name} is missing, or has changed since it was published"
            )
        return content


class Ledger(Protocol):
    """What results are entered in at the place that they are sent to."""

    def has(self, result: ResultContents) -> bool:
        """Tell whether everything of a result is entered."""

    def enter(self, files: Mapping[str, Callable[[], Iterator[bytes]]]) -> None:
        """Take a result in, given the bytes of its files by ``RESULT/PATH``; it may be repeated."""


def handed_over(run: Shelf) -> dict[str, ResultContents]:
    """Return the results that were sent along with a run and lie with it, by their names.

    Parameters
    ----------
    run
        The place of the run.
    """
    end = f"/{RECEIPT}"
    names = [
        key.removeprefix(HANDED).removesuffix(end)
        for key in run.sizes()
        if key.startswith(HANDED) and key.endswith(end)
    ]
    found = {}
    for name in sorted(names):
        shelf = _with_run(run, name)
        content = shelf.read(MANIFEST)
        if content is None:
            raise CopyDamagedError(f"{shelf.where}/{MANIFEST} is missing: have it sent once more")
        run_id, objects = manifest_objects(content, where=f"{shelf.where}/{MANIFEST}")
        found[name] = ResultContents(name, run_id, objects, shelf.read)
    return found


def destination_of_result(
    result: ResultContents, destination: Destination, ledger: Ledger | None
) -> Destination:
    """Return where a result goes when its run has come.

    Parameters
    ----------
    result
        The result.
    destination
        Where the run lies.
    ledger
        What it is entered in; without one it stays with the run as it was sent.
    """
    run = destination.shelf
    if ledger is None or run.folder is None:
        return _WithRun(_with_run(run, result.name))
    return _AmongResults(_with_run(run, result.name), result, ledger)


class _WithRun:
    """A result in an object store: it stays with its run, as it was sent."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def refuse_other(self, run_id: str, manifest: bytes) -> None:
        """Refuse nothing: what was sent of the same result before is replaced."""

    def holds(self, objects: Mapping[str, KnownObject]) -> bool:
        """Tell whether all of that is there, by its lengths."""
        return lie_on(self.shelf, objects)

    @contextmanager
    def making(self, identity: str, manifest: bytes) -> Iterator[Shelf]:  # noqa: ARG002
        """Give where the objects are put."""
        _begin(self.shelf, manifest)
        yield self.shelf


class _AmongResults:
    """A result in a folder of runs: it is put aside, and entered when all of it has come."""

    def __init__(self, shelf: Shelf, result: ResultContents, ledger: Ledger) -> None:
        self.shelf = shelf
        self._result = result
        self._ledger = ledger

    def refuse_other(self, run_id: str, manifest: bytes) -> None:
        """Refuse nothing: what the ledger there has of the result already stays."""

    def holds(self, objects: Mapping[str, KnownObject]) -> bool:  # noqa: ARG002
        """Tell whether all of the result is entered there."""
        return self._ledger.has(self._result)

    @contextmanager
    def making(self, identity: str, manifest: bytes) -> Iterator[Shelf]:  # noqa: ARG002
        """Give where the objects are put; when the block has ended, they are entered."""
        folder = self.shelf.folder or Path()
        with durable.storage_errors(str(folder)):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with held_folder(folder.with_name(f".{folder.name}")) as aside:
            path = f"{self.shelf.path.rpartition('/')[0]}/{aside.name}"
            shelf = replace(self.shelf, path=path, where=str(aside), folder=aside)
            _begin(shelf, manifest)
            yield shelf
            name = self._result.name
            self._ledger.enter(
                {f"{name}/{key}": partial(_in_one, shelf, key) for key in self._result.objects}
            )
            self.shelf.put(MANIFEST, manifest)


def _begin(shelf: Shelf, manifest: bytes) -> None:
    """Put the manifest, and remove what is left there of another one."""
    if shelf.read(MANIFEST) == manifest:
        return
    _, objects = manifest_objects(manifest, where=shelf.where)
    others = [key for key in shelf.sizes() if key not in objects]
    shelf.delete([RECEIPT, *others])
    shelf.put(MANIFEST, manifest)


def _in_one(shelf: Shelf, key: str) -> Iterator[bytes]:
    content = shelf.read(key)
    if content is None:
        raise CopyDamagedError(f"{shelf.where}/{key} has gone since it was read back")
    yield content


def _with_run(run: Shelf, name: str) -> Shelf:
    """Return the place of a result within that of the run that it came with."""
    below = f"{HANDED}{name}"
    return replace(
        run,
        path=f"{run.path}/{below}",
        where=f"{run.where}/{below}",
        folder=None if run.folder is None else run.folder / below,
    )
