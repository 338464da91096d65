"""What more seeds would show: power of the t-test after Holm's correction, by its first step."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from reports.analysis.statistics import ALPHA, FEW

POWER = 0.80
MOST_SEEDS = 200
"""Beyond so many seeds nobody will go."""


def power(n: int, standardised: float, tests: int, paired: bool) -> float:
    """The chance that a t-test of n seeds an arm at ALPHA / `tests` finds a true difference.

    ALPHA / `tests` is Holm's first step: the chance is at least this, whatever the other tests say.
    Unpaired it is Student's t, of which Welch's falls a little short with few seeds.
    """
    degrees = n - 1 if paired else 2 * n - 2
    shift = abs(standardised) * math.sqrt(n if paired else n / 2)
    limit = float(stats.t.isf(ALPHA / tests / 2, degrees))
    return float(np.nan_to_num(stats.nct.sf(limit, degrees, shift), nan=1.0))


def seeds_for_power(standardised: float, tests: int, paired: bool) -> int | None:
    """The fewest seeds (FEW at least) with POWER; None where MOST_SEEDS are not enough."""
    counts = range(FEW, MOST_SEEDS + 1)
    return next((n for n in counts if power(n, standardised, tests, paired) >= POWER), None)


def detectable(n: int, tests: int, paired: bool) -> float | None:
    """The standardised difference that n seeds find with POWER; None below FEW seeds."""
    if n < FEW:
        return None
    found = optimize.brentq(lambda d: power(n, d, tests, paired) - POWER, 0.0, 20.0, xtol=1e-4)
    return float(found)
