"""Random draws for the embedded facades, the same on every machine.

NumPy promises that a bit generator's raw 64-bit words never change, but not what `Generator`
makes of them. So everything here is made from the raw words, with IEEE-exact arithmetic.
"""

import math
from collections.abc import Iterable, Sequence
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
