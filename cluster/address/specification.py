"""Which scheduler is to be joined."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, field_validator, model_validator

from forebay.cluster.loopback import is_loopback
from forebay.cluster.model import ClusterModel
from forebay.cluster.plan import Plan

if TYPE_CHECKING:
    from distributed import Client


class AddressSpecification(ClusterModel):
    """A scheduler that runs already; only its own machine is spoken to without TLS."""

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
        if not is_loopback(parts.hostname or ""):
            raise ValueError(
                f"{self.address} would send frames and code over the network in the clear: give "
                "tls:// with ca_file, cert_file and key_file, or an address on this machine"
            )
        if given:
            raise ValueError(f"{', '.join(given)} would not be used: {self.address} is not tls://")
        return self

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Join the scheduler, and watch its workers; it goes on after the block."""
        from forebay.cluster.address.start import join_and_watch

        return join_and_watch(self, name)

    def plan(self, name: str) -> Plan:  # noqa: ARG002
        """Return which scheduler would be joined, and what is missing for it."""
        from forebay.cluster.address.start import plan

        return plan(self)
