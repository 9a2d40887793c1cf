"""Thresholds that noise passes at a stated rate, when the noise is itself estimated."""

import math

from scipy.special import stdtrit

from forebay.ops._checks import check_number
from forebay.ops.errors import OperationError


def gaussian_factor(rate: float, cells: int) -> float:
    """Return what Student's t of ``cells - 1`` degrees of freedom exceeds with probability `rate`.

    The statistic is that of a normal sample, less the mean of `cells` others and divided by their
    standard deviation, ``(x - m) / (s * sqrt(1 + 1 / cells))``: a prediction interval (Student,
    Biometrika 6, 1 (1908); Hahn, J. Am. Stat. Assoc. 64, 878 (1969)).

    Examples
    --------
    >>> round(gaussian_factor(0.025, 10), 3), round(gaussian_factor(0.025, 10**6), 3)
    (2.262, 1.96)
    """
    # The lower end, turned round: one less a small rate would be rounded.
    return -float(stdtrit(cells - 1, rate))


def exponential_factor(rate: float, cells: int) -> float:
    """Return ``cells * (rate**(-1 / cells) - 1)``.

    A sample of an exponential distribution exceeds the mean of `cells` others by this factor with
    probability `rate`: H. M. Finn and R. S. Johnson, RCA Review 29, 414 (1968).

    Examples
    --------
    >>> exponential_factor(0.25, 1), round(exponential_factor(0.01, 10**6), 3)
    (3.0, 4.605)
    """
    return cells * math.expm1(-math.log(rate) / cells)


def check_rate(rate: float) -> float:
    """Return `rate` if it is a probability that a threshold can have."""
    value = check_number("false_alarm_rate", rate, above=0)
    if value >= 1:
        raise OperationError(f"false_alarm_rate is {rate!r}, but must be below 1; 1e-4 is usual")
    return value
