"""Whether client, scheduler and workers can understand each other."""

from collections.abc import Sequence
from typing import Any

from forebay.cluster.errors import ClusterError

MUST_MATCH = ("python", "dask", "distributed")
"""What client, scheduler and workers must have in the same version."""
_OURS = "forebay"
"""What computes units: a scheduler does without it."""


def check_versions(client: Any, address: str) -> None:
    """Refuse a cluster whose parties run other versions than this side.

    Raises
    ------
    ClusterError
        If there is one; it says all that differs.
    """
    found = client.get_versions(packages=[_OURS])
    parties = {"scheduler": found["scheduler"]} | {
        f"worker {name}": party for name, party in found["workers"].items()
    }
    for name, party in parties.items():
        needless = name == "scheduler" and party["packages"].get(_OURS) is None
        packages = MUST_MATCH if needless else (*MUST_MATCH, _OURS)
        differing = differences(found["client"], party, packages)
        if differing:
            raise ClusterError(
                f"the {name} of {address} has {', '.join(differing)}: install the same version on "
                "both"
            )


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], packages: Sequence[str] = MUST_MATCH
) -> list[str]:
    """Return the versions of another party that do not go with this side's.

    Parameters
    ----------
    ours, theirs
        Versions, as Dask tells them.
    packages
        What has to be the same.

    Examples
    --------
    >>> ours = {"packages": {"python": "3.12.1.final.0", "dask": "2026.7.1"}}
    >>> theirs = {"packages": {"python": "3.12.9.final.0", "dask": "2026.1.0"}}
    >>> differences(ours, theirs)
    ['dask 2026.1.0, this side has 2026.7.1']
    """
    return [
        f"{package} {there}, this side has {here}"
        if there
        else f"no {package}, this side has {here}"
        for package in packages
        if (here := _version(ours, package)) != (there := _version(theirs, package))
    ]


def _version(party: dict[str, Any], package: str) -> str:
    version = str(party["packages"].get(package) or "")
    # Pickled code is understood between patch releases of Python.
    return ".".join(version.split(".")[:2]) if package == "python" else version
