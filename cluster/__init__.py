"""Cluster specifications, and running Dask clusters made from them."""

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.errors import ClusterError
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.local.specification import LocalClusterSpecification
from forebay.cluster.local_cuda.specification import LocalCudaClusterSpecification
from forebay.cluster.plan import Plan
from forebay.cluster.slurm.specification import SlurmClusterSpecification
from forebay.cluster.specification import ClusterSpecification
from forebay.cluster.start import connect

__all__ = [
    "AddressSpecification",
    "ClusterError",
    "ClusterSpecification",
    "KubernetesClusterSpecification",
    "LocalClusterSpecification",
    "LocalCudaClusterSpecification",
    "Plan",
    "SlurmClusterSpecification",
    "connect",
]
