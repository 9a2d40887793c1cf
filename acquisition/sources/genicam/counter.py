"""GigE Vision's numbers of blocks, made into a counter that only grows."""

import math

_NARROW = 65535
"""Highest number of a block that has 16 bits; the one after it is 1, for 0 is not used."""


class BlockCounter:
    """Counts exposures by the numbers of the blocks that they come in.

    A block has a number of 16 bits that goes from 65535 to 1, or one of 64 bits.  Within a
    connection numbers go up, so that one which is lower has wrapped, unless a number has needed
    more than 16 bits.

    After a connection was lost, a camera goes on with its numbers or begins anew.  It went on if
    the first one is higher than the last, by no more than it can have taken in between; then what
    is missing between them was lost.  Else it counts anew: the counter goes on from the last, and
    how much was lost is not known.

    Examples
    --------
    >>> counter = BlockCounter()
    >>> [counter.count(block) for block in (65534, 65535, 1, 4)]
    [65534, 65535, 65536, 65539]
    >>> counter.reconnect()
    >>> counter.count(1), counter.began_anew
    (65540, True)
    """

    def __init__(self) -> None:
        self.last: int | None = None
        """The last exposure that was counted; None before the first."""
        self.began_anew = False
        """Whether the camera counts anew since the connection was lost the last time."""
        self._block = 0
        self._wide = False
        self._reconnected = False

    def reconnect(self) -> None:
        """Take note that the connection was lost, and that the next block is of a new one."""
        self._reconnected = self.last is not None

    def count(self, block: int, *, most: float = math.inf) -> int | None:
        """Return the exposure that a block holds; None if it was counted already.

        Parameters
        ----------
        block
            Number of the block, as the camera sent it.
        most
            Exposures that the camera can have taken since the last that was counted; looked at
            only for the first one of a new connection.
        """
        if self.last is None:
            self.last = block
        elif (step := self._step(block, most)) is None:
            return None
        else:
            self.last += step
        self._wide |= block > _NARROW
        self._block = block
        return self.last

    def _step(self, block: int, most: float) -> int | None:
        """Return how far a block is behind the one before it; None if it is not."""
        step = block - self._block
        if self._reconnected:
            self._reconnected = False
            self.began_anew = not 0 < step <= most
            return 1 if self.began_anew else step
        if step < 0 and not self._wide:
            # At least 1, for a camera that does count to 0.
            return max(1, step + _NARROW)
        return step if step > 0 else None
