"""Intervals over seeds, tests of a difference of two arms, and what more seeds would show.

Everything is scipy's; docs/statistics.md says why these tests and what their error rates are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

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

    With one seed there is a difference and nothing else: no interval, no test.
    """

    means: tuple[float, float]
    """Of the seeds that are compared: paired, of those that both arms have."""
    interval: tuple[float, float] | None
    """The t-interval at CONFIDENCE."""
    standardised: float | None
    """The difference in standard deviations, corrected for few seeds; see `measure`."""
    measure: str
    """`g_z` (of the paired differences) or `g` (Hedges, pooled)."""
    test: str
    p: float | None
    """Two-sided, of `test`."""
    exact_p: float | None
    """Of the exact permutation test, whichever decides."""
    smallest_p: float | None
    """What the exact test can reach at best with these seeds."""
    counts: tuple[int, int]
    paired: bool
    correlation: float | None = None
    """Of the two arms over the seeds that they share: what pairing is worth."""

    @property
    def effect(self) -> float:
        """In the score's unit."""
        return self.means[0] - self.means[1]

    @property
    def n(self) -> int:
        """Pairs, or the seeds of the arm that has fewer."""
        return min(self.counts)


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
    """Compare two arms. Paired values stand in the same order of seeds.

    Fewer than FEW seeds an arm: the exact permutation test (sign-flip where paired). From FEW on:
    the paired t-test, or Welch's. ValueError where a value is not finite or pairs do not match.
    """
    a, b = _finite(first), _finite(second)
    if paired and a.size != b.size:
        raise ValueError(f"pairs: {a.size} values against {b.size}")
    counts = (int(a.size), int(b.size))
    means = (float(a.mean()), float(b.mean()))
    n = min(counts)
    few = n < FEW
    name = "exact sign-flip" if paired else "exact permutation"
    if not few:
        name = "paired t" if paired else "Welch's t"
    measure = "g_z" if paired else "g"
    if n < 2:
        return Difference(means, None, None, measure, "none", None, None, None, counts, paired)
    with warnings.catch_warnings():  # values that do not vary: `p` and the interval say so
        warnings.simplefilter("ignore", RuntimeWarning)
        t = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
        low, high = t.confidence_interval(CONFIDENCE)
        correlation = float(np.corrcoef(a, b)[0, 1]) if paired and n > 2 else math.nan
    standardised = _standardised(a, b, paired)
    exact = exact_p(a, b, paired)
    # A t-test of values that do not vary divides by nothing.
    p = exact if few else None if standardised is None else float(t.pvalue)
    return Difference(
        means,
        (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None,
        standardised,
        measure,
        name,
        p,
        exact,
        smallest_p(*counts, paired),
        counts,
        paired,
        correlation if math.isfinite(correlation) else None,
    )


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


def _standardised(a: np.ndarray, b: np.ndarray, paired: bool) -> float | None:
    """Hedges' g, of the differences where paired; None where nothing varies or n = 2 pairs."""
    if paired:
        degrees, spread = a.size - 1, float((a - b).std(ddof=1))
    else:
        degrees = a.size + b.size - 2
        squares = (a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)
        spread = math.sqrt(squares / degrees)
    if degrees < 2 or spread <= 1e-9 * max(abs(a).max(), abs(b).max()):
        return None
    correction = math.sqrt(2 / degrees) * float(special.poch((degrees - 1) / 2, 0.5))
    return float((a.mean() - b.mean()) / spread * correction)


def _finite(values: Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, float)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values: one finite number a seed at least (got {list(values)})")
    return sample
