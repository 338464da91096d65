"""Time training steps, with several ways of running them in turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pix2pix.config import CellConfig, Precision
from pix2pix.fast_step import CaptureFailed, Execution, Step, make_step
from pix2pix.methods import build

WARM_UP = 2
"""Turns of each variant that are not counted."""


@dataclass
class Timing:
    """A precision and an execution, and how long their steps took."""

    precision: Precision
    execution: Execution
    seconds: list[float]
    """Per step, one value per turn."""
    failed: str = ""
    """Why the variant was not timed."""

    @property
    def median(self) -> float:
        """Seconds per step: the median over turns."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles over turns."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return low, high


def time_steps(
    config: CellConfig,
    variants: Sequence[tuple[Precision, Execution]],
    device: torch.device,
    *,
    steps_per_turn: int = 1,
    turns: int = 9,
    channels: tuple[int, int] = (3, 3),
) -> list[Timing]:
    """Time steps on noise. Variants take turns, so that a drift affects all of them alike.

    A variant that cannot be prepared (no graph, no memory) has `failed` and no seconds.
    """
    timings = [Timing(precision, execution, []) for precision, execution in variants]
    ready = []
    for timing in timings:
        try:
            ready.append((timing, *_prepare(config, timing, device, channels)))
        except (CaptureFailed, torch.OutOfMemoryError) as error:
            timing.failed = str(error).partition("\n")[0]
    for turn in range(-WARM_UP, turns):
        for timing, step, x, y in ready:
            wait(device)
            began = time.perf_counter()
            for _ in range(steps_per_turn):
                step(x, y)
            wait(device)
            if turn >= 0:
                timing.seconds.append((time.perf_counter() - began) / steps_per_turn)
    return timings


def _prepare(
    config: CellConfig, timing: Timing, device: torch.device, channels: tuple[int, int]
) -> tuple[Step, torch.Tensor, torch.Tensor]:
    training = config.training.model_copy(update={"precision": timing.precision})
    config = config.model_copy(update={"training": training})
    draw = torch.Generator().manual_seed(0)
    x, y = (
        torch.rand(training.batch, count, *config.size, generator=draw).to(device) * 2 - 1
        for count in channels
    )
    model = build(config, channels, device, timing.execution.memory_format)
    return make_step(model, timing.execution, (x, y)), x, y


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished all work launched so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
