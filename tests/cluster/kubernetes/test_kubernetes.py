"""Clusters on Kubernetes, whose pods are processes here: their life, and what is said of it."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.kubernetes.operator import Operator

from forebay.cluster import ClusterError, KubernetesClusterSpecification, connect
from forebay.cluster.decisions import decisions_path, read_decisions
from forebay.cluster.keeping.pool import Stage
from forebay.cluster.keeping.talk import standing, stop, tell_demand
from forebay.cluster.kubernetes.pool import seen_in
from forebay.cluster.sizing import Demand


def eventually(claim: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, claim
        time.sleep(0.1)


@pytest.fixture
def specification(tmp_path: Path) -> KubernetesClusterSpecification:
    return KubernetesClusterSpecification(
        image="registry.example.org/forebay:1",
        memory="1 GiB",  # type: ignore[arg-type]  # pydantic makes a ByteSize of it
        maximum_workers=2,
        namespace="imaging",
        environment={"SITE": "north sea"},
        look_seconds=0.5,
        idle_seconds=0.1,
        folder=tmp_path / "clusters",
        cost_per_worker_hour=1.0,
        budget_per_day=9.0,
    )


@pytest.mark.usefixtures("network")
def test_a_cluster_computes_and_leaves_nothing(
    operator: Operator, specification: KubernetesClusterSpecification
) -> None:
    """Its scheduler speaks TLS; a worker that is not needed ends, and does not begin again.

    One keeps it, another joins it by its name, sizes it and ends it.
    """
    ended = threading.Event()
    with (
        specification.kept("pods", ended.set),
        connect(specification, name="pods") as client,
    ):
        (resource,) = operator.there("DaskCluster")
        assert operator.there("Secret") == [resource]
        assert operator.there("DaskWorkerGroup") == []
        tell_demand(client, "an engine", Demand(30.0, 1))
        client.wait_for_workers(1, timeout=120)
        assert set(client.run(lambda: os.environ["SITE"]).values()) == {"north sea"}
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
        connected: Any = client.scheduler
        assert connected.address.startswith("tls://127.0.0.1:")
        eventually(lambda: standing(client)["working"] == 1)
        assert operator.there("DaskWorkerGroup") == [f"{resource}-1"]
        tell_demand(client, "an engine", Demand())
        eventually(lambda: not operator.there("DaskWorkerGroup"))
        stop(client)
        assert ended.wait(30)
    for kind in ("DaskCluster", "DaskWorkerGroup", "Secret"):
        assert operator.there(kind) == []
    assert all("--namespace=imaging" in call for call in operator.calls())
    sizes = read_decisions(decisions_path(specification.folder, "pods"))
    assert [each.workers for each in sizes] == [1, 0]
    (charge,) = specification.charges("pods")
    assert (charge.machine, charge.price) == (f"{resource}-1", 1.0)
    assert charge.ended is not None


def test_check_shows_the_resources_and_makes_none(
    operator: Operator, specification: KubernetesClusterSpecification
) -> None:
    """Kubernetes is asked whether it would take them."""
    plan = specification.plan("pods")
    assert plan.problems == ()
    assert "kind: DaskCluster" in plan.submitted
    assert "kind: DaskWorkerGroup" in plan.submitted
    assert "PRIVATE KEY" not in plan.submitted
    assert not operator.there("DaskCluster")
    assert [call[1:3] for call in operator.calls()] == [["create", "--dry-run=server"]]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            'error: resource mapping not found for name: "x": no matches for kind "DaskCluster"',
            "Kubernetes has no Dask operator .*helm install",
        ),
        (
            'Error from server (NotFound): namespaces "imaging" not found',
            "there is no namespace 'imaging'",
        ),
        (
            'Error from server (Forbidden): daskclusters is forbidden: User "me" cannot create',
            "Kubernetes does not allow it .*ask its administrator",
        ),
        (
            'error: context "far" does not exist',
            "kubectl does not reach a Kubernetes .*set KUBECONFIG",
        ),
        (
            "The connection to the server x:1 was refused - did you specify the right host or port?",
            "kubectl does not reach a Kubernetes .*set KUBECONFIG",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_made(
    operator: Operator, specification: KubernetesClusterSpecification, said: str, why: str
) -> None:
    """A sentence that says what to do, from check and from start alike."""
    operator.refuse(said)
    with (
        pytest.raises(ClusterError, match=f"the cluster pods cannot be started: {why}"),
        specification.connected("pods"),
    ):
        pass


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_a_kubernetes_that_is_not_there_is_said(
    specification: KubernetesClusterSpecification,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the words of the real kubectl, and with what to do."""
    configuration = tmp_path / "kubeconfig"
    configuration.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [{"name": "none", "context": {"cluster": "none", "user": "me"}}],
                "current-context": "none",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(configuration))
    (problem,) = specification.plan("pods").problems
    assert "kubectl does not reach a Kubernetes" in problem
    assert "127.0.0.1:1" in problem
    elsewhere = specification.model_copy(update={"context": "far"})
    (problem,) = elsewhere.plan("pods").problems
    assert 'context "far" does not exist' in problem
    assert "set KUBECONFIG" in problem


def test_without_kubectl_it_says_where_to_get_it(
    specification: KubernetesClusterSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And still shows what would be made."""
    monkeypatch.setenv("PATH", "/nonexistent")
    plan = specification.plan("pods")
    (problem,) = plan.problems
    assert problem.startswith("there is no kubectl here: install it")
    assert "kind: DaskCluster" in plan.submitted


def group(name: str, **metadata: str) -> dict[str, Any]:
    return {
        "kind": "DaskWorkerGroup",
        "metadata": {"name": name, **metadata},
        "spec": {"worker": {"replicas": 1}},
    }


def pod(owner: str, created: str = "", **status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "labels": {"dask.org/workergroup-name": owner},
            "creationTimestamp": created,
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", **status},
    }


def state(**state: Any) -> list[dict[str, Any]]:
    return [{"state": state}]


@pytest.mark.parametrize(
    ("pods", "stage", "reason", "given_up"),
    [
        ([], Stage.WAITING, "the Dask operator has made no pod yet", False),
        ([pod("g")], Stage.RUNNING, "", False),
        (
            [
                pod(
                    "g",
                    phase="Pending",
                    conditions=[
                        {"type": "PodScheduled", "status": "False", "message": "no GPU is free"}
                    ],
                )
            ],
            Stage.WAITING,
            "no GPU is free",
            False,
        ),
        (
            [
                pod(
                    "g",
                    phase="Pending",
                    containerStatuses=state(
                        waiting={"reason": "ImagePullBackOff", "message": "no such image"}
                    ),
                )
            ],
            Stage.OVER,
            "no such image",
            False,
        ),
        (
            # It began again after it had failed.
            [
                pod(
                    "g",
                    containerStatuses=[
                        {
                            "state": {"running": {}},
                            "lastState": {
                                "terminated": {"exitCode": 1, "message": "a\nNo module forebay\n"}
                            },
                        }
                    ],
                )
            ],
            Stage.OVER,
            "exit code 1: No module forebay",
            False,
        ),
        (
            [pod("g", containerStatuses=state(terminated={"exitCode": 0}))],
            Stage.OVER,
            "exit code 0",
            True,
        ),
        ([pod("g", phase="Failed", reason="Evicted")], Stage.OVER, "", True),
        (
            # Another pod has taken the place of one that was evicted.
            [pod("g", "2026-01-01", phase="Failed", reason="Evicted"), pod("g", "2026-01-02")],
            Stage.RUNNING,
            "",
            False,
        ),
    ],
)
def test_what_kubernetes_says_of_a_worker(
    pods: list[dict[str, Any]], stage: Stage, reason: str, given_up: bool
) -> None:
    """How far it is, why it waits or ended, and whether that was its own fault."""
    seen = seen_in([group("g"), *pods, pod("other")])
    assert set(seen) == {"g"}
    assert (seen["g"].stage, seen["g"].reason, seen["g"].given_up) == (stage, reason, given_up)


def test_a_group_that_is_being_removed_is_over() -> None:
    """Whatever its pod still does."""
    (seen,) = seen_in([group("g", deletionTimestamp="2026-01-01"), pod("g")]).values()
    assert (seen.stage, seen.given_up) == (Stage.OVER, True)
