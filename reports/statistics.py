"""Intervals over seeds, tests of a difference of two arms, and what more seeds would show.

Everything is scipy's; docs/statistics.md says why these tests and what their error rates are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, special, stats

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.80
FEW = 5
"""With fewer seeds than this an exact permutation test decides, from here on a t-test. Below, the
t-test's error rate depends on what training runs are like (14 % for runs with two outcomes, n = 3).
"""
MOST_SEEDS = 200
"""Beyond so many seeds nobody will go: then the arms are alike for all that matters."""
MOST_ARRANGEMENTS = 10_000
"""Permutation tests are exact: every arrangement, and none where there are more than these."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the half-width of its t-interval; None where n = 1 gives none."""

    mean: float
    half_width: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """What two arms' values say of the difference of their means, the first's minus the second's.

    With one seed there is a difference and nothing else: no interval, no test. Fewer than FEW
    seeds an arm: the exact permutation test decides (sign-flip where paired). From FEW on: the
    paired t-test, or Welch's.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    """Paired, in the same order of seeds."""
    paired: bool

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.first), len(self.second)

    @property
    def n(self) -> int:
        """Pairs, or the seeds of the arm that has fewer."""
        return min(self.counts)

    @property
    def means(self) -> tuple[float, float]:
        return float(np.mean(self.first)), float(np.mean(self.second))

    @property
    def effect(self) -> float:
        """In the score's unit."""
        return self.means[0] - self.means[1]

    @property
    def test(self) -> str:
        """The name of the test that decides."""
        if self.n < 2:
            return "none"
        if self.n < FEW:
            return "exact sign-flip" if self.paired else "exact permutation"
        return "paired t" if self.paired else "Welch's t"

    @cached_property
    def p(self) -> float | None:
        """Two-sided, of `test`; None with one seed, and where values that do not vary have no t."""
        if self.n < 2:
            return None
        if self.n < FEW:
            return self.exact_p
        return None if self._spread == 0 else float(self._t.pvalue)

    @cached_property
    def exact_p(self) -> float | None:
        """Of the exact permutation test, whichever decides; None with too many arrangements."""
        if self.n < 2:
            return None
        return exact_p(np.asarray(self.first), np.asarray(self.second), self.paired)

    @property
    def smallest_p(self) -> float | None:
        """What the exact test can reach at best with these seeds."""
        return smallest_p(*self.counts, self.paired) if self.n > 1 else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The t-interval of the effect at CONFIDENCE."""
        if self.n < 2 or self._spread == 0:
            return None
        low, high = self._t.confidence_interval(CONFIDENCE)
        return float(low), float(high)

    @property
    def measure(self) -> str:
        """What `standardised` is: `g_z` (of the paired differences) or `g` (Hedges, pooled)."""
        return "g_z" if self.paired else "g"

    @property
    def standardised(self) -> float | None:
        """The effect in standard deviations, corrected for few seeds (Hedges); None for 2 pairs."""
        degrees = self.n - 1 if self.paired else sum(self.counts) - 2
        if degrees < 2 or self._spread == 0:
            return None
        correction = math.sqrt(2 / degrees) * float(special.poch((degrees - 1) / 2, 0.5))
        return self.effect / self._spread * correction

    @property
    def correlation(self) -> float | None:
        """Of the two arms over the seeds that they share: what pairing is worth."""
        varied = np.ptp(self.first) > 0 and np.ptp(self.second) > 0
        if not self.paired or self.n < 3 or not varied:
            return None
        return float(np.corrcoef(self.first, self.second)[0, 1])

    @cached_property
    def _t(self) -> Any:
        if self.paired:
            return stats.ttest_rel(self.first, self.second)
        return stats.ttest_ind(self.first, self.second, equal_var=False)

    @cached_property
    def _spread(self) -> float:
        """Standard deviation of the differences, or pooled; 0 where it is one of rounding alone."""
        a, b = np.asarray(self.first), np.asarray(self.second)
        if self.n < 2:
            return 0.0
        if self.paired:
            spread = float((a - b).std(ddof=1))
        else:
            squares = (a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)
            spread = math.sqrt(squares / (a.size + b.size - 2))
        return spread if spread > 1e-9 * max(abs(a).max(), abs(b).max()) else 0.0


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean ± t(n - 1) · s / √n with the sample standard deviation s.

    Raises ValueError on no values and on values that are not finite.
    """
    sample = _finite(values)
    n = sample.size
    if n == 1:
        return Interval(float(sample[0]), None, 1)
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    return Interval(float(sample.mean()), float(t * sample.std(ddof=1) / np.sqrt(n)), n)


def difference(first: Sequence[float], second: Sequence[float], paired: bool) -> Difference:
    """Compare two arms; ValueError where a value is not finite or pairs do not match."""
    a, b = _finite(first), _finite(second)
    if paired and a.size != b.size:
        raise ValueError(f"pairs: {a.size} values against {b.size}")
    return Difference(tuple(a.tolist()), tuple(b.tolist()), paired)


def exact_p(first: np.ndarray, second: np.ndarray, paired: bool) -> float | None:
    """Two-sided p over every arrangement of the seeds; None where there are too many of them."""
    if arrangements(len(first), len(second), paired) > MOST_ARRANGEMENTS:
        return None
    result = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=MOST_ARRANGEMENTS + 1,
    )
    return float(result.pvalue)


def arrangements(first: int, second: int, paired: bool) -> int:
    """In how many ways the arms' labels can be dealt to the values."""
    return 2**first if paired else math.comb(first + second, first)


def smallest_p(first: int, second: int, paired: bool) -> float:
    """The smallest two-sided p that an exact test can reach: the observed order, or its mirror."""
    return min(1.0, 2 / arrangements(first, second, paired))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def power(n: int, standardised: float, tests: int, paired: bool) -> float:
    """The chance that a t-test of n seeds an arm at ALPHA / `tests` finds a true difference.

    ALPHA / `tests` is Holm's first step: the chance is at least this, whatever the other tests say.
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


def seeds_that_can_decide(tests: int, paired: bool) -> int:
    """The fewest seeds an arm with which the test that decides can reach ALPHA after Holm."""
    fewer = (n for n in range(2, FEW) if smallest_p(n, n, paired) * tests < ALPHA)
    return next(fewer, FEW)


def _finite(values: Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, float)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values: one finite number a seed at least (got {list(values)})")
    return sample
