"""Cluster specifications, and running Dask clusters made from them."""

from forebay.cluster.errors import ClusterError
from forebay.cluster.specification import (
    AddressSpecification,
    ClusterSpecification,
    LocalClusterSpecification,
)
from forebay.cluster.start import connect

__all__ = [
    "AddressSpecification",
    "ClusterError",
    "ClusterSpecification",
    "LocalClusterSpecification",
    "connect",
]
