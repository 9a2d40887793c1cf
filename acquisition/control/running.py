"""What all acquisitions of this user on this machine say of themselves."""

import contextlib
from collections.abc import Mapping
from typing import Any

from forebay.acquisition.control.client import ControlClient
from forebay.acquisition.control.folder import SUFFIX, SocketFolder
from forebay.acquisition.errors import ControlError


def running_acquisitions(*, timeout: float = 1.0) -> list[Mapping[str, Any]]:
    """Return the status of each acquisition of this user that is under way on this machine.

    One that has just ended is left out, and so is one that does not answer in time.

    Parameters
    ----------
    timeout
        Seconds within which each has to answer.

    Returns
    -------
    list of dict
        What ``forebay control RUN status`` shows of each.

    Raises
    ------
    ControlError
        If others than this user may have put something into the folder of the sockets.
    """
    folder = SocketFolder.find()
    if folder is None:
        return []
    with folder:
        names = [name for name in folder.names() if name.endswith(SUFFIX)]
    found: list[Mapping[str, Any]] = []
    for name in names:
        # A socket that a kill has left behind has nobody behind it.
        with (
            contextlib.suppress(ControlError),
            ControlClient(name.removesuffix(SUFFIX), timeout=timeout) as client,
        ):
            found.append(client.request("status"))
    return found
