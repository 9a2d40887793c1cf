"""What a cluster is to be: one frozen model for each kind, told apart by ``kind``."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)


class LocalClusterSpecification(BaseModel):
    """Workers on this machine, started for one command and ended with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local"] = Field(default="local", description="Workers on this machine.")
    workers: PositiveInt | None = Field(
        default=None, description="Number of workers; one for each CPU where it is not given."
    )
    threads_per_worker: PositiveInt = Field(
        default=1, description="Units that a worker computes at once."
    )
    memory_limit: Literal["auto"] | ByteSize = Field(
        default="auto",
        description="Memory of one worker, such as '2 GiB'; 'auto' is its share of the machine's.",
    )
    processes: bool = Field(
        default=True, description="A process for each worker, rather than threads of this process."
    )
    dashboard: bool = Field(
        default=False, description="Serve the Dask dashboard, on a free port of 127.0.0.1 only."
    )

    @field_validator("memory_limit")
    @classmethod
    def _some_memory(cls, memory: str | ByteSize) -> str | ByteSize:
        if memory != "auto" and int(memory) <= 0:
            raise ValueError("a worker needs more than 0 bytes")
        return memory


class AddressSpecification(BaseModel):
    """A scheduler that runs already; only its own machine is spoken to without TLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["address"] = Field(
        default="address", description="A scheduler that runs already."
    )
    address: str = Field(
        default="tcp://127.0.0.1:8786",
        description="The scheduler: tcp:// on this machine, tls:// anywhere.",
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust, in PEM (tls:// only)."
    )
    cert_file: Path | None = Field(
        default=None, description="Our certificate, in PEM (tls:// only)."
    )
    key_file: Path | None = Field(
        default=None, description="Our private key, in PEM (tls:// only)."
    )
    timeout: PositiveFloat = Field(default=10.0, description="Seconds to wait for the scheduler.")

    @field_validator("address")
    @classmethod
    def _complete(cls, address: str) -> str:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = None
        complete = parts.hostname and port and not (parts.path or parts.query or parts.username)
        if parts.scheme not in {"tcp", "tls"} or not complete:
            raise ValueError("an address is tcp://HOST:PORT or tls://HOST:PORT")
        return address

    @model_validator(mode="after")
    def _private(self) -> Self:
        parts = urlsplit(self.address)
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        given = [name for name, file in files.items() if file is not None]
        missing = [name for name, file in files.items() if file is None]
        if parts.scheme == "tls":
            if missing:
                raise ValueError(f"{self.address} needs {', '.join(missing)} too")
            return self
        if not _is_loopback(parts.hostname or ""):
            raise ValueError(
                f"{self.address} would send frames and code over the network in the clear: give "
                "tls:// with ca_file, cert_file and key_file, or an address on this machine"
            )
        if given:
            raise ValueError(f"{', '.join(given)} would not be used: {self.address} is not tls://")
        return self


ClusterSpecification = Annotated[
    LocalClusterSpecification | AddressSpecification, Field(discriminator="kind")
]
"""Any kind of cluster, as it stands in the configuration."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
