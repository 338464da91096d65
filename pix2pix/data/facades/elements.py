"""The labelled parts of an embedded facade and the pixels that they cover.

Coordinates are fractions of the image, x to the right and y downwards, so that one layout is
drawn at any size.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Element:
    """One labelled part of a facade: a box, of which `shape` may leave something out."""

    kind: str  # the name of its class
    x0: float
    y0: float
    x1: float
    y1: float
    shape: str = "box"  # see shape_mask()
    storey: int = 0  # 0 is the ground floor
    style: str = ""  # what the label map tells about it beyond its class

    def pixels(self, size: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 at `size` pixels, at least one pixel wide and high, inside the image."""
        x0, y0 = (min(max(int(v * size + 0.5), 0), size - 1) for v in (self.x0, self.y0))
        x1, y1 = (min(max(int(v * size + 0.5), 0), size) for v in (self.x1, self.y1))
        return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


@dataclass(frozen=True)
class Layout:
    """A facade's elements in painting order, and the lines that its materials follow."""

    elements: tuple[Element, ...]
    left: float
    top: float  # of the main block, below a gable
    right: float
    bottom: float
    ground: float  # upper edge of the ground floor


def shape_mask(shape: str, height: int, width: int) -> np.ndarray:
    """(height, width) bool: the part of an element's box that it covers."""
    x = (np.arange(width, dtype=np.float64)[None] + 0.5 - width / 2) / (width / 2)
    y = np.arange(height, dtype=np.float64)[:, None] + 0.5
    if shape == "box":
        return np.ones((height, width), dtype=bool)
    if shape in ("arch", "segment"):
        rise = min(width / 2 if shape == "arch" else width / 6, height * 0.9)
        above = np.maximum(rise - y, 0.0) / rise
        return x * x + above * above <= 1.0
    if shape == "pediment":
        return (np.abs(x) * 0.75 * height <= y) | (y >= 0.75 * height)
    if shape == "gable":
        return np.abs(x) * height <= y
    centred = (y - height / 2) / (height / 2)
    if shape == "disc":
        return x * x + centred * centred <= 1.0
    if shape == "lozenge":
        return np.abs(x) + np.abs(centred) <= 1.0
    raise ValueError(f"unknown shape {shape!r}")
