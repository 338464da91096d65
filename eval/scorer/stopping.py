"""When a scorer's training ends, and how its learning rate gets there.

A learning rate that falls from the first batch on ties the end to the length that was asked for:
whoever stops early stops at a high rate, and loses what the low one brings at the end. So the rate
stays where it is while the validation score rises, and falls in a straight line to 0 over the last
30 % of the training, whenever that comes (Hägele et al. 2024, "Scaling Laws and Compute-Optimal
Training Beyond Fixed Training Durations", section 3).
"""

from __future__ import annotations

import math

COOL_DOWN = 0.3
"""Share of a training over which the learning rate falls to 0."""
RISE = 0.005
"""A validation score has risen if it lies this far above the last one that had."""


class Stopping:
    """Follows the validation scores of one training of at most `batches` batches.

    The cool-down begins when `patience` validations in a row have brought no rise, and at the
    latest where 70 % of `batches` are done.

    Attributes:
        end: batches that the training takes, as far as is known.
        cooling_from: batches done when the learning rate begins to fall.
        best_at: batches done at the best score so far; 0 before the first.
    """

    def __init__(self, batches: int, patience: int) -> None:
        self.patience = patience
        self.end = batches
        self.cooling_from = batches - math.ceil(COOL_DOWN * batches)
        self.best_at = 0
        self._best = -math.inf
        self._risen = -math.inf
        self._flat = 0

    def factor(self, done: int) -> float:
        """The share of the learning rate that the batch after `done` ones gets, in (0, 1]."""
        return min(1.0, (self.end - done) / (self.end - self.cooling_from))

    def told(self, done: int, score: float) -> bool:
        """Take note of the score after `done` batches; whether it is the best so far."""
        self._flat += 1
        if score > self._risen + RISE:
            self._risen, self._flat = score, 0
        if self._flat >= self.patience and done < self.cooling_from:
            self.cooling_from = done
            self.end = math.ceil(done / (1 - COOL_DOWN))
        best = score > self._best  # never, where it is no number
        if best:
            self._best, self.best_at = score, done
        return best
