"""How many digits numbers are shown with, so that what is shown does not say another thing."""

from __future__ import annotations

import math
from decimal import Decimal

from reports.analysis.statistics import ALPHA, ROUNDING

MOST_DIGITS = 12
NEAR = 0.005
"""So near to ALPHA a p-value has a fourth digit: 0.0497 is not 0.050."""
MINUS = "−"


def shared_digits(first: float, second: float, least: int) -> int:
    """Digits for two means and their difference: unlike means look unlike, a difference is not
    shown as zero, and one of a single significant digit is that of the means as they are shown."""
    if math.isclose(first, second, rel_tol=ROUNDING):
        return least
    for digits in range(least, MOST_DIGITS):
        a, b, between = (f"{value:.{digits}f}" for value in (first, second, first - second))
        lone = len(between.lstrip("-0.")) <= 1
        if a != b and float(between) and not (lone and Decimal(a) - Decimal(b) != Decimal(between)):
            return digits
    return MOST_DIGITS


def signed(value: float, digits: int, minus: str = MINUS) -> str:
    """`+0.041`, with a true minus; what is shown as zero has no sign."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", minus) if float(text) else text[1:]


def plain(value: float, digits: int, minus: str = MINUS) -> str:
    """`0.041`, or `−0.041` with a true minus; what is shown as zero has no sign."""
    return signed(value, digits, minus).removeprefix("+")


def bounds(interval: tuple[float, float], digits: int, minus: str = MINUS) -> tuple[str, str]:
    """Both ends of an interval, with more than `digits` where one would look like zero."""
    while digits < MOST_DIGITS and any(
        abs(bound) > 10**-MOST_DIGITS and not float(f"{bound:.{digits}f}") for bound in interval
    ):
        digits += 1
    low, high = (signed(bound, digits, minus) for bound in interval)
    return low, high


def interval_text(interval: tuple[float, float], digits: int) -> str:
    """`−0.107 to +0.176`."""
    return " to ".join(bounds(interval, digits))


def p_text(p: float) -> str:
    """`0.041`, `0.0079`, `< 0.0001`; four digits near ALPHA, and where four are all there are, and
    as many as show on which side of ALPHA p lies."""
    if p < 0.0001:
        return "< 0.0001"
    whole = round(p, 3) != round(p, 4) == p
    digits = 4 if p < 0.01 or abs(p - ALPHA) <= NEAR or whole else 3
    while digits < MOST_DIGITS and (float(f"{p:.{digits}f}") < ALPHA) != (p < ALPHA):
        digits += 1
    return f"{p:.{digits}f}"
