"""Values as they may be shown: what somebody has put into a URL as a password is left out."""

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def shown(value: str) -> str:
    """Return a value without the credentials of URLs in it.

    Examples
    --------
    >>> shown("postgresql://lab:secret@host/ledger")
    'postgresql://***@host/ledger'
    >>> shown("s3://instrument-7/runs")
    's3://instrument-7/runs'
    """
    return _CREDENTIALS.sub("***@", value)
