"""AWS on loopback: moto answers as EC2 does, and what it is asked to start is started here.

An instance gets its address on the loopback of a network of our own, and the command of its user
data runs as a process here, as it would in a container, of the Python that is given.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REGION = "eu-central-1"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}
ADMINISTRATOR = "AKIAADMINISTRATOR"
"""The key of whoever has made the account, and looks at it: the tests themselves."""
_COMMAND = re.compile(r"- '(docker run .*)'$", re.MULTILINE)


class Metadata:
    """The metadata service of one instance; it answers only with a token, as version 2 does."""

    def __init__(self) -> None:
        self.notice = ""
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._answer(200, "token-1")

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") != "token-1":
                    self._answer(401, "")
                elif self.path.endswith("spot/instance-action") and told.notice:
                    self._answer(200, told.notice)
                else:
                    self._answer(404, "")

            def _answer(self, status: int, content: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # Who asks may lose patience on a busy machine.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take_away(self) -> None:
        """Announce that the instance will be taken away."""
        self.notice = json.dumps({"action": "terminate", "time": "2026-11-21T21:00:00Z"})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Machine:
    """What runs in place of an instance."""

    def __init__(self, instance: Any, python: Path, endpoint: str, log: Path) -> None:
        self.instance = instance
        self.log = log
        self._ended = False
        self.metadata = Metadata()
        self.address = str(instance.private_ip)
        text = str(instance.user_data.decode())
        self.user_data = text
        found = _COMMAND.search(text)
        assert found is not None, text
        words = shlex.split(found[1])
        given = dict(
            words[index + 1].split("=", 1) for index, word in enumerate(words) if word == "-e"
        )
        command = words[words.index("python") + 1 :]
        on_lo("add", self.address)
        environment = {
            **os.environ,
            **KEYS,
            **given,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata.endpoint,
        }
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [str(python), *command], env=environment, stdout=file, stderr=file
            )

    def end(self) -> None:
        """Take its power away, if it has any."""
        if self._ended:
            return
        self._ended = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.metadata.close()
        on_lo("del", self.address)


class Cloud:
    """EC2 of one region, and the machines that its instances are here."""

    def __init__(self, server: Any, port: int, folder: Path, python: Path) -> None:
        from moto.backends import get_backend

        self.endpoint = f"http://127.0.0.1:{port}"
        self._server = server
        self._folder = folder
        self.python = python
        self.backend = get_backend("ec2")["123456789012"][REGION]
        self.machines: dict[str, Machine] = {}
        self._over = threading.Event()
        self.boots = True
        self.failures: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for instance in list(self.backend.all_instances()):
                machine = self.machines.get(instance.id)
                runs = instance.state == "running"
                if machine is None and runs and self.boots:
                    log = self._folder / f"{instance.id}.log"
                    try:
                        self.machines[instance.id] = Machine(
                            instance, self.python, self.endpoint, log
                        )
                    except Exception as error:  # noqa: BLE001 (the test is told)
                        self.failures.append(error)
                        instance.terminate()
                elif machine is not None and not runs:
                    machine.end()
                elif machine is not None and runs and machine.process.poll() is not None:
                    # It shuts down when its command has ended, which terminates it.
                    instance.terminate()

    def client(self, service: str) -> Any:
        """Return boto3's client, to look at what has come of requests."""
        import boto3

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ADMINISTRATOR,
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def logs(self) -> str:
        """Return what the machines said."""
        return "\n".join(each.log.read_text() for each in self.machines.values())

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for machine in self.machines.values():
            machine.end()
        # Shown by pytest where a test has failed.
        print(self.logs())


def on_lo(what: str, address: str) -> None:
    """Add an address to the loopback of this network, or take it away."""
    subprocess.run(["ip", "address", what, f"{address}/32", "dev", "lo"], check=True)


@contextmanager
def cloud(folder: Path, python: Path) -> Iterator[Cloud]:
    """Run AWS in this process, and its machines beside it."""
    # Loading two thousand machine images takes seconds.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    # What other tests of this process have made is of no concern here.
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset):
        pass
    made = Cloud(server, port, folder, python)
    try:
        yield made
    finally:
        made.close()
        server.stop()
