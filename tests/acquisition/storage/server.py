"""An S3 server on loopback, and a connection to it that can be made to fail."""

import http.client
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from obstore.store import S3Store
from tests.ports import free_port

_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
_SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
BUCKET = "instrument-7"

type Fate = Literal[
    "pass",
    "lose request",
    "lose reply",
    "forbid",
    "ignore conditions",
    "busy",
    "fail",
    "hang",
    "flip request",
    "flip reply",
]


def bucket_at(port: int, prefix: str, *, bucket: str = BUCKET) -> S3Store:
    """Return a prefix of the bucket, reached through a port."""
    return S3Store(
        bucket,
        prefix=prefix,
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="AKIAEXAMPLE",
        secret_access_key="hush",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={
            "max_retries": 1,
            "retry_timeout": timedelta(seconds=5),
            "backoff": {
                "init_backoff": timedelta(milliseconds=1),
                "max_backoff": timedelta(milliseconds=2),
                "base": 2,
            },
        },
    )


@contextmanager
def running_server() -> Iterator[int]:
    """Run an S3 server with an empty bucket; give its port."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _make_bucket(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _make_bucket(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("PUT", f"/{BUCKET}", headers=_SIGNED)
            assert connection.getresponse().status == 200
        except ConnectionRefusedError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not start"
            threading.Event().wait(0.05)
        else:
            return
        finally:
            connection.close()


@dataclass
class Line:
    """The line to the server: it says what becomes of each request."""

    fate: Callable[[str, str], Fate] = lambda method, path: "pass"
    """Decides by the method and the path."""
    harmed: int = 0
    """How many of them did not simply pass."""
    released: threading.Event = field(default_factory=threading.Event)
    """When it is set, requests that hang end without an answer."""
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, method: str, path: str) -> Fate:
        """Say what becomes of a request."""
        with self._one_at_a_time:
            fate = self.fate(method, path)
            self.harmed += fate != "pass"
            return fate

    def harm(self, number: int, fate: Fate) -> None:
        """Let something become of the put of that number, from 0, and of nothing else."""
        puts = itertools.count()
        self._begin(
            lambda method, path: fate if method == "PUT" and next(puts) == number else "pass"
        )

    def cut(self, number: int) -> None:
        """Let nothing through any more from the put of that number on, counted from 0."""
        puts, cut = itertools.count(), False

        def decide(method: str, path: str) -> Fate:
            nonlocal cut
            cut = cut or (method == "PUT" and next(puts) == number)
            return "lose request" if cut else "pass"

        self._begin(decide)

    def always(self, fate: Fate) -> None:
        """Let the same become of every request."""
        self._begin(lambda method, path: fate)

    def _begin(self, fate: Callable[[str, str], Fate]) -> None:
        self.fate, self.harmed = fate, 0


def _flipped(content: bytes) -> bytes:
    """Return the bytes with one bit in the middle of them flipped."""
    changed = bytearray(content)
    if changed:
        changed[len(changed) // 2] ^= 1
    return bytes(changed)


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    line: Line
    upstream: int

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = self.line.decide(self.command, self.path)
        if fate == "lose request":
            self.close_connection = True
            return
        if fate == "forbid":
            self._answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
            return
        if fate == "busy":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fate == "fail":
            self._answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
            return
        if fate == "hang":
            self.line.released.wait(_START_SECONDS)
            self.close_connection = True
            return
        if fate == "flip request":
            body = _flipped(body)
        headers = dict(self.headers.items())
        if fate == "ignore conditions":
            headers = {
                name: headers[name] for name in headers if not name.lower().startswith("if-")
            }
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=10)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fate == "lose reply":
            self.close_connection = True
            return
        if fate == "flip reply":
            content = _flipped(content)
        self._answer(answer.status, dict(answer.getheaders()), content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _relay  # noqa: N815 (http.server's names)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.title() not in {"Content-Length", "Connection", "Transfer-Encoding"}:
                self.send_header(name, value)
        # The length that a HEAD tells is that of the object.
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        pass


@contextmanager
def relayed(upstream: int, line: Line) -> Iterator[int]:
    """Run a relay in front of a server; give its port."""
    handler = type("Handler", (_Relay,), {"line": line, "upstream": upstream})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as relay:
        relay.daemon_threads = True
        thread = threading.Thread(target=relay.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield relay.server_address[1]
        finally:
            line.released.set()
            relay.shutdown()
            thread.join(_STOP_SECONDS)
