"""Kubernetes with a Dask operator, as far as kubectl is asked here: pods are processes.

Resources are files of a folder.  The kubectl that is put there makes, shows and removes them; a
thread does what the operator does, and runs the commands of the containers.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_KUBECTL = """#!{python} -SE
import json, os, signal, sys, time

folder = {folder!r}
words = [word for word in sys.argv[1:] if not word.startswith(("--namespace=", "--context="))]
with open(folder + "/calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
verb, rest = words[0], words[1:]
if os.path.exists(folder + "/refusal"):
    sys.exit(open(folder + "/refusal").read())
kinds = {{"daskclusters": "DaskCluster", "daskworkergroups": "DaskWorkerGroup", "pods": "Pod",
         "secrets": "Secret", "deployment": "Deployment"}}
path = lambda kind, name: f"{{folder}}/resources/{{kind}}_{{name}}"
labels = dict(pair.split("=") for word in rest if word.startswith("--selector=")
              for pair in word.split("=", 1)[1].split(","))

def found(kind):
    for name in sorted(os.listdir(folder + "/resources")):
        if name.startswith(kind + "_"):
            with open(folder + "/resources/" + name) as file:
                each = json.load(file)
            if labels.items() <= each["metadata"].get("labels", {{}}).items():
                yield each

if verb == "create" and "--dry-run=server" not in rest:
    for each in json.load(sys.stdin)["items"]:
        target = path(each["kind"], each["metadata"]["name"])
        with open(folder + "/new", "w") as file:
            json.dump(each, file)
        os.rename(folder + "/new", target)
elif verb == "get":
    items = [each for kind in rest[0].split(",") for each in found(kinds[kind.split(".")[0]])]
    print(json.dumps({{"items": items}}))
elif verb == "delete":
    names = [word for word in rest[1:] if not word.startswith("--")]
    for kind in rest[0].split(","):
        for each in list(found(kinds[kind.split(".")[0]])):
            if labels or each["metadata"]["name"] in names:
                os.unlink(path(each["kind"], each["metadata"]["name"]))
elif verb == "wait":
    kind, name = rest[0].split("/")
    end = time.monotonic() + 5
    while not os.path.exists(path(kinds[kind.split(".")[0]], name)):
        if time.monotonic() > end:
            sys.exit("error: timed out waiting for the condition on " + rest[0])
        time.sleep(0.05)
elif verb == "port-forward":
    print("Forwarding from 127.0.0.1:8786 -> 8786", flush=True)
    signal.pause()
"""


class Pod:
    """A process in the place of a pod."""

    def __init__(
        self, name: str, owner: dict[str, Any], spec: dict[str, Any], tls: Path, python: Path
    ) -> None:
        (container,) = spec["containers"]
        words = [word.replace("/var/run/forebay/tls", str(tls)) for word in container["args"][1:]]
        words = ["tls://127.0.0.1:8786" if word.startswith("tls://") else word for word in words]
        given = {each["name"]: each["value"] for each in container["env"]}
        self.log = tls.parent / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(python), *words], env=os.environ | given, stdout=log, stderr=log
            )
        role = container["name"]
        self.owner = owner["metadata"]["name"]
        self.resource: dict[str, Any] = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {
                    **owner["metadata"]["labels"],
                    "dask.org/component": role,
                    "dask.org/workergroup-name": self.owner,
                },
            },
            "spec": {"nodeName": "node-1"},
        }

    def seen(self) -> dict[str, Any]:
        """Return the pod as Kubernetes tells of it."""
        code = self.process.poll()
        state: dict[str, Any] = {"running": {}}
        if code is not None:
            said = self.log.read_text()[-2000:] if code else ""
            reason = "Error" if code else "Completed"
            state = {"terminated": {"exitCode": code, "reason": reason, "message": said}}
        return {
            **self.resource,
            "status": {"phase": "Running", "containerStatuses": [{"state": state}]},
        }

    def end(self) -> None:
        """Stop it as Kubernetes does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def put_kubectl(folder: Path) -> Path:
    """Put a kubectl for the resources of a folder into it; return where to look for it."""
    (folder / "resources").mkdir()
    (found := folder / "bin").mkdir()
    (kubectl := found / "kubectl").write_text(
        _KUBECTL.format(python=sys.executable, folder=str(folder))
    )
    kubectl.chmod(0o755)
    return found


class Operator:
    """Makes pods of resources, until it is closed."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self._python = python
        self.bin = put_kubectl(folder)
        self.resources = folder / "resources"
        self.pods: dict[str, Pod] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def there(self, kind: str) -> list[str]:
        """Return the names of the resources of a kind."""
        return sorted(each.name.partition("_")[2] for each in self.resources.glob(f"{kind}_*"))

    def calls(self) -> list[list[str]]:
        """Return how kubectl was called."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def refuse(self, said: str) -> None:
        """Let Kubernetes refuse whatever it is asked for."""
        (self.folder / "refusal").write_text(said)

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for kind, role in (("DaskCluster", "scheduler"), ("DaskWorkerGroup", "worker")):
                for name in self.there(kind):
                    if name not in self.pods:
                        self._begin(kind, name, role)
                    elif role == "scheduler":
                        self._tell_of_scheduler(name)
            there = {*self.there("DaskCluster"), *self.there("DaskWorkerGroup")}
            for name, pod in list(self.pods.items()):
                path = self.resources / f"Pod_{name}"
                if name in there:
                    self._put(path, pod.seen())
                else:
                    path.unlink(missing_ok=True)
                    pod.end()
                    del self.pods[name]

    def _begin(self, kind: str, name: str, role: str) -> None:
        owner = json.loads((self.resources / f"{kind}_{name}").read_text())
        secret = owner["metadata"]["labels"]["forebay/start"]
        content = json.loads((self.resources / f"Secret_{secret}").read_text())["stringData"]
        tls = self.folder / "tls"
        tls.mkdir(exist_ok=True)
        for file, text in content.items():
            (tls / file).write_text(text)
        self.pods[name] = Pod(name, owner, owner["spec"][role]["spec"], tls, self._python)

    def _tell_of_scheduler(self, name: str) -> None:
        """Say that a scheduler is available once it listens, as its probe does."""
        path = self.resources / f"Deployment_{name}-scheduler"
        if path.exists():
            return
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 8786), 1):
            self._put(path, {"kind": "Deployment"})

    def _put(self, path: Path, resource: dict[str, Any]) -> None:
        new = self.folder / f"{path.name}.new"
        new.write_text(json.dumps(resource))
        new.rename(path)

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self._thread.join()
        for pod in self.pods.values():
            pod.end()
        for log in self.folder.glob("*.log"):
            # Shown by pytest where a test has failed.
            print(log.name, log.read_text())


@contextmanager
def operating(folder: Path, python: Path) -> Iterator[Operator]:
    """Run Kubernetes in a folder for the length of a block."""
    operator = Operator(folder, python)
    try:
        yield operator
    finally:
        operator.close()
