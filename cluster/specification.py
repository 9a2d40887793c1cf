"""What a cluster is to be: one frozen model for each kind, told apart by ``kind``."""

from typing import Annotated

from pydantic import Field

from forebay.cluster.address.specification import AddressSpecification
from forebay.cluster.aws.specification import (
    Ec2ClusterSpecification,
    FargateClusterSpecification,
)
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.local.specification import LocalClusterSpecification
from forebay.cluster.local_cuda.specification import LocalCudaClusterSpecification
from forebay.cluster.slurm.specification import SlurmClusterSpecification

ClusterSpecification = Annotated[
    LocalClusterSpecification
    | LocalCudaClusterSpecification
    | SlurmClusterSpecification
    | Ec2ClusterSpecification
    | FargateClusterSpecification
    | KubernetesClusterSpecification
    | AddressSpecification,
    Field(discriminator="kind"),
]
"""Any kind of cluster, as it stands in the configuration: a new kind is a line here."""
