"""Pooled Lab histograms (Figure 7) and how far their intersection depends on the bins."""

from __future__ import annotations

import numpy as np

from eval.color import BIN_WIDTHS, HIGHEST, LOWEST, histogram_intersection
from eval.color import CHANNELS as NAMES
from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.runs import GROUND_TRUTH, runs_by_arm

CHANNELS = {
    name: (int(low), int(high)) for name, low, high in zip(NAMES, LOWEST, HIGHEST, strict=True)
}
"""Lowest and highest value; counts are of equal bins from the lowest on."""


def pooled(runs: SuiteRuns) -> dict[str, np.ndarray]:
    """{arm: (3, bins) counts over all its finished seeds}, the ground truth last.

    All have bins of one width: the widest that any run was scored with.
    """
    found = {}
    for arm, of in runs_by_arm(runs).items():
        counts = [c for c in (_counts(run) for run in of if run.finished) if c is not None]
        if counts:
            found[arm] = counts
    fewest = min((c.shape[1] for counts in found.values() for c in counts), default=0)
    return {
        arm: np.sum([c.reshape(3, fewest, -1).sum(2) for c in counts], axis=0)
        for arm, counts in found.items()
    }


def _counts(run: RunRecord) -> np.ndarray | None:
    stored = run.json_artifact("histograms.json")
    return None if stored is None else np.asarray(stored["lab"], np.int64)


def counted_width(counts: np.ndarray) -> float:
    """Units a bin of (3, bins) counts: half a unit, or one in runs of earlier versions."""
    return max(high - low for low, high in CHANNELS.values()) / counts.shape[1]


def density(counts: np.ndarray, channel: str, width: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """(left edges, share of pixels a unit) of a channel in bins of `width` units.

    `counts` is (3, bins); `width` has to divide the channel's range, and not to be below
    `counted_width`.
    """
    low, high = CHANNELS[channel]
    counted = counted_width(counts)
    row = counts[list(CHANNELS).index(channel), : round((high - low) / counted)].astype(float)
    merged = row.reshape(-1, round(width / counted)).sum(axis=1)
    return np.arange(low, high, width), merged / max(merged.sum(), 1.0) / width


def intersection(p: np.ndarray, q: np.ndarray, channel: str, width: float = 1) -> float:
    """The intersection of two arms' counts in bins of `width` units, 0 to 1."""
    first, second = (density(counts, channel, width)[1] for counts in (p, q))
    return histogram_intersection(first, second)


def bin_notes(runs: SuiteRuns) -> list[str]:
    """For every arm, its intersection with the real photos for several bin widths."""
    counts = pooled(runs)
    truth = counts.pop(GROUND_TRUTH, None)
    if truth is None or not counts:
        return []
    known = [width for width in BIN_WIDTHS if width >= counted_width(truth)]
    widths = ", ".join(map(str, known))
    lines = [
        "the paper's bins are not published; ours are one unit wide. Lab ∩ of all seeds pooled in "
        f"one histogram (the table has the mean over seeds), in bins of {widths} units:"
    ]
    for arm, of in counts.items():
        told = []
        for channel in CHANNELS:
            moved = (f"{intersection(of, truth, channel, width):.3f}" for width in known)
            told.append(f"{channel} {' / '.join(moved)}")
        lines.append(f"{arm}: {'; '.join(told)}")
    return lines
