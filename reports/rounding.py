"""How many digits numbers are shown with, so that what is shown does not say another thing."""

from __future__ import annotations

from decimal import Decimal

from reports.statistics import ALPHA

MOST_DIGITS = 12
NEAR = 0.005
"""So near to ALPHA a p-value has a fourth digit: 0.0497 is not 0.050."""
MINUS = "−"


def digits_apart(a: float, b: float) -> int:
    """Digits behind the point that show two unlike numbers as unlike, MOST_DIGITS at most."""
    digits = range(1, MOST_DIGITS)
    return next((d for d in digits if f"{a:.{d}f}" != f"{b:.{d}f}"), MOST_DIGITS) if a != b else 1


def shared_digits(first: float, second: float, least: int) -> int:
    """Digits for two means and their difference: unlike means look unlike, and a difference of one
    significant digit is that of the means as they are shown."""
    digits = max(least, digits_apart(first, second), digits_apart(first - second, 0.0))
    while digits < MOST_DIGITS:
        a, b, between = (f"{value:.{digits}f}" for value in (first, second, first - second))
        lone = len(between.lstrip("-0.")) <= 1
        if not lone or Decimal(a) - Decimal(b) == Decimal(between):
            break
        digits += 1
    return digits


def signed(value: float, digits: int, minus: str = MINUS) -> str:
    """`+0.041`, with a true minus; what is shown as zero has no sign."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", minus) if float(text) else text[1:]


def plain(value: float, digits: int) -> str:
    """`0.041`, or `−0.041` with a true minus."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def bounds(interval: tuple[float, float], digits: int, minus: str = MINUS) -> tuple[str, str]:
    """Both ends of an interval, with more than `digits` where one would look like zero."""
    digits = max(digits, *(digits_apart(abs(bound), 0.0) for bound in interval))
    low, high = (signed(bound, digits, minus) for bound in interval)
    return low, high


def interval_text(interval: tuple[float, float], digits: int) -> str:
    """`−0.107 to +0.176`."""
    return " to ".join(bounds(interval, digits))


def p_text(p: float) -> str:
    """`0.041`, `0.0079`, `< 0.0001`; four digits near ALPHA, and where four are all there are."""
    if p < 0.0001:
        return "< 0.0001"
    whole = round(p, 3) != round(p, 4) == p
    return f"{p:.4f}" if p < 0.01 or abs(p - ALPHA) <= NEAR or whole else f"{p:.3f}"
