"""How much a generator's noise changes: several translations of one input (BicycleGAN, Section 5).

`diversity.lpips` is the mean LPIPS between two draws of one input, averaged over inputs.
`diversity.variance` is the share of the outputs' variance that the noise makes: of the variance
at each pixel and channel, the part within the draws of one input, the rest being between inputs
(one-way analysis of variance; estimates without bias, summed over pixels and channels).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np


def mean_distance(
    draws: np.ndarray, distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """The mean distance of all pairs of (D, H, W, 3) uint8; D at least 2.

    `distance` takes (N, H, W, 3) uint8 twice and returns (N,), as `eval.lpips.LPIPSDistance`.
    """
    first, second = np.array(list(itertools.combinations(range(len(draws)), 2))).T
    return float(np.mean(distance(draws[first], draws[second])))


class NoiseVariance:
    """The share of variance that is within the draws of one input; inputs come one by one."""

    def __init__(self) -> None:
        self.inputs = self.draws = 0
        self.within: np.ndarray | float = 0.0
        self.sums: np.ndarray | float = 0.0
        self.squares: np.ndarray | float = 0.0

    def add(self, draws: np.ndarray) -> None:
        """Add the draws of one input: (D, H, W, 3) uint8, D at least 2 and always the same."""
        values = draws.astype(np.float64)
        mean = values.mean(0)
        self.inputs, self.draws = self.inputs + 1, len(draws)
        self.within = self.within + values.var(0, ddof=1)
        self.sums, self.squares = self.sums + mean, self.squares + mean**2

    def share(self) -> float:
        """0 if all draws of each input are equal, 1 if inputs make no difference.

        ValueError for fewer than two inputs, or if all outputs are one image.
        """
        if self.inputs < 2:
            raise ValueError("one input has no variance between inputs")
        n = self.inputs
        within = float(np.sum(self.within)) / n
        of_means = float(np.sum(self.squares - np.square(self.sums) / n)) / (n - 1)
        between = max(0.0, of_means - within / self.draws)
        if within + between <= 0:
            raise ValueError("all outputs are one image")
        return within / (within + between)
