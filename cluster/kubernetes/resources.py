"""The resources of a cluster: its certificate, its scheduler, and a group for each worker.

The Dask operator makes deployments and services of them.  It would choose by itself which pod of a
group ends when the group shrinks; so each worker has a group of its own, and ends when it has
nothing to do.
"""

import importlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.kubernetes.owner import LARGER_LABEL, Owner
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification

GROUP_LABEL = "dask.org/workergroup-name"
"""The operator's own label of the pods of a group."""
PORT = 8786
"""Where the scheduler listens."""
_VERSION = "kubernetes.dask.org/v1"
_TLS = "/var/run/forebay/tls"
_STOP_SECONDS = 120
"""Time between being told to stop and being stopped; a worker needs 90 s of it at the most."""


def scheduler_address(specification: KubernetesClusterSpecification, owner: Owner) -> str:
    """Return where pods reach the scheduler."""
    return f"tls://{owner.start}-scheduler.{specification.namespace}.svc:{PORT}"


def secret(
    specification: KubernetesClusterSpecification, owner: Owner, certificate: str, key: str
) -> dict[str, Any]:
    """Return the secret with the certificate that scheduler and workers show and trust."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(specification, owner, owner.start),
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }


def cluster(specification: KubernetesClusterSpecification, owner: Owner) -> dict[str, Any]:
    """Return the resource of the scheduler; the group of workers that goes with it is empty."""
    command = ["scheduler", "--most-workers", str(specification.maximum_workers)]
    if specification.memory_ceiling is not None:
        command += ["--memory-ceiling", str(int(specification.memory_ceiling))]
    ports = [{"name": "tcp-comm", "containerPort": PORT, "protocol": "TCP"}]
    container = {
        **_container(specification, "scheduler", command),
        "resources": _resources(specification.scheduler_cpu, specification.scheduler_memory, 0),
        "ports": ports,
        "readinessProbe": {"tcpSocket": {"port": "tcp-comm"}, "periodSeconds": 10},
    }
    return {
        "apiVersion": _VERSION,
        "kind": "DaskCluster",
        "metadata": _metadata(specification, owner, owner.start),
        "spec": {
            "scheduler": {
                "spec": _pod(specification, owner, container),
                "service": {
                    "type": "ClusterIP",
                    "selector": {
                        "dask.org/cluster-name": owner.start,
                        "dask.org/component": "scheduler",
                    },
                    "ports": [
                        {
                            "name": "tcp-comm",
                            "protocol": "TCP",
                            "port": PORT,
                            "targetPort": "tcp-comm",
                        }
                    ],
                },
            },
            "worker": {"replicas": 0, "spec": worker_pod(specification, owner, "none", ())},
        },
    }


def worker_group(
    specification: KubernetesClusterSpecification,
    owner: Owner,
    group: str,
    worker: str,
    without: Collection[str] = (),
    *,
    larger: bool = False,
) -> dict[str, Any]:
    """Return the group of one worker.

    Parameters
    ----------
    specification
        What is wanted.
    owner
        The start that it belongs to.
    group
        What the group is called.
    worker
        What the scheduler knows the worker by.
    without
        Nodes on which it is not to run.
    larger
        Whether it is the one for what needs its memory.
    """
    metadata = _metadata(specification, owner, group)
    labels = {"dask.org/cluster-name": owner.start, "dask.org/component": "workergroup"}
    if larger:
        labels[LARGER_LABEL] = "yes"
    return {
        "apiVersion": _VERSION,
        "kind": "DaskWorkerGroup",
        "metadata": {**metadata, "labels": {**metadata["labels"], **labels}},
        "spec": {
            "cluster": owner.start,
            "worker": {
                "replicas": 1,
                "spec": worker_pod(specification, owner, worker, without, larger=larger),
            },
        },
    }


def worker_pod(
    specification: KubernetesClusterSpecification,
    owner: Owner,
    worker: str,
    without: Collection[str],
    *,
    larger: bool = False,
) -> dict[str, Any]:
    """Return what the pod of a worker is."""
    each = specification
    command = [
        *("worker", scheduler_address(each, owner)),
        *("--name", worker),
        *("--threads", str(each.threads_per_worker)),
        *("--memory", str(int(each.memory) // max(1, each.gpus))),
        *(["--cuda"] if each.gpus else []),
        *(["--larger"] if larger else []),
    ]
    container = {
        **_container(each, "worker", command),
        "resources": _resources(each.cpu, each.memory, each.gpus),
    }
    pod = _pod(each, owner, container)
    container["volumeMounts"] += [
        {"name": f"claim-{number}", "mountPath": str(folder)}
        for number, folder in enumerate(each.claims.values())
    ]
    pod["volumes"] += [
        {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}}
        for number, claim in enumerate(each.claims)
    ]
    if each.node_selector:
        pod["nodeSelector"] = dict(each.node_selector)
    if each.tolerations:
        pod["tolerations"] = [taint.model_dump(exclude_none=True) for taint in each.tolerations]
    if without:
        pod["affinity"] = _elsewhere(without)
    return pod


def as_yaml(resources: Sequence[dict[str, Any]]) -> str:
    """Return resources as people read them."""
    yaml: Any = importlib.import_module("yaml")
    return str(yaml.safe_dump_all(resources, sort_keys=False, width=100))


def as_json(resources: Sequence[dict[str, Any]]) -> str:
    """Return resources as kubectl reads them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(resources)})


def _metadata(
    specification: KubernetesClusterSpecification, owner: Owner, name: str
) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": specification.namespace,
        "labels": owner.labels,
    }


def _container(
    specification: KubernetesClusterSpecification, role: str, command: list[str]
) -> dict[str, Any]:
    # The versions are compared before anything is computed, by the scheduler too.
    gpus = role == "worker" and specification.gpus > 0
    environment = worker_environment(specification.environment, gpus=gpus)
    return {
        "name": role,
        "image": specification.image,
        "args": [
            *("python", "-m", "forebay.cluster.kubernetes.node"),
            *("--certificate", f"{_TLS}/tls.crt"),
            *("--key", f"{_TLS}/tls.key"),
            *command,
        ],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        # Its last words are what is told of a worker that does not come.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tls", "mountPath": _TLS, "readOnly": True}],
    }


def _pod(
    specification: KubernetesClusterSpecification, owner: Owner, container: dict[str, Any]
) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": owner.start}}],
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        # What runs there has no business with Kubernetes itself.
        "automountServiceAccountToken": specification.service_account is not None,
    }
    if specification.service_account is not None:
        pod["serviceAccountName"] = specification.service_account
    if specification.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in specification.image_pull_secrets]
    return pod


def _resources(cpu: float, memory: int, gpus: int) -> dict[str, Any]:
    amounts = {"cpu": f"{cpu:g}", "memory": str(int(memory))}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    # What is asked for is what there is: nothing is ended because its node was promised twice.
    return {"requests": amounts, "limits": dict(amounts)}


def _elsewhere(nodes: Collection[str]) -> dict[str, Any]:
    """Return what keeps a pod from nodes; an expression takes one name."""
    expressions = [
        {"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(nodes)
    ]
    terms = {"nodeSelectorTerms": [{"matchFields": expressions}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
