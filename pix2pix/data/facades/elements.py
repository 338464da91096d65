"""The labelled parts of an embedded facade and the pixels that they cover.

Coordinates are fractions of the image, x to the right and y downwards, so that one layout is
drawn at any size.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A random stream named by a tuple of non-negative integers."""

    def __init__(self, *key: int) -> None:
        self._words = np.random.PCG64(list(key))

    def _uniform(self) -> float:
        return (self._words.random_raw() >> 11) * 2.0**-53

    def fork(self) -> "Dice":
        """A stream of its own: what is drawn from it, however much, leaves this one alone."""
        return Dice(int(self._words.random_raw()))

    def chance(self, probability: float) -> bool:
        return self._uniform() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._uniform()

    def whole(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int((high - low + 1) * self._uniform())

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        if weights is None:
            return options[int(len(options) * self._uniform())]
        level = self._uniform() * total(weights)
        for option, weight in zip(options, weights, strict=True):
            level -= weight
            if level < 0:
                return option
        return options[-1]

    def table(self, *shape: int) -> np.ndarray:
        """Uniform float32 numbers in 0..1."""
        words = self._words.random_raw(math.prod(shape)).reshape(shape)
        return (words >> 40).astype(np.float32) * np.float32(2.0**-24)

    def grain(self, *shape: int) -> np.ndarray:
        """float32 noise, the sum of two 256-sided dice: mean 0, standard deviation about 1."""
        count = math.prod(shape)
        words = self._words.random_raw((2 * count + 7) // 8).astype("<u8")
        rolled = words.view(np.uint8)[: 2 * count].reshape(2, *shape).astype(np.int32)
        return (rolled[0] + rolled[1] - 255).astype(np.float32) * np.float32(1 / 104.5)


def total(numbers: Iterable[float]) -> float:
    """Their sum from left to right; the builtin's rounding changed with Python 3.12."""
    result = 0.0
    for number in numbers:
        result += number
    return result


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
