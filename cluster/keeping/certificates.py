"""The certificate of a cluster: made at its start, shown and trusted by all that belong to it.

Dask can make one, which is in force from that moment on: a machine whose clock is behind would
refuse it.  So it is made here, and is in force since an hour before.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Security

    from forebay.cluster.keeping.place import Place

_BEFORE = timedelta(hours=1)
"""How much the clock of a machine may be behind."""
_LENGTH = timedelta(days=365)
_KEY_BITS = 2048
_NAME = "dask-internal"


def put_new(place: "Place") -> "Security":
    """Make the certificate of a cluster, and keep it in its folder for as long as it runs."""
    place.put_certificate(*new_certificate())
    return security_of(str(place.ca_file), str(place.key_file))


def new_certificate() -> tuple[str, str]:
    """Return a new certificate that signs itself, and its private key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LENGTH)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem).decode(), written.decode()


def security_of(certificate: str, key: str) -> "Security":
    """Return what scheduler, workers and clients show and trust: one certificate with its key.

    Parameters
    ----------
    certificate
        The certificate as PEM, or the path of its file.
    key
        Its private key, likewise.
    """
    from distributed import Security

    roles = {
        f"tls_{role}_{what}": given
        for role in ("client", "scheduler", "worker")
        for what, given in (("cert", certificate), ("key", key))
    }
    return Security(  # type: ignore[no-untyped-call]
        tls_ca_file=certificate, require_encryption=True, **roles
    )
