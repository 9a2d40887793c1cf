"""Services are asked whether they answer, and nobody else is."""

import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forebay.cluster.node import Purpose, Role
from forebay.cluster.node.checks.services import Service, ServiceKind, service_checks
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Answer, Machine, Runner
from forebay.cluster.node.verdict import Finding, Verdict

STATUSES = {
    "open": (200, None),
    "closed": (403, None),
    "far": (301, "eu-west-1"),
    "gone": (404, None),
    "broken": (503, None),
}


def ask(service: Service, run: Runner | None = None) -> Finding:
    (check,) = service_checks((service,))
    (finding,) = check.examine(Machine(run=run), Purpose(Role.COMPUTE))
    assert finding.subject == f"{service.name} {service.address}".rstrip()
    return finding


@pytest.fixture(scope="module")
def buckets() -> Iterator[str]:
    """A server of buckets as they answer somebody who does not sign."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status, region = STATUSES[self.path.strip("/")]
            self.send_response(status)
            if region:
                self.send_header("x-amz-bucket-region", region)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("bucket", "verdict", "told"),
    [
        ("open", Verdict.OK, "answers 200 for open"),
        ("closed", Verdict.OK, "answers 403 for closed: it is there, and asks who we are"),
        ("far", Verdict.WRONG, "answers 301 for far: it lies in eu-west-1"),
        ("gone", Verdict.WRONG, "answers 404 for gone: there is no such bucket"),
        ("broken", Verdict.BETTER, "answers 503 for broken"),
    ],
)
def test_a_bucket_answers(buckets: str, bucket: str, verdict: Verdict, told: str) -> None:
    found = ask(Service("runs", ServiceKind.S3, f"s3://{bucket}", buckets))
    assert (found.verdict, found.found) == (verdict, f"{buckets} {told}")


def test_a_port_takes_connections_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        there = ask(Service("clusters.far", ServiceKind.TCP, address))
        assert (there.verdict, there.found) == (Verdict.OK, f"{address} takes connections")
    gone = ask(Service("clusters.far", ServiceKind.TCP, address))
    assert (gone.verdict, gone.found) == (Verdict.WRONG, f"{address}: Connection refused")
    s3 = ask(Service("runs", ServiceKind.S3, "s3://bucket", f"http://{address}"))
    assert (s3.verdict, s3.found) == (Verdict.WRONG, f"http://{address}: Connection refused")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:port", "127.0.0.1:99999", ""])
def test_an_address_that_is_none_is_told(address: str) -> None:
    found = ask(Service("ledger", ServiceKind.TCP, address))
    assert (found.verdict, found.found) == (Verdict.WRONG, f"{address} is not HOST:PORT")


def test_a_server_of_buckets_is_named_by_a_url() -> None:
    found = ask(Service("runs", ServiceKind.S3, "s3://bucket", "ftp://127.0.0.1"))
    assert found.found == "ftp://127.0.0.1 is no http:// or https:// URL of a server"


@pytest.mark.parametrize(
    ("answer", "verdict", "told"),
    [
        (Answer(0, "Slurmctld(primary) at head is UP\n", ""), Verdict.OK, "is UP"),
        (Answer(1, "Slurmctld(primary) at head is DOWN\n", ""), Verdict.WRONG, "is DOWN"),
        (
            Answer(1, "", "error: no munge socket\nerror: and more\n"),
            Verdict.WRONG,
            "error: no munge socket",
        ),
        (Answer(0, "", ""), Verdict.WRONG, "scontrol says nothing"),
    ],
)
def test_slurm_says_how_its_controller_is(answer: Answer, verdict: Verdict, told: str) -> None:
    asked: list[Sequence[str]] = []

    def run(words: Sequence[str], seconds: float) -> Answer:
        asked.append(words)
        return answer

    found = ask(Service("clusters.site", ServiceKind.SLURM), run)
    assert found.verdict is verdict
    assert told in found.found
    assert asked == [["scontrol", "ping"]]


def test_a_machine_without_slurm_says_so() -> None:
    def run(words: Sequence[str], seconds: float) -> Answer:
        raise UnreadableError(f"the program {words[0]} is not there")

    found = ask(Service("clusters.site", ServiceKind.SLURM), run)
    assert (found.verdict, found.found) == (Verdict.WRONG, "the program scontrol is not there")
