"""Losses between two records, kept on the device so that the training does not wait for it."""

from __future__ import annotations

import torch
from torch import Tensor

from pix2pix.common.errors import TrainingError


class LossWindow:
    """Losses since the last record, kept on the device so that the loop does not wait for it."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.names: list[str] = []
        self.values: list[Tensor] = []
        self.held: Tensor | None = None
        """What an earlier sitting measured: (steps, terms) on the CPU."""
        self.seconds = 0.0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        self.steps.append(step)
        self.names = list(terms)
        self.values.append(torch.stack(list(terms.values())))

    def check(self) -> Tensor:
        """All values, (steps, terms) on the CPU. TrainingError names the first step and term that
        is not a finite number."""
        parts = [] if self.held is None else [self.held]
        parts += [torch.stack(self.values).cpu()] if self.values else []
        values = torch.cat(parts)
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise TrainingError(
                f"step {self.steps[row]}: the loss {self.names[column]} is "
                f"{values[row, column].item()}: the training diverged (lower "
                "training.learning_rate, or look at the data)"
            )
        return values

    def means(self) -> dict[str, float]:
        """The mean of every term; TrainingError as `check`."""
        return dict(zip(self.names, self.check().double().mean(0).tolist(), strict=True))

    def state_dict(self) -> dict[str, object]:
        values = self.check() if self.steps else None
        return {
            "steps": self.steps,
            "names": self.names,
            "values": values,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict) -> None:
        self.steps, self.names, self.seconds = state["steps"], state["names"], state["seconds"]
        self.values, self.held = [], state["values"]
