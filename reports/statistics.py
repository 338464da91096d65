"""Intervals over seeds. Tests and verdicts on claims have their place here too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the half-width of its t-interval; None where n = 1 gives none."""

    mean: float
    half_width: float | None
    n: int


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean ± t(n - 1) · s / √n with the sample standard deviation s.

    Raises ValueError on no values and on values that are not finite.
    """
    sample = np.asarray(values, float)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values: one finite number a seed at least (got {list(values)})")
    n = sample.size
    if n == 1:
        return Interval(float(sample[0]), None, 1)
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    return Interval(float(sample.mean()), float(t * sample.std(ddof=1) / np.sqrt(n)), n)
