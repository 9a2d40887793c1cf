"""Which addresses lead to this machine and no other."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether what is sent to a host stays on this machine.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("10.0.0.7")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
