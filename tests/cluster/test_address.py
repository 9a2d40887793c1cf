"""Joining a scheduler that runs already, and leaving it as it was."""

import asyncio
import platform
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import pytest
from distributed.utils import json_load_robust
from tests.cli.conftest import Forebay, forebay
from tests.ports import free_port

from forebay.cluster import AddressSpecification, ClusterError, connect
from forebay.cluster.client import known_workers

__all__ = ["forebay"]


@contextmanager
def running(warmed: Path, folder: Path, *options: str, workers: int = 1) -> Iterator[str]:
    """Run a scheduler and workers on this machine, and give the scheduler's address."""
    scheduler_file = folder / "scheduler.json"
    scheme = "tls" if options else "tcp"
    dask = [str(warmed / "python"), "-W", "ignore", "-m", "dask"]
    common = [*options, "--host", f"{scheme}://127.0.0.1"]
    scheduler = [*dask, "scheduler", *common, "--port", "0", "--no-dashboard"]
    worker = [*dask, "worker", *common, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    joined = ["--scheduler-file", str(scheduler_file)]
    with (folder / "said").open("wb") as said:
        processes = [
            subprocess.Popen([*command, *joined], stdout=said, stderr=said, cwd=folder)
            for command in (scheduler, *(workers * [worker]))
        ]
        try:
            # It is there before anything stands in it.
            told = json_load_robust(scheduler_file, timeout=60)  # type: ignore[no-untyped-call]
            yield str(told["address"])
        finally:
            # The workers first: they say goodbye to their scheduler.
            for process in reversed(processes):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture(scope="module")
def scheduler(
    warmed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AddressSpecification]:
    """A scheduler without TLS, and a worker."""
    with running(warmed, tmp_path_factory.mktemp("scheduler")) as address:
        yield AddressSpecification(address=address, timeout=60)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=forebay test", "-addext", "subjectAltName=IP:127.0.0.1"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [*request, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return cert, key


@pytest.fixture(scope="module")
def tls_scheduler(
    warmed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AddressSpecification]:
    """A scheduler that trusts one certificate, and a worker that has it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder)
    files = ["--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]
    with running(warmed, folder, *files) as address:
        yield AddressSpecification(
            address=address, ca_file=cert, cert_file=cert, key_file=key, timeout=60
        )


@pytest.fixture
def strange_certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that no scheduler knows, and its key."""
    return certificate(tmp_path)


def test_a_running_scheduler_is_joined_and_left_running(scheduler: AddressSpecification) -> None:
    """The cluster computes, and is there for the next who comes."""
    for _ in range(2):
        with connect(scheduler) as client:
            assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        assert client.status == "closed"


def test_a_joined_cluster_does_not_become_the_default(scheduler: AddressSpecification) -> None:
    """Dask graphs of the calling program go on being computed where they were."""
    with connect(scheduler), pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()  # type: ignore[no-untyped-call]


@contextmanager
def listener() -> Iterator[int]:
    """Something that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def refused_in_time(specification: AddressSpecification) -> str:
    threads = set(threading.enumerate())
    started = time.monotonic()
    with pytest.raises(ClusterError) as refusal, connect(specification):
        pass
    assert time.monotonic() - started < specification.timeout + 20
    assert "\n" not in str(refusal.value)
    end = time.monotonic() + 60
    while set(threading.enumerate()) - threads and time.monotonic() < end:
        time.sleep(0.05)
    assert not {thread.name for thread in set(threading.enumerate()) - threads}
    return str(refusal.value)


def test_where_nothing_listens_the_call_ends_in_time() -> None:
    """The error names the address and how long it waited."""
    address = f"tcp://127.0.0.1:{free_port()}"
    said = refused_in_time(AddressSpecification(address=address, timeout=1))
    head, _, reason = said.partition(" s: ")
    assert head == f"no Dask scheduler answered at {address} within 1"
    # The last attempt is refused, or is still under way when the time is up.
    assert reason.endswith(("Connection refused", "is it running?"))
    assert "<" not in reason


def test_a_machine_that_is_too_busy_to_be_refused_in_time_says_no_other_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is said to take the connection where nothing listens."""

    async def endless(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("distributed.comm.core.connect", endless)
    address = f"tcp://127.0.0.1:{free_port()}"
    said = refused_in_time(AddressSpecification(address=address, timeout=0.1))
    assert said.endswith("Connection refused")


def test_check_asks_the_scheduler(scheduler: AddressSpecification) -> None:
    """It is joined for a moment: that the settings can be read says little."""
    with connect(scheduler) as client:
        client.wait_for_workers(1, timeout=60)
    plan = scheduler.plan("lab")
    assert plan.problems == ()
    assert ("workers", "1") in plan.facts


def test_check_says_that_nobody_answers(forebay: Forebay, tmp_path: Path) -> None:
    """Once, as an error, with the address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    (tmp_path / "forebay.toml").write_text(
        f"[clusters.lab]\nkind = 'address'\naddress = '{address}'\ntimeout = 1"
    )
    outcome = forebay("cluster", "check", "lab")
    assert outcome.code == 3
    assert outcome.error.startswith(
        f"the cluster lab cannot be started: no Dask scheduler answered at {address} within 1 s"
    )
    assert "no Dask scheduler" not in outcome.out


def test_where_something_else_listens_the_call_ends_in_time() -> None:
    """A port that is open is not a scheduler yet."""
    with listener() as port:
        address = f"tcp://127.0.0.1:{port}"
        said = refused_in_time(AddressSpecification(address=address, timeout=1))
    assert said == (
        f"no Dask scheduler answered at {address} within 1 s: "
        "something takes the connection there, and says nothing"
    )


@pytest.mark.parametrize(
    ("package", "ours", "shown"),
    [
        ("python", "3.1.4.final.0", "3.1"),
        ("dask", "2020.1.0", "2020.1.0"),
        ("distributed", "2020.1.0", "2020.1.0"),
        ("forebay", "0.0.1", "0.0.1"),
    ],
)
def test_another_version_is_refused(
    scheduler: AddressSpecification,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    ours: str,
    shown: str,
) -> None:
    """Better before the first unit than in the middle of one."""
    pretend_to_have(monkeypatch, {package: ours})
    with pytest.raises(ClusterError) as refusal, connect(scheduler):
        pass
    said = str(refusal.value)
    assert said.startswith(f"the scheduler of {scheduler.address} has {package} ")
    assert f", this side has {shown}: install the same version on both" in said


def test_a_worker_without_forebay_is_refused(
    scheduler: AddressSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail at each unit; a scheduler alone does without."""
    true = distributed.Client.get_versions

    def get_versions(client: distributed.Client, **options: Any) -> Any:
        found: Any = true(client, **options)
        for party in (found["scheduler"], *found["workers"].values()):
            party["packages"]["forebay"] = None
        return found

    monkeypatch.setattr(distributed.Client, "get_versions", get_versions)
    with (
        pytest.raises(ClusterError, match=r"the worker tcp://.* has no forebay, this side"),
        connect(scheduler),
    ):
        pass


def test_other_versions_that_do_not_matter_are_passed_over(
    scheduler: AddressSpecification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another patch of Python, another NumPy: pickles are understood, and no warning is given."""
    major, minor, _ = platform.python_version_tuple()
    pretend_to_have(monkeypatch, {"python": f"{major}.{minor}.99.final.0", "numpy": "1.0"})
    with connect(scheduler) as client:
        assert client.submit(sum, [1]).result(timeout=60) == 1


def pretend_to_have(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str]) -> None:
    """Let this side say of itself that it has other versions."""
    from distributed import versions

    true = versions.get_versions

    def get_versions(*args: Any, **options: Any) -> dict[str, Any]:
        found = true(*args, **options)
        return {**found, "packages": {**found["packages"], **packages}}

    monkeypatch.setattr(versions, "get_versions", get_versions)


def test_a_scheduler_with_tls_is_joined(tls_scheduler: AddressSpecification) -> None:
    """With the certificate that it trusts, and that it shows itself."""
    with connect(tls_scheduler) as client:
        assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        assert all(each.startswith("tls://") for each in known_workers(client))


def test_a_certificate_that_nobody_trusts_is_refused(
    tls_scheduler: AddressSpecification, strange_certificate: tuple[Path, Path]
) -> None:
    """Neither side speaks to a stranger."""
    cert, key = strange_certificate
    strange_scheduler = tls_scheduler.model_copy(update={"ca_file": cert, "timeout": 2.0})
    strangers = tls_scheduler.model_copy(
        update={"cert_file": cert, "key_file": key, "timeout": 2.0}
    )
    for specification in (strange_scheduler, strangers):
        assert refused_in_time(specification).startswith("no Dask scheduler answered")


def test_a_scheduler_with_tls_says_nothing_in_the_clear(
    tls_scheduler: AddressSpecification,
) -> None:
    """Who comes without a certificate is not let in."""
    plain = tls_scheduler.address.replace("tls://", "tcp://")
    refused_in_time(AddressSpecification(address=plain, timeout=1))


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_a_certificate_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    """Before anything is connected."""
    files: dict[str, Any] = {
        each: tmp_path / f"{each}.pem" for each in ("ca_file", "cert_file", "key_file")
    }
    for each, path in files.items():
        if each != name:
            path.touch()
    specification = AddressSpecification(address="tls://127.0.0.1:8786", **files)
    with pytest.raises(ClusterError, match=rf"{name}\.pem is not there"), connect(specification):
        pass


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    """What is wrong is told of the files, not of the scheduler."""
    files: dict[str, Any] = {
        each: tmp_path / f"{each}.pem" for each in ("ca_file", "cert_file", "key_file")
    }
    for path in files.values():
        path.write_text("nothing")
    specification = AddressSpecification(address="tls://127.0.0.1:8786", **files)
    with pytest.raises(ClusterError, match="cannot be used, give PEM"), connect(specification):
        pass
