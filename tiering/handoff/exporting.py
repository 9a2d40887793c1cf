"""Writing a closed run into a bundle: one BagIt bag that needs nothing beside it."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from types import MappingProxyType

from forebay.acquisition.plain_path import plain_path
from forebay.tiering.errors import BundleError
from forebay.tiering.handoff import bagit
from forebay.tiering.handoff.aside import fresh_aside, name_whole
from forebay.tiering.handoff.contents import Contents
from forebay.tiering.handoff.packing import Packing, packing_for

RUNS = f"{bagit.PAYLOAD}runs/"
"""Where the run lies in the payload, in a folder of its name."""
RESULTS = f"{bagit.PAYLOAD}results/"
"""Where results lie in the payload, each in a folder of its name below one of the run's name."""

_OTHER_KINDS = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")
"""Ends of names by which people mean a file that no bundle is."""


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle that was made, or the run that came out of one."""

    path: str
    """Where the bundle lies, or the run that came out of one."""
    run: str
    """The run's name."""
    run_id: str
    """The run."""
    objects: int
    """Files of the payload."""
    bytes: int
    """Their length."""


def export_run(
    contents: Contents,
    bundle: str | os.PathLike[str],
    *,
    results: Mapping[str, Callable[[], bytes]] = MappingProxyType({}),
    on_object: Callable[[str], None] = lambda _key: None,
) -> Bundled:
    """Write a run into a bundle, which has its name when all of it is durable.

    Parameters
    ----------
    contents
        The run.
    bundle
        The bag's folder, or a tar file if the name ends in ``.tar``; there must be nothing yet.
    results
        Gives the files of results that go along, by the result's name and the path within it.
    on_object
        Called after each object, to show progress: tests end it there.

    Returns
    -------
    Bundled
        What was made.

    Raises
    ------
    TargetTakenError
        If there is something of that name.
    HandoffBusyError
        If another process is making it.
    RunDamagedError
        If an object of the run is missing or has changed.
    StorageError
        If the bundle cannot be written.

    Notes
    -----
    The format is that of RFC 8493, *The BagIt File Packaging Format (V1.0)*, 2018.
    """
    path = plain_path(bundle)
    if not path.name:
        raise BundleError(f"{bundle} cannot be a bundle: give the name of a folder to be made")
    if path.suffix.casefold() in _OTHER_KINDS:
        raise BundleError(
            f"{bundle} would be a folder of that name: a bundle is a folder, or a tar file that is "
            "not compressed; give a name that ends in '.tar', or none such"
        )
    with fresh_aside(path, contents.run.run_id) as aside:
        packing = packing_for(path, aside)
        files: dict[str, Callable[[], bytes]] = {
            **{
                f"{RUNS}{contents.name}/{key}": partial(contents.read, key)
                for key in contents.objects
            },
            **{f"{RESULTS}{contents.name}/{name}": read for name, read in results.items()},
        }
        bagit.check_paths(files, where=str(path))
        digests: dict[str, str] = {}
        size = 0
        for name, read in files.items():
            content = read()
            digests[name] = hashlib.sha512(content).hexdigest()
            packing.put(name, content)
            size += len(content)
            on_object(name)
        _put_tags(packing, contents, digests, size)
        made = packing.finish()
        on_object(bagit.manifest_name(bagit.ALGORITHM))
        name_whole(made, path)
    run = contents.run
    return Bundled(str(path), contents.name, run.run_id, len(digests), size)


def _put_tags(packing: Packing, contents: Contents, digests: dict[str, str], size: int) -> None:
    """Put the files that make a bag of the payload."""
    run = contents.run
    info = {
        "Bag-Software-Agent": f"forebay {version('forebay')}",
        "Bagging-Date": datetime.now(UTC).date().isoformat(),
        "External-Identifier": run.run_id,
        "External-Description": f"run {run.name}, {run.history.frames} frames",
        "Payload-Oxum": f"{size}.{len(digests)}",
    }
    files = {
        bagit.DECLARATION: bagit.declaration(),
        bagit.INFO: bagit.tags(info),
        bagit.manifest_name(bagit.ALGORITHM): bagit.manifest(digests),
    }
    tagged = {name: hashlib.sha512(content).hexdigest() for name, content in files.items()}
    files[bagit.manifest_name(bagit.ALGORITHM, tags=True)] = bagit.manifest(tagged)
    for name, content in files.items():
        packing.put(name, content)
