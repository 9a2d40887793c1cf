"""The certificate of a cluster in files, as Dask takes it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Security

    from forebay.cluster.keeping.place import Place


def put_new(place: "Place") -> "Security":
    """Make the certificate of a cluster, which is in force as long as the cluster is."""
    from distributed import Security

    fresh: Any = Security.temporary()  # type: ignore[no-untyped-call]
    place.put_certificate(fresh.tls_worker_cert, fresh.tls_worker_key)
    return security_of(place.ca_file, place.key_file)


def security_of(certificate: Path, key: Path) -> "Security":
    """Return what scheduler, workers and clients show and trust: one certificate with its key."""
    from distributed import Security

    roles = {
        f"tls_{role}_{what}": str(file)
        for role in ("client", "scheduler", "worker")
        for what, file in (("cert", certificate), ("key", key))
    }
    return Security(  # type: ignore[no-untyped-call]
        tls_ca_file=str(certificate), require_encryption=True, **roles
    )
