"""An S3 server on loopback, and a connection to it that can be made to fail."""

import http.client
import socket
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

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
BUCKET = "instrument-7"

type Fate = Literal["pass", "lose request", "lose reply", "forbid", "ignore conditions"]


def bucket_at(port: int, prefix: str, *, bucket: str = BUCKET) -> S3Store:
    """Return a prefix of the bucket, reached through a port."""
    return S3Store(
        bucket,
        prefix=prefix,
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="AKIAEXAMPLE",
        secret_access_key="secret",
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
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


_SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}


@dataclass
class Line:
    """The line to the server: it says what becomes of each request."""

    fate: Callable[[str, str], Fate] = lambda method, path: "pass"
    """Decides by the method and the path."""
    requests: list[str] = field(default_factory=list)
    """The requests that came, by method and path."""
    harmed: int = 0
    """How many of them did not simply pass."""
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, method: str, path: str) -> Fate:
        """Write a request down and say what becomes of it."""
        with self._one_at_a_time:
            self.requests.append(f"{method} {path}")
            fate = self.fate(method, path)
            self.harmed += fate != "pass"
            return fate

    def at(self, number: int, fate: Fate, *, method: str = "", later: bool = False) -> None:
        """Let something become of the request of that number, and perhaps of all after it.

        Parameters
        ----------
        number
            Which one, from 0.
        fate
            What becomes of it.
        method
            The kind of request that is counted; any where it is empty.
        later
            Whether it becomes of those after it, too.
        """
        count = -1

        def decide(came: str, path: str) -> Fate:
            nonlocal count
            if method not in {"", came}:
                return "pass"
            count += 1
            return fate if count == number or (later and count > number) else "pass"

        self.requests, self.harmed, self.fate = [], 0, decide


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
        dropped = {"If-None-Match", "If-Match"} if fate == "ignore conditions" else set()
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.title() not in {each.title() for each in dropped}
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
            relay.shutdown()
            thread.join(_STOP_SECONDS)
