"""Pooled Lab histograms (Figure 7) and how far their intersection depends on the bins."""

from __future__ import annotations

import numpy as np

from eval.color import CHANNELS as NAMES
from eval.color import HIGHEST, LOWEST, histogram_intersection
from experiments.tracking_reader import RunRecord, SuiteRuns
from reports.collect import GROUND_TRUTH, runs_by_arm

CHANNELS = {
    name: (int(low), int(high)) for name, low, high in zip(NAMES, LOWEST, HIGHEST, strict=True)
}
"""Lowest and highest value; the counts are of one-unit bins from the lowest on."""
BIN_WIDTHS = (1, 2, 5, 10)


def pooled(runs: SuiteRuns) -> dict[str, np.ndarray]:
    """{arm: (3, bins) counts over all its finished seeds}, the ground truth last."""
    found = {}
    for arm, of in runs_by_arm(runs).items():
        counts = [c for c in (_counts(run) for run in of if run.status == "done") if c is not None]
        if counts:
            found[arm] = np.sum(counts, axis=0)
    return found


def _counts(run: RunRecord) -> np.ndarray | None:
    stored = run.json_artifact("histograms.json")
    return None if stored is None else np.asarray(stored["lab"], np.int64)


def density(counts: np.ndarray, channel: str, width: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(left edges, share of pixels a unit) of a channel in bins of `width` units.

    `counts` is (3, bins); `width` has to divide the channel's range.
    """
    low, high = CHANNELS[channel]
    row = counts[list(CHANNELS).index(channel), : high - low].astype(float)
    merged = row.reshape(-1, width).sum(axis=1)
    return np.arange(low, high, width), merged / max(merged.sum(), 1.0) / width


def intersection(p: np.ndarray, q: np.ndarray, channel: str, width: int = 1) -> float:
    """The intersection of two arms' counts in bins of `width` units, 0 to 1."""
    first, second = (density(counts, channel, width)[1] for counts in (p, q))
    return histogram_intersection(first, second)


def bin_notes(runs: SuiteRuns) -> list[str]:
    """For every arm, its intersection with the real photos for several bin widths."""
    counts = pooled(runs)
    truth = counts.pop(GROUND_TRUTH, None)
    if truth is None or not counts:
        return []
    widths = ", ".join(map(str, BIN_WIDTHS))
    lines = [
        "the paper's bins are not published; ours are one unit wide. Intersection with the real "
        f"photos, seeds pooled, in bins of {widths} units:"
    ]
    for arm, of in counts.items():
        told = []
        for channel in CHANNELS:
            moved = (f"{intersection(of, truth, channel, width):.3f}" for width in BIN_WIDTHS)
            told.append(f"{channel} {' / '.join(moved)}")
        lines.append(f"{arm}: {'; '.join(told)}")
    return lines
