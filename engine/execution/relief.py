"""Asking an acquisition to reduce its frames while the processing of its run is late."""

import logging
import time

from forebay.acquisition.control import ControlClient
from forebay.acquisition.control.errors import RequestError
from forebay.errors import ForebayError

_LOOK_SECONDS = 1.0
_ASK_SECONDS = 10.0
"""For how long it is asked; who asks no more, for whatever reason, wants nothing any more."""
_MOST_STEPS = 8

_log = logging.getLogger("forebay.engine")


class Relief:
    """Asks for more reductions the more blocks wait: one step for each so many.

    Parameters
    ----------
    run_id
        The run.
    reduce_at
        Number of blocks that wait for each step.
    """

    def __init__(self, run_id: str, reduce_at: int) -> None:
        self._run_id = run_id
        self._reduce_at = reduce_at
        self._next = 0.0
        self._level = 0
        self._refused = False
        self._unheard = False

    @property
    def due(self) -> bool:
        """Whether it is time to look how many blocks wait."""
        return not self._refused and time.monotonic() >= self._next

    def look(self, waiting: int) -> None:
        """Ask for what is needed, where so many blocks wait."""
        self._next = time.monotonic() + _LOOK_SECONDS
        level = min(_MOST_STEPS, waiting // self._reduce_at)
        if level == self._level == 0:
            return
        try:
            with ControlClient(self._run_id, timeout=1.0) as client:
                client.request("reduce", level=level, seconds=_ASK_SECONDS)
        except RequestError as error:
            # That it declares no reductions is not going to change.
            self._refused = True
            _log.warning("the acquisition does not reduce its frames for processing: %s", error)
            return
        except ForebayError as error:
            # A machine that is too busy to answer at once is what reductions are for.
            if not self._unheard:
                _log.warning("the acquisition cannot be asked for reductions now: %s", error)
            self._unheard = True
            return
        self._unheard = False
        if level != self._level:
            _log.warning(
                "processing is %d blocks late: the acquisition is asked for %d reductions",
                waiting,
                level,
            )
        self._level = level
