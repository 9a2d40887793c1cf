"""What the Dask operator is given, held to the schema of its own resources."""

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forebay.cluster import ClusterError, KubernetesClusterSpecification
from forebay.cluster.kubernetes.owner import Owner, start_name
from forebay.cluster.kubernetes.resources import as_yaml, cluster, secret, worker_group

# They have no types.
jsonschema: Any = importlib.import_module("jsonschema")
yaml: Any = importlib.import_module("yaml")
SCHEMAS = Path(__file__).parent / "schema"
NAME = "forebay-pods-0a1b2c"
OWNER = Owner("pods", "north", NAME)
FOR_GPUS = {"name": "DASK_ARRAY__BACKEND", "value": "cupy"}
SMALL = {"image": "registry.example.org/forebay:1", "memory": "4 GiB", "maximum_workers": 4}
FULL: dict[str, Any] = {
    **SMALL,
    "namespace": "imaging",
    "cpu": 7.5,
    "memory": "60 GiB",
    "gpus": 2,
    "threads_per_worker": 4,
    "environment": {"OMP_NUM_THREADS": "1"},
    "claims": {"runs": "/data/runs", "results": "/data/results"},
    "service_account": "forebay",
    "image_pull_secrets": ["registry"],
    "node_selector": {"gpu": "h200"},
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
}


def specification(given: dict[str, Any]) -> KubernetesClusterSpecification:
    return KubernetesClusterSpecification.model_validate(given)


def closed(schema: Any) -> Any:
    """Return a schema that has no room for what it does not name: Kubernetes drops that."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(each) for key, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def check(resource: dict[str, Any]) -> None:
    schema = json.loads((SCHEMAS / f"{resource['kind'].lower()}.json").read_text())
    (spec,) = [schema["properties"]["spec"]]
    jsonschema.Draft7Validator(closed(spec)).validate(resource["spec"])


@pytest.mark.parametrize("given", [SMALL, FULL])
def test_resources_are_what_the_operator_accepts(given: dict[str, Any]) -> None:
    """Every field is one of its own, of the right type, and survives the way through YAML."""
    made = specification(given)
    group = worker_group(made, OWNER, f"{NAME}-1", "pods.1", without=["node-7"])
    text = as_yaml([secret(made, OWNER, "CERTIFICATE", "KEY"), cluster(made, OWNER), group])
    _, scheduler, worker = yaml.safe_load_all(text)
    check(scheduler)
    check(worker)
    assert worker == group
    for wrong in ("nodeSelectors", "toleration"):
        broken = copy.deepcopy(worker)
        broken["spec"]["worker"]["spec"][wrong] = {}
        with pytest.raises(jsonschema.ValidationError, match=wrong):
            check(broken)


def test_a_worker_is_as_it_was_asked_for() -> None:
    """Its size, GPUs, volumes, place and command stand in its pod, and its key does not."""
    made = specification(FULL)
    group = worker_group(made, OWNER, f"{NAME}-1", "pods.1", without=["node-7"])
    assert group["spec"]["cluster"] == NAME
    assert group["spec"]["worker"]["replicas"] == 1
    assert group["metadata"]["namespace"] == "imaging"
    assert {
        "forebay/cluster": "pods",
        "forebay/site": "north",
        "forebay/start": NAME,
    }.items() <= group["metadata"]["labels"].items()
    pod = group["spec"]["worker"]["spec"]
    (container,) = pod["containers"]
    amounts = {"cpu": "7.5", "memory": str(60 << 30), "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": amounts, "limits": amounts}
    words = " ".join(container["args"])
    assert f"worker tls://{NAME}-scheduler.imaging.svc:8786 --name pods.1 --threads 4" in words
    # Two workers, one for each GPU, share the memory of the pod.
    assert f"--memory {30 << 30} --cuda" in words
    assert {"name": "OMP_NUM_THREADS", "value": "1"} in container["env"]
    assert FOR_GPUS in container["env"]
    assert pod["volumes"] == [
        {"name": "tls", "secret": {"secretName": NAME}},
        {"name": "claim-0", "persistentVolumeClaim": {"claimName": "runs"}},
        {"name": "claim-1", "persistentVolumeClaim": {"claimName": "results"}},
    ]
    assert [each["mountPath"] for each in container["volumeMounts"]][1:] == [
        "/data/runs",
        "/data/results",
    ]
    assert pod["nodeSelector"] == {"gpu": "h200"}
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert pod["serviceAccountName"] == "forebay"
    assert "node-7" in json.dumps(pod["affinity"])
    assert "KEY" not in json.dumps(group)


def test_only_workers_with_gpus_have_their_frames_there() -> None:
    """The scheduler has no GPU, and a worker without one reads into the host's memory."""
    scheduler = cluster(specification(FULL), OWNER)["spec"]["scheduler"]["spec"]["containers"][0]
    assert FOR_GPUS not in scheduler["env"]
    plain = worker_group(specification(SMALL), OWNER, f"{NAME}-1", "pods.1")
    (container,) = plain["spec"]["worker"]["spec"]["containers"]
    assert FOR_GPUS not in container["env"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_the_larger_worker_has_a_group_of_its_own() -> None:
    """It offers the memory of its pod, with one GPU; the scheduler says how much that can be."""
    asked = specification({**FULL, "memory_ceiling": "240 GiB"})
    larger = asked.larger()
    assert larger is not None
    group = worker_group(larger, OWNER, f"{NAME}-l1", "pods-larger.1", larger=True)
    check(group)
    assert group["metadata"]["labels"]["forebay/larger"] == "yes"
    (container,) = group["spec"]["worker"]["spec"]["containers"]
    memory = 240 * 2**30
    assert container["resources"]["limits"]["memory"] == str(memory)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "--larger" in container["args"]
    assert container["args"][container["args"].index("--memory") + 1] == str(memory)
    made = cluster(asked, OWNER)
    check(made)
    (scheduler,) = made["spec"]["scheduler"]["spec"]["containers"]
    assert scheduler["args"][-2:] == ["--memory-ceiling", str(memory)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"protocol": "tcp"}, "pods speak TLS only"),
        ({"namespace": "My Space"}, "a name of Kubernetes has a-z"),
        ({"claims": {"runs": "data"}}, "must begin with '/'"),
        ({"environment": {"A-B": "1"}}, "'A-B' is no name of a variable"),
        ({"tolerations": [{"key": "a", "operator": "Equal"}]}, "'Equal' needs a value"),
        ({"memory": 0}, "greater than 0"),
        ({"memory_ceiling": "4 GiB"}, "is not above memory = "),
        ({"minimum_workers": 9}, "are more than"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    """When the configuration is read, without asking Kubernetes."""
    with pytest.raises(ValidationError, match=why):
        specification(SMALL | change)


def test_a_name_that_kubernetes_does_not_take_is_refused() -> None:
    """The operator adds to it what makes it longer."""
    for name in ("my_cluster", "Pods", "a" * 40):
        with pytest.raises(ClusterError, match="give it a name of at most 25 characters of a-z"):
            start_name(name, "0a1b2c")
