"""A camera's counter, which wraps, stutters and begins anew, made into one that only grows."""

from typing import Final, NamedTuple

from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake.anomalies import AnomalyKind

WINDOW: Final = 64
"""A counter that is lower than the last one by so much at most is a frame out of order."""
RESTARTED_AFTER: Final = 3
"""So many frames in a row that have been there already, each later than the one before, are the
first frames of a camera that counts anew."""
HIGHEST: Final = 2**64 - 1
"""The highest counter that a run can hold."""

_DECLARED_REACH = 4096
_RECOGNISED_REACH = 1024
_USUAL_BITS = (16, 32)
_SEEN = (1 << (WINDOW + 1)) - 1


class Place(NamedTuple):
    """Where a frame belongs."""

    number: int | None
    """Its number; None if it is to be left out."""
    missing: int = 0
    """Numbers before it that are jumped over."""
    kind: AnomalyKind | None = None
    """What is unusual, beside a gap."""


_REPEATED = Place(None, 0, AnomalyKind.COUNTER_REPEATED)
_LATE = Place(None, 0, AnomalyKind.COUNTER_LATE)


class CounterSequence:
    """Numbers frames by the camera's counter so that the numbers grow by one for each exposure.

    Going on, the difference of the counters decides.  Going back, it is one of four things:

    - by `WINDOW` at most: a frame that has been there (repeated) or was missed (late);
    - from the top of the counter's range to its bottom: a wrap;
    - anything else: the camera counts anew, and the numbers go on upward from the next one;
    - by `WINDOW` at most, but `RESTARTED_AFTER` times in a row and upward, with frames that have
      been there and yet are later by their timestamps: the camera counts anew, too, and all but
      the last of them are jumped over.

    Parameters
    ----------
    bits
        Width of the camera's counter, 8 to 64; None to recognise a wrap at 16 or 32 bits where
        the counter goes from the last 1024 numbers of the range to the first.
    skips_zero
        Whether a wrap goes to 1 and not to 0, as with the block numbers of GigE Vision.
    following
        Lowest number that is free, where others have been given before; None for a start with
        the camera's own counter.

    Raises
    ------
    SourceError
        If there is no counter of so many bits.

    Notes
    -----
    From the counter alone, a camera that begins anew at the top of the range cannot be told from
    one that wraps and loses the frames between: with `bits` that is within 4096 numbers of the
    top, or a quarter of the range.

    Examples
    --------
    >>> sequence = CounterSequence(bits=16)
    >>> [sequence.place(counter, later=True).number for counter in (65534, 65535, 0, 1, 1, 3)]
    [65534, 65535, 65536, 65537, None, 65539]
    """

    def __init__(
        self,
        *,
        bits: int | None = None,
        skips_zero: bool = False,
        following: int | None = None,
    ) -> None:
        if bits is not None and not 8 <= bits <= 64:
            raise SourceError(f"a counter cannot have {bits} bits; declare 8 to 64, or none")
        self.restarts = 0
        """How often the camera began to count anew."""
        self._declared = bits is not None
        self._values = 0 if bits is None else 1 << bits
        self._lowest = 1 if skips_zero else 0
        self._following = following
        self._raw = self._number = self._first = -1
        # Bit k says whether the frame k before the last one has come.
        self._seen = 0
        # Frames in a row that may be the first ones of a camera that counts anew.
        self._again: list[int] = []

    @property
    def number(self) -> int:
        """The last number given; -1 before the first."""
        return self._number

    @property
    def raw(self) -> int:
        """The camera's counter of the last number given; -1 before the first."""
        return self._raw

    def refusal(self, raw: int) -> str | None:
        """Return why the camera cannot have counted to `raw`; None if it can."""
        if raw == HIGHEST and 0 <= self._raw < HIGHEST - WINDOW:
            # Taken for a counter, it would leave none for the frames behind it.
            return f"a frame has the counter 2^64 - 1 after {self._raw}: a mark that there is none"
        if self._lowest <= raw <= HIGHEST and not (self._declared and raw >= self._values):
            return None
        highest = f"2^{self._values.bit_length() - 1 if self._declared else 64} - 1"
        return f"a frame has the counter {raw}, which must be from {self._lowest} to {highest}"

    def place(self, raw: int, *, later: bool) -> Place:
        """Say where a frame belongs, and go on to it.

        Parameters
        ----------
        raw
            Its counter, one that `refusal` has nothing against.
        later
            Whether its timestamp is after that of the last frame that was taken.
        """
        if self._number < 0:
            return self._begin(raw)
        step = self._step(raw)
        if step is None:
            return self._restart(raw)
        if step > 0:
            kind = AnomalyKind.COUNTER_WRAPPED if raw < self._raw else None
            return self._go_on(raw, step, kind)
        return self._behind(raw, -step, later=later)

    def _begin(self, raw: int) -> Place:
        if self._following is not None and raw < self._following:
            self._number = self._following - 1
            return self._restart(raw)
        missing = 0 if self._following is None else raw - self._following
        self._raw = self._number = raw
        self._first, self._seen = raw - missing, 1
        return Place(raw, missing)

    def _step(self, raw: int) -> int | None:
        """Return how far a counter is from the last one; None if the camera counts anew."""
        ahead = raw - self._raw
        if self._values and not self._declared and raw >= self._values:
            self._values = 0  # so it was no wrap
        cycle = self._values - self._lowest
        if ahead > 0 and self._values and cycle - ahead <= WINDOW:
            return ahead - cycle
        if ahead >= -WINDOW:
            return ahead
        if self._values:
            return ahead + cycle if ahead + cycle <= min(_DECLARED_REACH, cycle // 4) else None
        for bits in _USUAL_BITS:
            step = ahead + (1 << bits) - self._lowest
            if self._raw < 1 << bits and step <= _RECOGNISED_REACH:
                self._values = 1 << bits
                return step
        return None

    def _go_on(self, raw: int, step: int, kind: AnomalyKind | None) -> Place:
        number = self._number + step
        if number > HIGHEST:
            return Place(None, 0, AnomalyKind.COUNTER_INVALID)
        self._raw, self._number = raw, number
        self._again.clear()
        self._seen = (self._seen << step | 1) & _SEEN if step <= WINDOW else 1
        return Place(number, step - 1, kind)

    def _restart(self, raw: int, *, step: int = 1) -> Place:
        place = self._go_on(raw, step, AnomalyKind.COUNTER_RESTARTED)
        if place.number is not None:
            self.restarts += 1
            self._first, self._seen = place.number, 1
        return place

    def _behind(self, raw: int, back: int, *, later: bool) -> Place:
        """Look at a frame that is not new by its counter."""
        come = bool(self._seen >> back & 1)
        if not come and self._number - back >= self._first:
            self._seen |= 1 << back
            self._again.clear()
            return _LATE
        if not later or (self._again and raw <= self._again[-1]):
            self._again.clear()
        if later:
            self._again.append(raw)
        if len(self._again) == RESTARTED_AFTER:
            return self._restart(raw, step=raw - self._again[0] + 1)
        return _REPEATED if come else _LATE
