"""What a cluster may be, and what is refused before anything is started."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from forebay.cluster import AddressSpecification, ClusterSpecification, LocalClusterSpecification

ANY: TypeAdapter[Any] = TypeAdapter(ClusterSpecification)
FILES = {"ca_file": "/ca.pem", "cert_file": "/cert.pem", "key_file": "/key.pem"}


def test_the_kind_tells_specifications_apart() -> None:
    """A table of the configuration becomes the specification of its kind."""
    assert ANY.validate_python({"kind": "local", "workers": 2}) == LocalClusterSpecification(
        workers=2
    )
    address = ANY.validate_python({"kind": "address", "address": "tcp://localhost:8786"})
    assert address == AddressSpecification(address="tcp://localhost:8786")
    with pytest.raises(ValidationError, match="kind"):
        ANY.validate_python({"kind": "cloud"})


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads_per_worker": -1}, {"memory_limit": 0}])
def test_a_cluster_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """There is a worker, a thread and some memory in any cluster."""
    with pytest.raises(ValidationError, match=r"(greater|more) than 0"):
        LocalClusterSpecification(**wrong)


def test_memory_is_given_in_words_or_left_to_dask() -> None:
    """A size may have a unit."""
    assert LocalClusterSpecification().memory_limit == "auto"
    assert ANY.validate_python({"kind": "local", "memory_limit": "2 GiB"}).memory_limit == 2**31


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8786",
        "tcp://localhost",
        "ucx://localhost:1",
        "tcp://u@localhost:1",
        "tcp://:1",
        "tcp://localhost:99999",
        "tcp://localhost:0",
        "tls://far.example:1/path",
        "http://[::1]:80",
    ],
)
def test_an_address_has_a_scheme_a_host_and_a_port_and_no_more(address: str) -> None:
    """Anything else is refused, with the form that is right."""
    with pytest.raises(ValidationError, match="an address is tcp://HOST:PORT or tls://HOST:PORT"):
        AddressSpecification(address=address)


@given(st.ip_addresses().filter(lambda ip: not ip.is_loopback))
def test_no_other_machine_is_spoken_to_in_the_clear(ip: Any) -> None:
    """Whoever can read what goes to a scheduler in the clear can make it run code."""
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    with pytest.raises(ValidationError, match="in the clear: give tls://"):
        AddressSpecification(address=f"tcp://{host}:8786")


@pytest.mark.parametrize("host", ["scheduler.example", "localhost.example.com", "127.0.0.1.nip.io"])
def test_a_name_is_taken_for_another_machine(host: str) -> None:
    """A name that looks like this machine is not this machine."""
    with pytest.raises(ValidationError, match="in the clear"):
        AddressSpecification(address=f"tcp://{host}:8786")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_needs_no_tls(host: str) -> None:
    """What goes over the loopback interface does not leave the machine."""
    assert AddressSpecification(address=f"tcp://{host}:8786").ca_file is None


@pytest.mark.parametrize("missing", sorted(FILES))
def test_tls_needs_all_of_its_files(missing: str) -> None:
    """Both sides show a certificate, so that nobody else can join."""
    files: dict[str, Any] = {name: Path(file) for name, file in FILES.items() if name != missing}
    with pytest.raises(ValidationError, match=f"needs {missing} too"):
        AddressSpecification(address="tls://far.example:8786", **files)


def test_certificates_are_not_passed_over() -> None:
    """Who gives certificates with tcp:// believes to be safe, and is not."""
    with pytest.raises(ValidationError, match=r"ca_file would not be used: .* is not tls://"):
        AddressSpecification(address="tcp://127.0.0.1:8786", ca_file=Path("/ca.pem"))
