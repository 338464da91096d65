"""Intervals over seeds, and tests of a difference of two arms.

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
ROUNDING = 1e-9
"""Values that differ by less than this share of themselves differ by rounding alone."""
ONE_SAMPLE = "one-sample t"
FEW = 5
"""With fewer seeds than this an exact permutation test decides, from here on a t-test. Below, the
t-test's error rate depends on what training runs are like (14 % for runs with two outcomes, n = 3).
"""
MOST_ARRANGEMENTS = 100_000
"""An exact test counts every arrangement; where there are more than these, so many at random."""
AT_ONCE = 10_000
"""Arrangements held in memory at a time."""
POWER = 0.80
MOST_SEEDS = 200
"""The most seeds that advice ever asks for."""


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
    seeds in an arm: the exact permutation test decides (sign-flip where paired; random
    permutations where there are more than MOST_ARRANGEMENTS), and where they stand against more
    seeds, Welch's test must agree. From FEW on: the paired t-test, Welch's, or that of one sample.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    """Paired, in the same order of seeds."""
    paired: bool
    one_sample: bool = False
    """Paired with a constant, which has no seeds: the ground truth."""
    in_common: int = 0
    """Seeds that both have although they are not paired by them, being too few."""

    @property
    def design(self) -> str:
        """`paired`, `unpaired`, or nothing where one side is a constant."""
        return "" if self.one_sample else "paired" if self.paired else "unpaired"

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
        """In the score's unit; 0 where the means differ by rounding alone."""
        effect = self.means[0] - self.means[1]
        return effect if abs(effect) > self._rounding else 0.0

    @property
    def test(self) -> str:
        """The name of the test that decides."""
        if self.n < 2 or self.no_spread:
            return "none"
        if self.n < FEW:
            if self.paired:
                return "exact sign-flip"
            permuted = "exact permutation" if self._countable else "random permutations"
            return f"{permuted} and Welch's t" if self.uneven else permuted
        if self.one_sample:
            return ONE_SAMPLE
        return "paired t" if self.paired else "Welch's t"

    @cached_property
    def p(self) -> float | None:
        """Two-sided, of `test`; None with one seed, and where nothing varies."""
        if self.n < 2 or self.no_spread:
            return None
        if self.n < FEW:
            p = self.exact_p if self._countable else random_p(*self._arrays)
            assert p is not None
            return max(p, float(self._t.pvalue)) if self.uneven else p
        return float(self._t.pvalue)

    @property
    def uneven(self) -> bool:
        """Whether fewer than FEW seeds stand against more. The permutation test alone is too often
        wrong then where the few vary more, Welch's where runs have two outcomes: the larger p of
        both counts."""
        return not self.paired and self.n < FEW and self.counts[0] != self.counts[1]

    @cached_property
    def exact_p(self) -> float | None:
        """Of the exact permutation test, whichever decides; None with too many arrangements too."""
        if self.n < 2 or self.no_spread:
            return None
        return exact_p(*self._arrays, self.paired)

    @property
    def smallest_p(self) -> float | None:
        """What the exact test can reach at best with these seeds."""
        return smallest_p(*self.counts, self.paired) if self.n > 1 else None

    @cached_property
    def no_spread(self) -> str:
        """Why no test can tell these arms apart, whatever their number of seeds; "" where one can.

        same: both have the same value in every seed; constant: no value varies; shifted: the
        difference is the same in every seed.
        """
        if self.n < 2 or self._spread > 0:
            return ""
        if self.paired and not self.one_sample and abs(self.effect) <= self._rounding:
            return "same"
        varied = max(map(np.ptp, self._arrays)) > self._rounding
        return "shifted" if varied else "constant"

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

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.first), np.asarray(self.second)

    @property
    def _countable(self) -> bool:
        return arrangements(*self.counts, self.paired) <= MOST_ARRANGEMENTS

    @cached_property
    def _t(self) -> Any:
        if self.paired:
            return stats.ttest_rel(self.first, self.second)
        return stats.ttest_ind(self.first, self.second, equal_var=False)

    @cached_property
    def _spread(self) -> float:
        """Standard deviation of the differences, or pooled; 0 where it is one of rounding alone."""
        a, b = self._arrays
        if self.n < 2:
            return 0.0
        if self.paired:
            spread = float((a - b).std(ddof=1))
        else:
            squares = (a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)
            spread = math.sqrt(squares / (a.size + b.size - 2))
        return spread if spread > self._rounding else 0.0

    @property
    def _rounding(self) -> float:
        return ROUNDING * max(abs(values).max() for values in self._arrays)


def t_interval(values: Sequence[float]) -> Interval:
    """Mean ± t(n - 1) · s / √n at CONFIDENCE, with the sample standard deviation s.

    Raises ValueError on no values and on values that are not finite.
    """
    sample = _finite(values)
    n = sample.size
    if n == 1:
        return Interval(float(sample[0]), None, 1)
    t = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    return Interval(float(sample.mean()), float(t * sample.std(ddof=1) / np.sqrt(n)), n)


def difference(
    first: Sequence[float],
    second: Sequence[float],
    paired: bool,
    one_sample: bool = False,
    in_common: int = 0,
) -> Difference:
    """Compare two arms; ValueError where a value is not finite or pairs do not match."""
    a, b = _finite(first), _finite(second)
    if paired and a.size != b.size:
        raise ValueError(f"pairs: {a.size} values against {b.size}")
    return Difference(tuple(a.tolist()), tuple(b.tolist()), paired, one_sample, in_common)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method, in the order given."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def _finite(values: Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, float)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(
            f"values: must be one finite number per seed, at least one (got {list(values)})"
        )
    return sample


def exact_p(first: np.ndarray, second: np.ndarray, paired: bool) -> float | None:
    """Two-sided p over every arrangement of the seeds; None where there are too many of them."""
    if arrangements(len(first), len(second), paired) > MOST_ARRANGEMENTS:
        return None
    kind = "samples" if paired else "independent"
    return _permutation_p(first, second, kind, MOST_ARRANGEMENTS + 1)


def random_p(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p over MOST_ARRANGEMENTS at random (the observed one among them), unpaired; the
    same for the same values."""
    return _permutation_p(first, second, "independent", MOST_ARRANGEMENTS - 1)


def _permutation_p(first: np.ndarray, second: np.ndarray, kind: str, resamples: int) -> float:
    result = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        permutation_type=kind,
        vectorized=True,
        n_resamples=resamples,
        batch=AT_ONCE,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def arrangements(first: int, second: int, paired: bool) -> int:
    """In how many ways the arms' labels can be dealt to the values."""
    return 2**first if paired else math.comb(first + second, first)


def smallest_p(first: int, second: int, paired: bool) -> float:
    """The smallest two-sided p that an exact test can reach: the observed order, or its mirror."""
    return min(1.0, 2 / arrangements(first, second, paired))


def power(n: int, standardised: float, tests: int, paired: bool) -> float:
    """The chance that a t-test of n seeds per arm at ALPHA / `tests` finds a true difference.

    ALPHA / `tests` is Holm's first step: the chance is at least this, whatever the other tests say.
    Unpaired it is Student's t, of which Welch's falls a little short with few seeds.
    """
    degrees = n - 1 if paired else 2 * n - 2
    shift = abs(standardised) * math.sqrt(n if paired else n / 2)
    limit = float(stats.t.isf(ALPHA / tests / 2, degrees))
    return float(np.nan_to_num(stats.nct.sf(limit, degrees, shift), nan=1.0))


def seeds_for_power(
    standardised: float, tests: int, paired: bool, most: int = MOST_SEEDS
) -> int | None:
    """The fewest seeds (FEW at least) with POWER; None where `most` are not enough."""
    counts = range(FEW, most + 1)
    return next((n for n in counts if power(n, standardised, tests, paired) >= POWER), None)


def detectable(n: int, tests: int, paired: bool) -> float | None:
    """The standardised difference that n seeds find with POWER; None below FEW seeds."""
    if n < FEW:
        return None
    found = optimize.brentq(lambda d: power(n, d, tests, paired) - POWER, 0.0, 20.0, xtol=1e-4)
    return float(found)
