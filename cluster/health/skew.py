"""By how much the clock of a worker is off, as several of its messages say."""

from collections import deque
from collections.abc import Mapping

_MESSAGES = 3


class Skews:
    """Takes the least of what the last few messages of each worker say.

    A scheduler takes the age of a message for the skew of a clock.  After it was stopped, or busy,
    one message of every worker is old.

    Examples
    --------
    >>> skews = Skews()
    >>> [skews.of({"one": (seen, 90.0 + seen)})["one"] for seen in (1.0, 2.0, 2.0, 3.0)]
    [0.0, 0.0, 0.0, 91.0]
    """

    def __init__(self) -> None:
        self._messages: dict[str, deque[tuple[float, float]]] = {}

    def of(self, last: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Return by how many seconds the clock of each worker is off.

        Parameters
        ----------
        last
            When the scheduler has heard of each worker last, and how old that message seemed.
        """
        messages = {}
        for address, message in last.items():
            heard = messages[address] = self._messages.get(address, deque(maxlen=_MESSAGES))
            if not heard or heard[-1] != message:
                heard.append(message)
        self._messages = messages
        return {
            address: min((skew for _, skew in heard), key=abs) if len(heard) == _MESSAGES else 0.0
            for address, heard in messages.items()
        }
