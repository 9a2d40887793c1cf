"""Requests for machines whose answer was lost: what came of them is seen later, by their tags."""

import time
from collections.abc import Callable, Mapping

from forebay.cluster.aws.account import is_silence
from forebay.cluster.errors import ClusterError
from forebay.cluster.spending import Spending

SEEN_SECONDS = 120.0
"""Time in which AWS lists a machine that it has started."""


class Unanswered:
    """What a pool has asked for without an answer, charged until it is known to have been in vain.

    Parameters
    ----------
    spending
        Where the charges are written down.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(self, spending: Spending, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spending = spending
        self._clock = clock
        self._since: dict[str, float] = {}

    def take(self, token: str, error: BaseException) -> None:
        """Take in that a request has failed: it costs nothing if it was refused."""
        if isinstance(error, ClusterError) and not is_silence(error.__cause__):
            self._spending.refused(token)
        else:
            self._since[token] = self._clock()

    def settle(self, machines: Mapping[str, str]) -> None:
        """Write down what came of them.

        Parameters
        ----------
        machines
            The machines that AWS lists, by the requests for them.
        """
        for token, since in list(self._since.items()):
            if token in machines:
                self._spending.began(token, machines[token])
            elif self._clock() - since > SEEN_SECONDS:
                self._spending.refused(token)
            else:
                continue
            del self._since[token]
