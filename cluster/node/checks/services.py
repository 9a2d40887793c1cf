"""Services that the configuration names, and whether they answer."""

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict

_SECONDS = 5.0
_HTTP_PORTS = {"http": 80, "https": 443}


class ServiceKind(StrEnum):
    """How a service is asked."""

    TCP = "tcp"
    """By connecting to it."""
    SLURM = "slurm"
    """By ``scontrol ping``."""
    S3 = "s3"
    """By asking for the head of a bucket, without credentials."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the configuration names."""

    name: str
    """Where in the configuration."""
    kind: ServiceKind
    """How it is asked."""
    address: str = ""
    """``HOST:PORT``, or for S3 the URL of the bucket."""
    endpoint: str = ""
    """For S3, the URL of the server."""


def service_checks(services: tuple[Service, ...]) -> tuple[Check, ...]:
    """Return the checks of services; nothing else is connected to.

    Parameters
    ----------
    services
        What the configuration names.
    """
    return tuple(_check(service) for service in services)


def _check(service: Service) -> Check:
    def look(machine: Machine, _purpose: Purpose, _subject: str) -> Iterator[Seen]:
        match service.kind:
            case ServiceKind.TCP:
                yield _connected(service)
            case ServiceKind.SLURM:
                yield _slurm(machine)
            case ServiceKind.S3:
                yield _bucket(service)

    def subjects(_machine: Machine, _purpose: Purpose) -> list[str]:
        return [f"{service.name} {service.address}".rstrip()]

    reads, why, mend = _WORDS[service.kind]
    return Check(
        name=f"{service.kind} reachable",
        reads=(reads,),
        why=why,
        mend=mend,
        look=look,
        subjects=subjects,
    )


_WORDS = {
    ServiceKind.TCP: (
        "connect(2)",
        "The configuration names it; what needs it will not start.",
        "start it, or correct its address; a firewall between shows as a time-out",
    ),
    ServiceKind.SLURM: (
        "scontrol ping",
        "The configuration names a cluster of Slurm; without its controller no worker is started.",
        (
            "install Slurm's client with the site's slurm.conf and munge key; 'scontrol ping' and "
            "'munge -n | unmunge' have to work"
        ),
    ),
    ServiceKind.S3: (
        "HEAD of the bucket",
        "The configuration names it; runs there can be neither read nor written.",
        (
            "correct the bucket's name, the region (AWS_REGION) or the server (AWS_ENDPOINT_URL), or open "
            "the way to it"
        ),
    ),
}


def _connected(service: Service) -> Seen:
    host, _, port = service.address.rpartition(":")
    wanted = "it answers"
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        return Seen(Verdict.WRONG, f"{service.address} is not HOST:PORT", wanted)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS):
            return Seen(Verdict.OK, f"{service.address} takes connections", wanted)
    except OSError as error:
        return Seen(Verdict.WRONG, f"{service.address}: {_reason(error)}", wanted)


def _slurm(machine: Machine) -> Seen:
    try:
        answer = machine.run(["scontrol", "ping"])
    except UnreadableError as error:
        return Seen(Verdict.WRONG, str(error), "UP")
    said = " ".join((answer.out or answer.err.strip().partition("\n")[0]).split())
    up = answer.code == 0 and re.search(r"\bis UP\b", said)
    return Seen(Verdict.OK if up else Verdict.WRONG, said or "scontrol says nothing", "UP")


def _bucket(service: Service) -> Seen:
    bucket = urlsplit(service.address).netloc
    parts = urlsplit(service.endpoint)
    wanted = "the bucket answers"
    if parts.scheme not in _HTTP_PORTS or not parts.hostname or not bucket:
        found = f"{service.endpoint} is no http:// or https:// URL of a server"
        return Seen(Verdict.WRONG, found, wanted)
    try:
        status, region = _head(parts.scheme, parts.hostname, parts.port, f"{parts.path}/{bucket}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Seen(Verdict.WRONG, f"{service.endpoint}: {_reason(error)}", wanted)
    told = f"{service.endpoint} answers {status} for {bucket}"
    match status:
        case 200:
            return Seen(Verdict.OK, told, wanted)
        case 401 | 403:
            return Seen(Verdict.OK, f"{told}: it is there, and asks who we are", wanted)
        case 301 | 307 | 400:
            where = f"it lies in {region}" if region else "it lies elsewhere"
            return Seen(Verdict.WRONG, f"{told}: {where}", wanted)
        case 404:
            return Seen(Verdict.WRONG, f"{told}: there is no such bucket", wanted)
        case _:
            return Seen(Verdict.BETTER, told, wanted)


def _head(scheme: str, host: str, port: int | None, path: str) -> tuple[int, str | None]:
    port = port or _HTTP_PORTS[scheme]
    connection = (
        http.client.HTTPSConnection(
            host, port, timeout=_SECONDS, context=ssl.create_default_context()
        )
        if scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=_SECONDS)
    )
    try:
        connection.request("HEAD", path)
        response = connection.getresponse()
        return response.status, response.getheader("x-amz-bucket-region")
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    strerror = error.strerror if isinstance(error, OSError) else None
    return " ".join((strerror or str(error) or type(error).__name__).split())
