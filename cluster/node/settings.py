"""What can be configured of the machine itself."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from forebay.cluster.node.purpose import Role


def _interface(name: str) -> str:
    # What the kernel takes for a name; it becomes a part of a path and of a rule.
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,15}", name) or name in {".", ".."}:
        raise ValueError(f"{name!r} is no name of a network interface, such as 'enp65s0f0'")
    return name


def _service(text: str) -> str:
    if text == "slurm" or re.fullmatch(r"s3://[a-z0-9][a-z0-9._-]*(/\S*)?", text):
        return text
    if re.fullmatch(r"tcp://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", text):
        return text
    raise ValueError(f"{text!r} is none of 's3://BUCKET', 'tcp://HOST:PORT' and 'slurm'")


def _group(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", name):
        raise ValueError(f"{name!r} is no name of a group of users, such as 'forebay'")
    return name


class NodeSettings(BaseModel):
    """What this machine is for, and what has to be in reach of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role | None = Field(
        default=None,
        description="What it does: acquisition, compute or storage; for 'forebay doctor' and "
        "'forebay tune'.",
    )
    interfaces: tuple[Annotated[str, AfterValidator(_interface)], ...] = Field(
        default=(), description="Network interfaces that carry frames; all fast ones if not given."
    )
    services: tuple[Annotated[str, AfterValidator(_service)], ...] = Field(
        default=(),
        description="What has to answer beside the clusters and the ledger that are configured: "
        "s3://BUCKET, tcp://HOST:PORT, slurm.",
    )
    group: Annotated[str, AfterValidator(_group)] = Field(
        default="forebay", description="The users whose limits 'forebay tune' raises."
    )
