"""What would be made on Kubernetes, word for word, and what is missing; nothing is made."""

import asyncio
import re
import shutil

from forebay.cluster.errors import ClusterError
from forebay.cluster.kubernetes.commands import MISSING, kubectl
from forebay.cluster.kubernetes.owner import Owner, start_name
from forebay.cluster.kubernetes.resources import (
    as_json,
    as_yaml,
    cluster,
    secret,
    worker_group,
)
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification
from forebay.cluster.plan import Plan

_MARK = "000000"
_SITE = "of-this-site"
_OF_A_START = "made at each start"


def plan(specification: KubernetesClusterSpecification, name: str) -> Plan:
    """Return the resources of a cluster with one worker, and what is missing for them."""
    each = specification
    facts = (
        ("namespace", each.namespace),
        ("context", each.context or "kubectl's current one"),
        ("image", each.image),
        ("workers", f"{each.minimum_workers} to {each.maximum_workers}"),
        ("threads of a worker", str(each.threads_per_worker)),
        ("CPUs of a worker", f"{each.cpu:g}"),
        ("memory of a worker", f"{each.memory / 2**30:.3g} GiB"),
        ("GPUs of a worker", str(each.gpus)),
        ("volumes", ", ".join(f"{claim} at {path}" for claim, path in each.claims.items()) or "-"),
        *each.larger_facts(f"{(each.memory_ceiling or 0) / 2**30:.3g} GiB"),
        *each.money(name),
    )
    shown, problems = "", []
    try:
        owner = Owner(name, _SITE, start_name(name, _MARK))
        made = [
            secret(each, owner, _OF_A_START, _OF_A_START),
            cluster(each, owner),
            worker_group(each, owner, f"{owner.start}-1", f"{name}.1"),
        ]
        if (larger := each.larger()) is not None:
            group = f"{owner.start}-l1"
            made.append(worker_group(larger, owner, group, f"{name}-larger.1", larger=True))
        shown = as_yaml(made)
        if shutil.which("kubectl") is None:
            raise ClusterError(MISSING)
        # A secret of this type has to hold a certificate, which there is none of yet.
        asyncio.run(kubectl(each, "create", "--dry-run=server", "-f", "-", given=as_json(made[1:])))
    except ClusterError as error:
        problems.append(_advice(each, str(error)))
    return Plan(
        facts,
        submitted=shown,
        problems=tuple(problems),
        workers=(each.minimum_workers, each.maximum_workers),
        cost_per_worker_hour=each.cost_per_worker_hour,
    )


def _advice(specification: KubernetesClusterSpecification, said: str) -> str:
    """Add what to do to what Kubernetes says."""
    if re.search(r"no matches for kind|doesn't have a resource type", said):
        return (
            f"Kubernetes has no Dask operator ({said}): let its administrator install it, "
            "'helm install --repo https://helm.dask.org --create-namespace -n dask-operator "
            "--generate-name dask-kubernetes-operator'"
        )
    if "namespaces" in said and "not found" in said:
        return f"there is no namespace {specification.namespace!r} ({said}): name another one"
    if "forbidden" in said.lower():
        return (
            f"Kubernetes does not allow it ({said}): ask its administrator for the right to make "
            "daskclusters, daskworkergroups and secrets, and to forward ports, in that namespace"
        )
    if re.search(
        r"context .* does not exist|connect to the server|dial tcp|was refused|reading input|"
        r"invalid configuration",
        said,
    ):
        return (
            f"kubectl does not reach a Kubernetes ({said}): set KUBECONFIG, or context to one of "
            "'kubectl config get-contexts'"
        )
    return said
