"""kubectl, which knows how to reach Kubernetes and who asks."""

import re
from collections.abc import Sequence

from forebay.cluster.keeping.command import command
from forebay.cluster.kubernetes.specification import KubernetesClusterSpecification

MISSING = (
    "there is no kubectl here: install it (https://kubernetes.io/docs/tasks/tools/), with a "
    "configuration for the Kubernetes that is meant"
)
_SILENCE = (
    "Unable to connect to the server",
    "was refused - did you specify the right host or port",
    "Client.Timeout exceeded",
    "TLS handshake timeout",
    "i/o timeout",
    "dial tcp",
    "connection refused",
    "EOF",
    "ServiceUnavailable",
    "InternalError",
    "Too Many Requests",
    "the server was unable to return a response",
    "etcdserver",
)
"""What kubectl says when Kubernetes has not done what it was asked for, and may do so later."""
_LOGGED = re.compile(r"[EWI]\d{4} \d\d:\d\d:\d\d\.")
"""How a line of its own log begins, such as that of each try to reach a server."""


def words_of(specification: KubernetesClusterSpecification, words: Sequence[str]) -> list[str]:
    """Return the words of a command for the namespace of a cluster."""
    context = specification.context
    return [
        "kubectl",
        *([] if context is None else [f"--context={context}"]),
        f"--namespace={specification.namespace}",
        *words,
    ]


async def kubectl(
    specification: KubernetesClusterSpecification, *words: str, given: str | None = None
) -> str:
    """Call kubectl for the namespace of a cluster, and return what it prints.

    Raises
    ------
    PoolError
        If Kubernetes refuses.
    PoolSilentError
        If it does not answer.
    """
    return await command(
        words_of(specification, words),
        given=given,
        missing=MISSING,
        silence=_SILENCE,
        said_in=last_words,
    )


def last_words(text: str) -> str:
    r"""Return what kubectl complains of, in one line.

    Examples
    --------
    >>> last_words('Error from server (NotFound): namespaces "x" not found\n')
    'namespaces "x" not found'
    >>> last_words("E1122 19:50:54.330810 7 memcache.go:265] refused\nThe server was refused\n")
    'The server was refused'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not _LOGGED.match(line)] or lines
    said = [line.partition("): ")[2] if line.startswith("Error from") else line for line in lines]
    return "; ".join(dict.fromkeys(line.removeprefix("error: ") for line in said if line))
