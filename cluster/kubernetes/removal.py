"""Removing what a start of a cluster has made on Kubernetes."""

from forebay.cluster.errors import ClusterError
from forebay.cluster.kubernetes.commands import kubectl
from forebay.cluster.kubernetes.owner import START_LABEL
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification

CLUSTERS = "daskclusters.kubernetes.dask.org"
"""The resources of schedulers."""
GROUPS = "daskworkergroups.kubernetes.dask.org"
"""The resources of workers."""


async def remove_start(
    specification: KubernetesClusterSpecification, name: str, start: str, option: str
) -> None:
    """Remove all resources of a start; the pods go with them.

    Parameters
    ----------
    specification
        What the cluster is.
    name
        What it is called.
    start
        What the start is called.
    option
        Of ``kubectl delete``: how long it waits.

    Raises
    ------
    ClusterError
        If Kubernetes does not do it.
    """
    words = ("delete", f"{CLUSTERS},{GROUPS},secrets", f"--selector={START_LABEL}={start}")
    try:
        await kubectl(specification, *words, option)
    except ClusterError as error:
        raise ClusterError(
            f"what the cluster {name} has made is left on Kubernetes ({error}): remove it "
            f"with 'kubectl {' '.join(words)} -n {specification.namespace}'"
        ) from error
