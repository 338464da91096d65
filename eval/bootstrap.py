"""How much the scores of a single model depend on the choice of test images.

A bootstrap over images (Efron 1979): images are drawn with replacement, as many as there are, and
the score of each draw is computed from the confusion matrices, the histograms or the values of the
drawn images. The interval says nothing about another training: the reports have intervals over
seeds for that.

Plain percentiles of the draws would be wrong where draws are biased. A draw repeats some images and
omits others, so its pooled histograms are rougher and intersect less; all draws may lie below the
score. Therefore the draws are shifted so that their mean is the score (the bootstrap estimate of
bias, Efron & Tibshirani 1993, chapter 10), and their percentiles are clipped to the range of the
score. An interval always contains its score: if one rare image puts the score beyond the
percentiles, the interval is extended to it. Means over images have no bias; the shift corrects only
the noise of their draws.

`scipy.stats.bootstrap` does not serve here. Its default, BCa, takes a normal quantile of the share
of draws below the score: if all of them lie below it, as colour intersections do, that quantile is
infinite and the interval NaN. Its percentile and basic methods would then give an interval that
lies wholly below or above the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from eval import color, fcn_score
from eval.metrics import METRICS

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0
DRAWN_AT_ONCE = 200  # resamples; together with IMAGES_AT_ONCE this bounds the memory
IMAGES_AT_ONCE = 512

Interval = tuple[float, float]


def settings(images: int) -> dict[str, Any]:
    """How the intervals are computed, for the record."""
    if images < 2:
        return {"method": "none: one image has no interval over images"}
    return {
        "method": "bias-corrected percentile bootstrap over test images",
        "level": LEVEL,
        "resamples": RESAMPLES,
        "seed": SEED,
    }


def mean_intervals(per_image: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """Intervals of scores that are means over images, from {score: (N,) finite values}.

    The interval of a name that is not in METRICS is not clipped.
    """
    names = list(per_image)
    if not names or len(per_image[names[0]]) < 2:
        return {}
    table = np.stack([per_image[name] for name in names], axis=1)
    drawn = np.concatenate([sums / len(table) for sums in _resampled(table)])
    return {
        name: _interval(name, drawn[:, k], float(np.mean(per_image[name])))
        for k, name in enumerate(names)
    }


def color_intervals(translations: np.ndarray, targets: np.ndarray) -> dict[str, Interval]:
    """Intervals of color.L, color.a and color.b, from (N, 3, BINS) counts of both sides."""
    if len(translations) < 2:
        return {}
    pairs = np.stack([color.merged(translations), color.merged(targets)], axis=1)
    drawn = []
    for sums in _resampled(pairs.reshape(len(pairs), -1)):
        counts = sums.reshape(-1, *pairs.shape[1:])
        shares = counts / counts.sum(-1, keepdims=True)
        drawn.append(np.minimum(1.0, shares.min(axis=1).sum(-1)))
    table = np.concatenate(drawn)
    scores = color.intersections(translations.sum(0), targets.sum(0))
    return {
        f"color.{channel}": _interval(f"color.{channel}", table[:, c], scores[channel])
        for c, channel in enumerate(color.CHANNELS)
    }


def class_intervals(
    confusion: np.ndarray, family: str, scored: int | None = None
) -> dict[str, Interval]:
    """Intervals of the three class scores from (N, C, C) matrices, rows the true class.

    A draw without any labelled pixel has no score and does not count.

    Args:
        family: "fcn" or "labels".
        scored: K; only the first K classes are averaged. None means all.
    """
    if len(confusion) < 2 or not confusion.any():
        return {}
    classes = confusion.shape[-1]
    drawn: dict[str, list[np.ndarray]] = {}
    for sums in _resampled(confusion.reshape(len(confusion), -1)):
        for name, values in class_scores(sums.reshape(-1, classes, classes), scored).items():
            drawn.setdefault(name, []).append(values)
    scores = fcn_score.scores(confusion.sum(0), scored)
    return {
        f"{family}.{name}": _interval(f"{family}.{name}", np.concatenate(values), scores[name])
        for name, values in drawn.items()
    }


def class_scores(confusions: np.ndarray, scored: int | None = None) -> dict[str, np.ndarray]:
    """`eval.fcn_score.scores` of R matrices (R, C, C) at once, (R,) each."""
    kept = slice(scored)
    correct = np.diagonal(confusions, axis1=1, axis2=2)[:, kept]
    true, predicted = confusions.sum(2)[:, kept], confusions.sum(1)[:, kept]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "pixel_accuracy": correct.sum(1) / confusions.sum((1, 2)),
            "class_accuracy": _mean_where(correct / true, true > 0),
            "class_iou": _mean_where(
                correct / (true + predicted - correct), true + predicted - correct > 0
            ),
        }


def _mean_where(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Row means over the entries that are there; NaN if there are none."""
    return np.where(there, values, 0).sum(1) / there.sum(1)


def _resampled(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Sums of N rows drawn with replacement: (DRAWN_AT_ONCE, K) float64, until all are drawn.

    Every call draws the same images. Counts are exact: they are integers below 2⁵³.
    """
    count = len(rows)
    random = np.random.default_rng(SEED)
    for start in range(0, RESAMPLES, DRAWN_AT_ONCE):
        draws = min(DRAWN_AT_ONCE, RESAMPLES - start)
        chosen = random.integers(0, count, (draws, count))
        places = chosen + count * np.arange(draws)[:, None]
        weights = np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count)
        sums = np.zeros((draws, rows.shape[1]))
        for first in range(0, count, IMAGES_AT_ONCE):
            part = slice(first, first + IMAGES_AT_ONCE)
            sums += weights[:, part].astype(np.float64) @ rows[part].astype(np.float64)
        yield sums


def _interval(name: str, drawn: np.ndarray, score: float) -> Interval:
    """The interval from the draws of a score (NaN: no score in that draw), see the module."""
    tail = 100 * (1 - LEVEL) / 2
    ends = np.nanpercentile(drawn, [tail, 100 - tail]) + (score - np.nanmean(drawn))
    lowest, highest = METRICS[name].range if name in METRICS else (-np.inf, np.inf)
    low, high = np.clip(ends, lowest, highest)
    return min(float(low), score), max(float(high), score)
