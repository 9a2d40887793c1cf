"""Whether client, scheduler and workers can understand each other."""

from typing import Any

from forebay.cluster.errors import ClusterError

MUST_MATCH = ("python", "dask", "distributed")
"""What client, scheduler and workers must have in the same version."""


def check_versions(client: Any, address: str) -> None:
    """Refuse a cluster whose parties run other versions than this side.

    Raises
    ------
    ClusterError
        If there is one.
    """
    found = client.get_versions()
    parties = {"scheduler": found["scheduler"]} | {
        f"worker {name}": party for name, party in found["workers"].items()
    }
    for name, party in parties.items():
        for package in MUST_MATCH:
            ours = _version(found["client"], package)
            theirs = _version(party, package)
            if ours != theirs:
                raise ClusterError(
                    f"the {name} of {address} has {package} {theirs}, this side has {ours}: "
                    "install the same version on both"
                )


def _version(party: dict[str, Any], package: str) -> str:
    version = str(party["packages"].get(package))
    # Pickled code is understood between patch releases of Python.
    return ".".join(version.split(".")[:2]) if package == "python" else version
