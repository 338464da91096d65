"""Index maps and painted labels to class positions, refusing what no class has."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pix2pix.common.errors import UserError
from pix2pix.data.registry import IGNORED, DatasetEntry, Side

MAX_UNKNOWN = 0.25
"""Share of a JPEG label map's pixels that may lie off every class colour (edges are smeared)."""

STRIP = 1 << 18
"""Label pixels whose colours are compared at once."""

_NO_CLASS = 254


def from_indices(entry: DatasetEntry, path: str, values: np.ndarray) -> np.ndarray:
    """(H, W) uint8 indices to (H, W) uint8 class positions, 255 ignored; UserError names `path`."""
    table = np.full(256, IGNORED if entry.ignore == "rest" else _NO_CLASS, np.uint8)
    for value in entry.ignore if entry.ignore != "rest" else ():
        if isinstance(value, int):
            table[value] = IGNORED
    for position, one in enumerate(entry.classes):
        table[one.index] = position
    positions = table[values]
    wrong = np.unique(values[positions == _NO_CLASS])
    if wrong.size:
        allowed = ", ".join(str(value) for value in np.flatnonzero(table != _NO_CLASS))
        shown = ", ".join(map(str, wrong[:5])) + (", …" if wrong.size > 5 else "")
        raise UserError(f"{path}: has the value {shown}, which no class has; allowed: {allowed}")
    return positions


def from_colours(
    entry: DatasetEntry, side: Side, path: str, image: np.ndarray, lossy: bool
) -> np.ndarray:
    """Colour to class position: exact in lossless files, the nearest within tolerance in lossy."""
    known = [(one.colour, position) for position, one in enumerate(entry.classes)]
    if entry.ignore != "rest":
        known += [(value, IGNORED) for value in entry.ignore if not isinstance(value, int)]
    colours = np.array([colour for colour, _ in known], np.int32)
    table = np.array([position for _, position in known], np.uint8)
    reach = side.tolerance**2 if lossy else 0
    positions = np.empty(image.shape[:2], np.uint8)
    unknown: Counter[int] = Counter()
    rows = max(1, STRIP // max(image.shape[1], 1))
    for top in range(0, image.shape[0], rows):
        # In strips: a large image may hold more colours than the memory can compare at once.
        strip = image[top : top + rows].astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        values, inverse, counts = np.unique(strip, return_inverse=True, return_counts=True)
        seen = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.int32)
        squared = np.stack([((seen - colour) ** 2).sum(1) for colour in colours], 1)
        far = squared.min(1) > reach
        unknown.update(dict(zip(values[far].tolist(), counts[far].tolist(), strict=True)))
        nearest = np.where(far, IGNORED, table[squared.argmin(1)]).astype(np.uint8)
        positions[top : top + rows] = nearest[inverse].reshape(strip.shape)
    share = unknown.total() / max(positions.size, 1)
    if entry.ignore != "rest" and share > (MAX_UNKNOWN if lossy else 0):
        value, _ = unknown.most_common(1)[0]
        worst = (value >> 16, value >> 8 & 255, value & 255)
        raise UserError(
            f"{path}: {share:.2%} of the label pixels have a colour of no class, mostly {worst}; "
            f"name it under classes or ignore of {entry.name}"
        )
    return positions
