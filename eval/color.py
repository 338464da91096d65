"""Colour distributions in Lab and their intersection (pix2pix, section 4.2, Figure 7).

L in [0, 100], a and b in [-110, 110]. The paper does not publish its bins. The score uses bins of
one unit; counts are kept in bins of half a unit, so that other bin widths can be reported too.
"""

from __future__ import annotations

import numpy as np

CHANNELS = ("L", "a", "b")
LOWEST = np.array([0, -110, -110])
HIGHEST = np.array([100, 110, 110])
COUNTED_WIDTH = 0.5
"""Lab units per bin of the counts that are kept."""
SCORED_WIDTH = 1
"""Lab units per bin of the score."""
BIN_WIDTHS = (0.5, 1, 2, 4)
BINS = 440
"""Bins of a and b at COUNTED_WIDTH; L has 200 and leaves the rest empty."""


def lab_histograms(image: np.ndarray) -> np.ndarray:
    """Count an image's pixels by L, a and b (sRGB, D65, 2° observer) in bins of half a unit.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (3, BINS) int32; every row sums to H·W. Values out of range count in the outermost bins.
    """
    from skimage.color import rgb2lab

    lab = rgb2lab(image).reshape(-1, 3)
    cells = np.floor((lab - LOWEST) / COUNTED_WIDTH).astype(np.int64)
    cells = np.clip(cells, 0, ((HIGHEST - LOWEST) / COUNTED_WIDTH).astype(np.int64) - 1)
    return np.stack([np.bincount(cells[:, c], minlength=BINS) for c in range(3)]).astype(np.int32)


def merged(counts: np.ndarray, width: float = SCORED_WIDTH) -> np.ndarray:
    """(…, 3, BINS) counts, merged into bins of `width` units, one of BIN_WIDTHS."""
    together = round(width / COUNTED_WIDTH)
    return counts.reshape(*counts.shape[:-1], -1, together).sum(-1)


def intersections(p: np.ndarray, q: np.ndarray, width: float = SCORED_WIDTH) -> dict[str, float]:
    """{"L": …, "a": …, "b": …}: the intersection of two (3, BINS) counts, by channel."""
    first, second = merged(p, width), merged(q, width)
    return {
        channel: histogram_intersection(first[c], second[c]) for c, channel in enumerate(CHANNELS)
    }


def histogram_intersection(p: np.ndarray, q: np.ndarray) -> float:
    """Σ min(p, q) of two histograms with the same bins, each normalised to sum 1; 1 means equal.

    Args:
        p, q: (bins,) non-negative counts or densities, not all zero.
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return float(min(1.0, np.minimum(p / p.sum(), q / q.sum()).sum()))
