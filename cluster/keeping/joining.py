"""Joining a cluster that runs, by what it has written of itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.address.start import join
from forebay.cluster.keeping.place import Place, Record

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
