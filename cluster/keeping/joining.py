"""Joining a cluster that runs, by what it has written of itself, or starting one if none does."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.address.start import join
from forebay.cluster.keeping.place import (
    Place,
    Record,
    passing_place,
    remove,
    standing_place,
)

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def join_standing(place: Place, record: Record) -> Iterator["Client"]:
    """Join a cluster that runs; it goes on after the block.

    Raises
    ------
    ClusterError
        If it does not answer, or runs other versions.
    """
    specification = AddressSpecification(
        address=record.address,
        ca_file=place.ca_file if record.tls else None,
        cert_file=place.ca_file if record.tls else None,
        key_file=place.key_file if record.tls else None,
    )
    with join(specification) as client:
        yield client


@contextmanager
def joined_or_started(
    folder: Path, name: str, start: Callable[[Place], AbstractContextManager["Client"]]
) -> Iterator["Client"]:
    """Join the cluster that runs by a name, or start one for the block.

    Parameters
    ----------
    folder
        Where running clusters have their folders.
    name
        What the cluster is called.
    start
        Starts one, given the folder that it has for as long as it runs.

    Raises
    ------
    ClusterError
        If it does not answer, runs other versions, or cannot be started.
    """
    place = standing_place(folder, name)
    if (record := place.read()) is not None:
        with join_standing(place, record) as client:
            yield client
        return
    place = passing_place(folder, name)
    try:
        with start(place) as client:
            yield client
    finally:
        remove(place)
