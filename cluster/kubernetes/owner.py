"""Whose resources are whose on Kubernetes: the labels that they carry, and the start they belong to."""

import hashlib
import re
from dataclasses import dataclass

from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.owner import StartOwner
from forebay.cluster.keeping.place import Place
from forebay.cluster.keeping.site import site_of

_PREFIX = "forebay/"
CLUSTER_LABEL = f"{_PREFIX}cluster"
"""The label with the name of the cluster."""
SITE_LABEL = f"{_PREFIX}site"
"""The label with the site that it was started from."""
START_LABEL = f"{_PREFIX}start"
"""The label by which all resources of a start are found."""
LARGER_LABEL = f"{_PREFIX}larger"
"""The label of the group of the worker that has more memory than the others."""
_LONGEST = 40
"""Characters of a start's name: the operator adds to it, and 63 are the most."""


@dataclass(frozen=True, slots=True)
class Owner(StartOwner):
    """One start of a cluster on Kubernetes; its resources are called after the start."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that is made on Kubernetes for it."""
        return self.marks(_PREFIX)


def owner_of(name: str, place: Place) -> Owner:
    """Return who has a folder of a cluster, as Kubernetes knows it.

    Raises
    ------
    ClusterError
        If the name of the cluster is none for Kubernetes.
    """
    mark = hashlib.sha256(str(place.path).encode()).hexdigest()[:6]
    return Owner(name, site_of(place.path.parent), start_name(name, mark))


def start_name(name: str, mark: str) -> str:
    """Return what the resources of a start of a cluster are called.

    Parameters
    ----------
    name
        What the cluster is called.
    mark
        Tells starts apart: a few characters of a-z and 0-9.

    Raises
    ------
    ClusterError
        If the name is none for Kubernetes.

    Examples
    --------
    >>> start_name("imaging", "1a2b3c")
    'forebay-imaging-1a2b3c'
    """
    made = f"forebay-{name}-{mark}"
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made) or len(made) > _LONGEST:
        most = _LONGEST - len(f"forebay--{mark}")
        raise ClusterError(
            f"the cluster cannot be called {name!r} on Kubernetes: give it a name of at most {most} "
            "characters of a-z, 0-9 and '-'"
        )
    return made
