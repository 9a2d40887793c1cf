"""The machine that a command is about, and what the settings say of it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from forebay.cli.errors import OptionError

if TYPE_CHECKING:
    from forebay.cluster.node import Purpose
    from forebay.cluster.node.checks.services import Service
    from forebay.config import Settings

_POSTGRES_PORT = 5432

RoleOption = Annotated[
    str | None,
    typer.Option(
        "--role",
        help="What the machine does: acquisition, compute or storage; else the setting 'node.role'.",
        autocompletion=lambda: ["acquisition", "compute", "storage"],
    ),
]
RootOption = Annotated[
    Path,
    typer.Option(
        "--root", help="Root of the machine's file system, such as that of an image to be started."
    ),
]


def purpose(settings: "Settings", role: str | None) -> "Purpose":
    """Return what the machine is for.

    Raises
    ------
    OptionError
        If neither the option nor the settings say so.
    """
    from forebay.cluster.node import Purpose, Role

    named = role or settings.node.role
    if named is None:
        raise OptionError(
            f"say what the machine is for: --role {', '.join(Role)}, or the setting node.role"
        )
    if named not in list(Role):
        raise OptionError(f"there is no role {named!r}; there are {', '.join(Role)}")
    return Purpose(
        Role(named),
        interfaces=settings.node.interfaces,
        cores=(named == Role.ACQUISITION and settings.acquisition.scheduling.cores) or (),
        group=settings.node.group,
    )


def services(
    settings: "Settings", *, environ: Mapping[str, str] = os.environ
) -> "tuple[Service, ...]":
    """Return the services that the settings name: clusters, the ledger, buckets, and others."""
    from forebay.cluster import AddressSpecification
    from forebay.cluster.node.checks.services import Service, ServiceKind

    found: dict[tuple[ServiceKind, str], Service] = {}

    def add(name: str, kind: ServiceKind, address: str = "") -> None:
        endpoint = _endpoint(environ) if kind is ServiceKind.S3 else ""
        found.setdefault((kind, address), Service(name, kind, address, endpoint))

    for name, cluster in settings.clusters.items():
        kind: str = cluster.kind
        if isinstance(cluster, AddressSpecification):
            add(f"clusters.{name}", ServiceKind.TCP, urlsplit(cluster.address).netloc)
        elif kind == "slurm":
            add(f"clusters.{name}", ServiceKind.SLURM)
    ledger = settings.engine.ledger
    if isinstance(ledger, str) and ledger.startswith("postgresql"):
        parts = urlsplit(ledger)
        # Without a host it is a socket on this machine.
        if parts.hostname:
            add(
                "engine.ledger", ServiceKind.TCP, f"{parts.hostname}:{parts.port or _POSTGRES_PORT}"
            )
    for text in settings.node.services:
        if text == "slurm":
            add("node.services", ServiceKind.SLURM)
        elif text.startswith("s3://"):
            add("node.services", ServiceKind.S3, f"s3://{urlsplit(text).netloc}")
        else:
            add("node.services", ServiceKind.TCP, urlsplit(text).netloc)
    for key, url in _urls(settings):
        add(key, ServiceKind.S3, f"s3://{urlsplit(url).netloc}")
    return tuple(found.values())


def _urls(settings: "Settings") -> Iterator[tuple[str, str]]:
    """Yield the URLs of buckets that stand anywhere in the settings, by their keys."""
    from forebay.config.settings import leaves

    for key, value in leaves(settings):
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str) and each.startswith("s3://"):
                yield ".".join(key), each


def _endpoint(environ: Mapping[str, str]) -> str:
    """Return the server of buckets, which object stores find in the same way."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if environ.get(name):
            return environ[name]
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return f"https://s3.{region}.amazonaws.com"


def as_row(value: Any) -> str:
    """Return a cell of a table: a dash where there is nothing to tell."""
    return str(value) or "-"
