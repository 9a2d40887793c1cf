"""The certificates of one start: made here, fetched by its machines, never in their user data.

Whoever can read a machine's user data, every program on it included, could join the scheduler and
make it run code if the key stood there.  It is an encrypted parameter of the Systems Manager
instead, which only the role of the machines may read, and which goes when the cluster does.
"""

import json
from typing import Any

from forebay.cluster.aws.account import asking, client
from forebay.cluster.aws.owner import Owner


def make() -> Any:
    """Return a `distributed.Security` with a new key and certificate, which exist in memory."""
    from distributed import Security

    temporary: Any = Security.temporary
    return temporary()


def publish(security: Any, owner: Owner, region: str, tags: dict[str, str]) -> None:
    """Leave the certificates where the machines of a start fetch them."""
    content = {
        "ca": security.tls_ca_file,
        "certificate": security.tls_worker_cert,
        "key": security.tls_worker_key,
    }
    with asking("to keep the certificates of the cluster"):
        client("ssm", region).put_parameter(
            Name=owner.parameter,
            Description="Certificates of a Dask cluster",
            Value=json.dumps(content),
            Type="SecureString",
            Tags=[{"Key": key, "Value": value} for key, value in {**tags, **owner.tags}.items()],
        )


def withdraw(owner: Owner, region: str) -> None:
    """Remove the certificates of a start, if they are there."""
    with asking("to remove the certificates of the cluster"):
        # Unlike delete_parameter, this is no error where there is none.
        client("ssm", region).delete_parameters(Names=[owner.parameter])


def fetch(parameter: str, region: str) -> Any:
    """Return the `distributed.Security` that was published, on a machine of the cluster."""
    from distributed import Security

    with asking("for the certificates of the cluster"):
        answer = client("ssm", region).get_parameter(Name=parameter, WithDecryption=True)
    content = json.loads(answer["Parameter"]["Value"])
    return Security(  # type: ignore[no-untyped-call]
        require_encryption=True,
        tls_ca_file=content["ca"],
        **{
            f"tls_{who}_{what}": content[field]
            for who in ("scheduler", "worker", "client")
            for what, field in (("cert", "certificate"), ("key", "key"))
        },
    )
