"""How scores are named and numbers rounded, so that what is shown agrees with what was found."""

from __future__ import annotations

import math
from decimal import Decimal

from eval.metrics import METRICS
from eval.statistics import ALPHA, ROUNDING

MOST_DIGITS = 12
NEAR = 0.005
"""So near to ALPHA a p-value has a fourth digit: 0.0497 is not 0.050."""
MINUS = "−"
FAMILY_PREFIX = {"fcn": "FCN ", "labels": "Labels ", "color": "Lab ∩ "}


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


def title(score: str, arrow: bool = True) -> str:
    """A score's one name on every page: its family, label, unit and, on request, which way is
    better. Files for programs name it by its key instead."""
    metric = METRICS[score]
    prefix = FAMILY_PREFIX.get(metric.family, "")
    label = metric.label if metric.family not in ("fcn", "labels") else _uncapitalised(metric.label)
    unit = f" ({metric.unit})" if metric.unit else ""
    way = " ↑" if metric.better == "higher" else " ↓"
    return f"{prefix}{label}{unit}{way if arrow else ''}"


def decimals(score: str) -> int:
    """Digits behind the point."""
    return 2 if METRICS[score].unit == "dB" else 3


def _uncapitalised(text: str) -> str:
    return text if text[1:2].isupper() else text[0].lower() + text[1:]
