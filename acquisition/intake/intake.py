"""The one place that every frame of a source passes on its way in."""

import operator
from typing import NamedTuple

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import Frame, FrameFlag, Geometry
from forebay.acquisition.intake.anomalies import AnomalyKind, AnomalyLog
from forebay.acquisition.intake.clock_watch import ClockWatch, clock_tolerance
from forebay.acquisition.intake.sequence import CounterSequence, Place

MOST_UNFIT = 10
"""Frames in a row of another shape or dtype that are refused, one by one."""

# Dropped frames are counted by the reason: it does not name the number, which may differ each time.
_NO_TIME = "its time is no whole number of 64 bits"
_NO_FLAGS = "its flags are no whole number of 32 bits"


class Refused(NamedTuple):
    """A frame that the camera counted and that cannot be taken; it is to be written down."""

    counter: int
    """Its number in the run."""
    at: int
    """When it came, in nanoseconds since 1970-01-01 UTC."""
    reason: str
    """Why it is not taken."""


class Intake:
    """Numbers the frames of one source and tells those that can be recorded from the others.

    Each exposure that the camera counted, from the first frame on, is one of ``taken``,
    ``refused`` and ``missing``: never two, never none.  Frames that come again, too late, or with
    an impossible counter are ``left_out`` beside these.  What is unusual is named in
    ``anomalies``.  Used from the one thread that receives; its numbers may be read from others.

    Parameters
    ----------
    geometry
        What every frame must be like.
    clock
        Source of times.
    counter_bits
        Width of the camera's counter, 8 to 64; None to recognise a wrap at 16 or 32 bits.
    skips_zero
        Whether the counter wraps to 1 and not to 0, as the block numbers of GigE Vision do.
    following
        Lowest number that is free in a run that is taken up again; None for a new one.
    tolerance
        Seconds by which the camera's clock may jump unnoticed, `clock_tolerance` of no exposure
        if not given; infinity for a source whose frames do not come in real time.
    compares_clocks
        Whether timestamps are compared with each other and with the time here; not where that
        was done for each of the cameras that a frame is put together from.

    Raises
    ------
    SourceError
        If there is no counter of so many bits.

    Examples
    --------
    >>> import numpy as np
    >>> from forebay.acquisition.clock import SYSTEM_CLOCK
    >>> intake = Intake(Geometry(("y", "x"), (2, 2), np.dtype("u1")), clock=SYSTEM_CLOCK)
    >>> delivered = [(7, (2, 2)), (8, (2, 3)), (8, (2, 2)), (11, (2, 2))]
    >>> frames = [Frame(counter, counter, np.zeros(shape, "u1")) for counter, shape in delivered]
    >>> [type(intake.receive(frame)).__name__ for frame in frames]
    ['Frame', 'Refused', 'NoneType', 'Frame']
    >>> intake.taken, intake.refused, intake.missing, intake.left_out
    (2, 1, 2, 1)
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        clock: Clock,
        counter_bits: int | None = None,
        skips_zero: bool = False,
        following: int | None = None,
        tolerance: float | None = None,
        compares_clocks: bool = True,
    ) -> None:
        self.anomalies = AnomalyLog(clock)
        """What was unusual."""
        self.taken = 0
        """Frames that can be recorded."""
        self.refused = 0
        """Frames that are to be written down as dropped, and have been returned as such."""
        self.missing = 0
        """Exposures that the camera counted and did not deliver in time."""
        self.left_out = 0
        """Frames without a number of their own: repeated, late, or with an impossible counter."""
        self.last: float | None = None
        """When the last frame came, on the monotonic clock; None before the first."""
        self._shape, self._dtype = geometry.shape, geometry.dtype
        self._clock = clock
        self._sequence = CounterSequence(
            bits=counter_bits, skips_zero=skips_zero, following=following
        )
        self._clock_watch = ClockWatch(clock_tolerance(None) if tolerance is None else tolerance)
        self._compares_clocks = compares_clocks
        self._latest: int | None = None
        self._unfit = 0

    @property
    def restarts(self) -> int:
        """How often the camera began to count anew."""
        return self._sequence.restarts

    def receive(self, frame: Frame) -> Frame | Refused | None:
        """Look at a frame as the source delivers it.

        Returns
        -------
        Frame
            The frame to record, with its number as its counter, and ``CLOCK_JUMPED`` among its
            flags where that is so; its pixels and its timestamp are as they were delivered.
        Refused
            What to write down as dropped instead.
        None
            Nothing is to be done: the frame's number is recorded or written down already, or it
            has none.

        Raises
        ------
        FrameError
            If another frame has the wrong shape or dtype after `MOST_UNFIT` in a row.  It is not
            counted.
        """
        now = self.last = self._clock.monotonic()
        unfit = self._unfit_for_run(frame)
        counter = self._counter_of(frame)
        if counter is None:
            return None
        timestamp = _whole(frame.timestamp, least=-(2**63), most=2**63 - 1)
        later = timestamp is not None and (self._latest is None or timestamp > self._latest)
        before = self._sequence.raw
        place = self._sequence.place(counter, later=later)
        if place.kind is not None:
            self._name(place, counter, before)
        if place.number is None:
            self.left_out += 1
            return None
        if place.missing:
            self._name_gap(place.number, place.missing, goes_on=before < 0)
        if unfit is not None:
            return self._refuse(AnomalyKind.GEOMETRY_CHANGED, place.number, unfit)
        if timestamp is None:
            more = f", but {_shown(frame.timestamp)}"
            return self._refuse(AnomalyKind.FIELD_INVALID, place.number, _NO_TIME, more=more)
        if _whole(frame.flags, least=0, most=2**32 - 1) is None:
            more = f", but {_shown(frame.flags)}"
            return self._refuse(AnomalyKind.FIELD_INVALID, place.number, _NO_FLAGS, more=more)
        self.taken += 1
        flags = self._compare_clocks(place.number, timestamp, now, frame.flags)
        as_it_is = counter is frame.counter and timestamp is frame.timestamp
        if as_it_is and counter == place.number and flags is frame.flags:
            return frame
        return Frame(place.number, timestamp, frame.data, flags)

    def lose(self, counter: int, reason: str) -> Refused | None:
        """Count an exposure that is known not to come, and those before it that did not.

        Parameters
        ----------
        counter
            The camera's counter.
        reason
            Why it does not come.

        Returns
        -------
        Refused
            What to write down as dropped; None if its number is recorded or written down already,
            or it has none.
        """
        self.last = self._clock.monotonic()
        if self._sequence.refusal(counter) is not None:
            return None
        before = self._sequence.raw
        place = self._sequence.place(counter, later=False)
        if place.number is None:
            return None
        if place.kind is not None:
            self._name(place, counter, before)
        self._name_gap(place.number + 1, place.missing + 1, goes_on=False)
        return Refused(place.number, self._clock.time_ns(), reason)

    def _counter_of(self, frame: Frame) -> int | None:
        """Return the camera's counter; None if it is none that the camera can count to."""
        try:
            counter = operator.index(frame.counter)
            impossible = self._sequence.refusal(counter)
        except TypeError:
            impossible = f"a frame has the counter {_shown(frame.counter)}: no whole number"
        if impossible is None:
            return counter
        self.left_out += 1
        self.anomalies.report(AnomalyKind.COUNTER_INVALID, f"{impossible}; it is left out")
        return None

    def _unfit_for_run(self, frame: Frame) -> str | None:
        """Return why the pixels do not fit, if they do not."""
        shape, dtype = getattr(frame.data, "shape", None), getattr(frame.data, "dtype", None)
        if shape == self._shape and dtype == self._dtype:
            self._unfit = 0
            return None
        self._unfit += 1
        what = (
            f"the shape {shape} and the dtype {dtype}; the run has {self._shape} and {self._dtype}"
        )
        if self._unfit > MOST_UNFIT:
            raise FrameError(
                f"{self._unfit} frames in a row do not fit, the last, {_shown(frame.counter)}, has "
                f"{what}: the camera was set otherwise; start another run for it"
            )
        return f"the frame has {what}"

    def _compare_clocks(
        self, number: int, timestamp: int, now: float, flags: FrameFlag
    ) -> FrameFlag:
        if not self._compares_clocks:
            return flags
        if self._latest is not None and timestamp < self._latest:
            back = (self._latest - timestamp) / 1e9
            text = f"frame {number} was taken {back:g} s before the one before it, by its timestamp"
            self.anomalies.report(AnomalyKind.TIME_WENT_BACK, text, number)
        self._latest = timestamp
        jumped = self._clock_watch.jump(timestamp, now)
        if not jumped:
            return flags
        way = "forward" if jumped > 0 else "back"
        text = f"before frame {number} the camera's clock jumped {way} by {abs(jumped):.3f} s"
        self.anomalies.report(AnomalyKind.CLOCK_JUMPED, text, number)
        return FrameFlag(flags) | FrameFlag.CLOCK_JUMPED

    def _refuse(self, kind: AnomalyKind, number: int, reason: str, *, more: str = "") -> Refused:
        self.refused += 1
        self.anomalies.report(kind, f"frame {number} is refused: {reason}{more}", number)
        return Refused(number, self._clock.time_ns(), reason)

    def _name_gap(self, number: int, missing: int, *, goes_on: bool) -> None:
        self.missing += missing
        first, last = number - missing, number - 1
        which = f"frame {last}" if missing == 1 else f"the frames {first} to {last}"
        what = "did not come"
        if goes_on:
            was = "was" if missing == 1 else "were"
            what = f"{was} lost with the earlier writer, or came without one"
        self.anomalies.report(AnomalyKind.COUNTER_GAP, f"{which} {what}", number)

    def _name(self, place: Place, counter: int, raw: int) -> None:
        match place.kind:
            case AnomalyKind.COUNTER_REPEATED:
                text = f"the camera's frame {counter} came again; it is left out"
            case AnomalyKind.COUNTER_LATE:
                text = f"the camera's frame {counter} came after frame {raw}; it is left out"
            case AnomalyKind.COUNTER_WRAPPED:
                text = f"the camera's counter wrapped from {raw} to {counter}"
            case AnomalyKind.COUNTER_RESTARTED:
                after = f"after {raw}" if raw >= 0 else "first, below what the run has"
                text = (
                    f"the camera counts anew: {counter} came {after}; its frames are "
                    f"numbered on from {place.number}, and how many were lost is unknown"
                )
            case _:
                text = f"the camera's frame {counter} has no number below 2^64; it is left out"
        if place.kind is not None:
            self.anomalies.report(place.kind, text, place.number)


def _whole(value: object, *, least: int, most: int) -> int | None:
    """Return a whole number from `least` to `most`; None if it is no such number."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    return number if least <= number <= most else None


def _shown(value: object) -> str:
    return repr(value)[:80]
