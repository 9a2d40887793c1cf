"""The certificate of a cluster: who takes it, and when."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from forebay.cluster.keeping.certificates import new_certificate, put_new, security_of
from forebay.cluster.keeping.place import Place


def handshake(served: ssl.SSLContext, asking: ssl.SSLContext) -> None:
    """Let two speak to each other, without a network."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        asking.wrap_bio(back, there, server_side=False),
        served.wrap_bio(there, back, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)


def test_a_machine_whose_clock_is_behind_takes_it() -> None:
    """It is in force since an hour before, as far as seconds go, and for a year."""
    certificate, _ = new_certificate()
    read = x509.load_pem_x509_certificate(certificate.encode())
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    assert abs(now - timedelta(hours=1) - read.not_valid_before_utc) < 5 * minute
    assert abs(now + timedelta(days=365) - read.not_valid_after_utc) < 5 * minute


def test_all_of_a_cluster_show_and_trust_it(tmp_path: Path) -> None:
    """From its files and from memory alike; nobody else may read the files."""
    place = Place(tmp_path)
    from_files: Any = put_new(place)
    in_memory: Any = security_of(place.ca_file.read_text(), place.key_file.read_text())
    for served, asking in ((from_files, in_memory), (in_memory, from_files)):
        handshake(
            served.get_listen_args("scheduler")["ssl_context"],
            asking.get_connection_args("worker")["ssl_context"],
        )
    assert stat.S_IMODE(place.key_file.stat().st_mode) == 0o600
