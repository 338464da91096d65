"""How much the scores of a single model depend on the choice of test images.

A bootstrap over images (Efron 1979): images are drawn with replacement, as many as there are, and
the score of each draw is computed from the confusion matrices, the histograms or the values of the
drawn images. The interval says nothing about another training: the reports have intervals over
seeds for that.

Plain percentiles of the draws would be wrong where draws are biased: a draw repeats some images and
omits others, so its pooled histograms intersect less, and all draws may lie below the score. Hence
the draws are shifted so that their mean is the score (the bootstrap estimate of bias, Efron &
Tibshirani 1993, chapter 10), their percentiles are clipped to the range of the score, and an
interval is extended to its score where that lies outside. Means over images have no bias; the shift
corrects only the noise of their draws.

Frames of one film are not independent images. Where the names tell which images belong to one clip,
whole clips are drawn: the counts or sums of a clip's images stand for one image.

`scipy.stats.bootstrap` does not serve: BCa takes a normal quantile of the share of draws below the
score, which is infinite if all are; its other methods give intervals without the score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eval import color, fcn_score
from eval.metrics import METRICS
from pix2pix.common.errors import UserError

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0
DRAWN_AT_ONCE = 200  # resamples; together with IMAGES_AT_ONCE this bounds the memory
IMAGES_AT_ONCE = 512

Interval = tuple[float, float]


def settings(images: int, clips: int | None = None) -> dict[str, Any]:
    """How the intervals are computed, for the record; `clips`: that are drawn whole."""
    if images < 2:
        return {"method": "none: one image has no interval over images"}
    drawn = "test images" if clips is None else f"{clips} clips of test images, each drawn whole"
    return {
        "method": f"bias-corrected percentile bootstrap over {drawn}",
        "level": LEVEL,
        "resamples": RESAMPLES,
        "seed": SEED,
    }


def clip_numbers(names: Sequence[str], pattern: str) -> np.ndarray:
    """(N,) int: which clip each image belongs to; images with the same match of `pattern` at the
    beginning of their names are of one clip.

    Raises UserError if a name does not match, if every image is a clip, or all are of one.
    """
    found = [re.match(pattern, name) for name in names]
    for name, match in zip(names, found, strict=True):
        if match is None:
            raise UserError(f"clip: {pattern!r} does not match the name {name}")
    clips = [match[0] for match in found if match is not None]
    count = len(set(clips))
    if count == 1 or (count == len(names) > 2):
        what = "all images are of one clip" if count == 1 else "every image is a clip of its own"
        raise UserError(f"clip: with {pattern!r}, {what} (such as {names[0]}: {clips[0]!r})")
    return np.unique(clips, return_inverse=True)[1]


def by_clip(rows: np.ndarray, clips: np.ndarray | None) -> np.ndarray:
    """(N, …) to the sums of each clip's rows, (clips, …); as they are without clips."""
    if clips is None:
        return rows
    sums = np.zeros((clips.max() + 1, *rows.shape[1:]), rows.dtype)
    np.add.at(sums, clips, rows)
    return sums


def mean_intervals(
    per_image: Mapping[str, np.ndarray], clips: np.ndarray | None = None
) -> dict[str, Interval]:
    """Intervals of scores that are means over images, from {score: (N,) finite values}.

    The interval of a name that is not in METRICS is not clipped.
    """
    names = list(per_image)
    if not names or len(per_image[names[0]]) < 2:
        return {}
    images = np.ones(len(per_image[names[0]]))
    table = by_clip(np.stack([*(per_image[name] for name in names), images], axis=1), clips)
    drawn = np.concatenate([sums[:, :-1] / sums[:, -1:] for sums in _resampled(table)])
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
    tables = [
        fcn_score.scores(sums.reshape(-1, classes, classes), scored)
        for sums in _resampled(confusion.reshape(len(confusion), -1))
    ]
    scores = fcn_score.scores(confusion.sum(0), scored)
    return {
        f"{family}.{name}": _interval(
            f"{family}.{name}", np.concatenate([table[name] for table in tables]), score
        )
        for name, score in scores.items()
    }


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
