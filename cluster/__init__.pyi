from .address.specification import AddressSpecification
from .errors import ClusterError
from .kubernetes.specification import KubernetesClusterSpecification
from .local.specification import LocalClusterSpecification
from .local_cuda.specification import LocalCudaClusterSpecification
from .plan import Plan
from .slurm.specification import SlurmClusterSpecification
from .specification import ClusterSpecification
from .start import connect

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
