"""The certificates of one start: made here, fetched by its machines, never in their user data.

Whoever can read a machine's user data, every program on it included, could join the scheduler and
make it run code if the key stood there.  It is an encrypted parameter of the Systems Manager
instead, which only the role of the machines may read, and which goes when the cluster does.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from forebay.cluster.aws.account import asking, client
from forebay.cluster.aws.owner import Owner
from forebay.cluster.keeping.certificates import security_of

if TYPE_CHECKING:
    from distributed import Security


def publish(certificate: str, key: str, owner: Owner, region: str, tags: Mapping[str, str]) -> None:
    """Leave the certificate and its key where the machines of a start fetch them."""
    content = {"certificate": certificate, "key": key}
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


def fetch(parameter: str, region: str) -> "Security":
    """Return the `distributed.Security` that was published, on a machine of the cluster."""
    with asking("for the certificates of the cluster"):
        answer = client("ssm", region).get_parameter(Name=parameter, WithDecryption=True)
    content = json.loads(answer["Parameter"]["Value"])
    return security_of(content["certificate"], content["key"])
