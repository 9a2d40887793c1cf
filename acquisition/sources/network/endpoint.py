"""Where frames are received, and who may send them there."""

import ipaddress
import re

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown

_ENDPOINT = re.compile(r"tcp://(?P<host>\[[^\[\]]+\]|[^\[\]:/]+):(?P<port>\*|[0-9]{1,5})")
_LOCAL_NAME = "localhost"


def check_endpoint(endpoint: str, *, encrypted: bool, listening: bool) -> str:
    """Return an endpoint as ZeroMQ takes it.

    Parameters
    ----------
    endpoint
        ``tcp://HOST:PORT``; an IPv6 address stands in brackets.  To listen, the host is an
        address or ``*`` for all of them, and the port may be ``*`` for any that is free.
    encrypted
        Whether both sides have keys; without, both have to be on this machine.
    listening
        Whether frames are received there, or sent to it.

    Raises
    ------
    SourceError
        If it is not of that form, or beyond this machine without keys.

    Examples
    --------
    >>> check_endpoint("tcp://localhost:5555", encrypted=False, listening=True)
    'tcp://127.0.0.1:5555'
    """
    found = _ENDPOINT.fullmatch(endpoint)
    port = found["port"] if found else ""
    if found is None or (port == "*" and not listening) or (port != "*" and int(port) > 65535):
        raise SourceError(
            f"{shown(repr(endpoint))} is no endpoint; write for example tcp://127.0.0.1:5555"
        )
    host = "127.0.0.1" if found["host"] == _LOCAL_NAME else found["host"]
    address = _address(host)
    if listening and address is None and host != "*":
        raise SourceError(
            f"{shown(endpoint)} cannot be listened at: {shown(host)} is no address; give one of "
            "this machine's, or * for all"
        )
    if not encrypted and not (address and address.is_loopback):
        raise SourceError(
            f"{shown(endpoint)} is beyond this machine, and frames go there only encrypted: give "
            "the keys of both sides, or use tcp://127.0.0.1"
        )
    return f"tcp://{host}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
