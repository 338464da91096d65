"""How long a training's step takes, several ways of running it in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pix2pix.config import CellConfig, Precision
from pix2pix.fast_step import Execution, Step, make_step
from pix2pix.model import build

WARM_UP = 2
"""Turns of each that are not counted."""


@dataclass
class Way:
    """A way to run the steps of a training: its precision, its execution, and what was measured."""

    precision: Precision
    execution: Execution
    seconds: list[float]
    """A step's, of each turn."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the turns."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return low, high


def time_steps(
    config: CellConfig,
    ways: Sequence[tuple[Precision, Execution]],
    device: torch.device,
    *,
    steps_a_turn: int = 1,
    turns: int = 9,
    channels: tuple[int, int] = (3, 3),
) -> list[Way]:
    """Time steps on noise. The ways take turns, so that whatever drifts meets all of them.

    Errors are the step's own: CaptureFailed, torch.OutOfMemoryError.
    """
    measured = [Way(*way, []) for way in ways]
    steps = [_prepare(config, way, device, channels) for way in measured]
    for turn in range(-WARM_UP, turns):
        for way, (step, x, y) in zip(measured, steps, strict=True):
            wait(device)
            began = time.perf_counter()
            for _ in range(steps_a_turn):
                step(x, y)
            wait(device)
            if turn >= 0:
                way.seconds.append((time.perf_counter() - began) / steps_a_turn)
    return measured


def _prepare(
    config: CellConfig, way: Way, device: torch.device, channels: tuple[int, int]
) -> tuple[Step, torch.Tensor, torch.Tensor]:
    training = config.training.model_copy(update={"precision": way.precision})
    config = config.model_copy(update={"training": training})
    draw = torch.Generator().manual_seed(0)
    x, y = (
        torch.rand(training.batch, count, *config.size, generator=draw).to(device) * 2 - 1
        for count in channels
    )
    model = build(config, channels, device, way.execution.memory_format)
    return make_step(model, way.execution, (x, y)), x, y


def wait(device: torch.device) -> None:
    """Until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
