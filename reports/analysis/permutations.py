"""Permutation tests of a difference of means: how the arms' labels could have been dealt."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

MOST_ARRANGEMENTS = 100_000
"""An exact test counts every arrangement; where there are more than these, so many at random."""
AT_ONCE = 10_000
"""Arrangements held in memory at a time."""


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
