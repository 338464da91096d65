"""The FCN-score's scorer: an FCN-8s trained from scratch on real photos and their labels.

The published score uses one network trained on Cityscapes; any other data set needs its own.
Narrow and with BatchNorm, which training from scratch wants, it takes minutes on one core.
BatchNorm has running statistics when it scores: an image's score never depends on the others.

Some photos are held out of the training; when the scorer gets no better on them, it has learned
enough (`eval.scorer.stopping`). They come from the training split: a data set's own validation
split would be optimistic wherever it is also the test split, as on Cityscapes and CamVid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eval.fcn_score import confusion_matrix, scores
from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import load_scorer, save_scorer
from eval.scorer.scorer_data import (
    IGNORED,
    augmented,
    check_training_data,
    endless_order,
    hold_out,
    normalise,
)
from eval.scorer.stopping import Stopping
from pix2pix.common.errors import ScoringError

__all__ = [
    "ScorerSettings",
    "hold_out",
    "load_scorer",
    "normalise",
    "save_scorer",
    "segment",
    "train_scorer",
]


@dataclass(frozen=True)
class ScorerSettings:
    """How a scorer is trained.

    Attributes:
        width: channels of the first convolution; the published network has 64.
        batches: optimiser steps, at most.
        batch: photos a step, at least 2 (BatchNorm).
        validate_every: batches between two looks at the photos that are held out.
        patience: such looks without a rise of their class IoU, after which the learning rate
            falls to 0 and the training ends.
        learning_rate: AdamW's, until then.
        seed: of the weights, the order of the photos, mirroring and dropout.
    """

    width: int = 16
    batches: int = 700
    batch: int = 8
    validate_every: int = 70
    patience: int = 3
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        least = dict(width=1, batches=1, batch=2, validate_every=1, patience=1, seed=0)
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name}: must be at least {lowest} (got {getattr(self, name)})")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: must be above 0 (got {self.learning_rate})")


def train_scorer(
    photos: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: ScorerSettings = ScorerSettings(),
    progress: Callable[[int, float, float], None] | None = None,
    device: str | torch.device = "cpu",
    *,
    held_out: np.ndarray | None = None,
    validated: Callable[[int, dict[str, float]], None] | None = None,
) -> FCN8s:
    """Train an FCN-8s on photos and labels; the trained network is in evaluation mode.

    With photos held out, its weights are those of the validation with the best class IoU, and the
    training ends once that rises no more; without, it takes all of `settings.batches`.

    The same arguments give the same weights, bit for bit on the CPU with the same number of
    threads. The caller's random generators are left as they were.

    Args:
        photos: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8, classes 0 to `classes` − 1; 255 is ignored.
        progress: called with (batches done, loss of the last one, its learning rate).
        held_out: positions of photos that are validated on and never trained on (`hold_out`);
            None: none.
        validated: called with (batches done, FCN-scores of the photos held out).

    Raises:
        ScoringError: photos and labels that do not fit each other, a class out of range, no
            labelled pixel among the photos held out or the others, or a loss that is no number.
    """
    held = np.unique(np.asarray([] if held_out is None else held_out, np.int64))
    check_training_data(photos, labels, classes, held)
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # The device's generators alone: torch.manual_seed would touch every other GPU's.
        torch.random.default_generator.manual_seed(settings.seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(settings.seed)
        model = FCN8s(classes, settings.width, batch_norm=True, padding="same")
        # Channels last: measured 15 % faster on the CPU.
        model = model.to(device, memory_format=torch.channels_last)
        validate = None
        if len(held):
            validate = _Validation(model, photos[held], labels[held], validated)
        trained_on = np.setdiff1d(np.arange(len(photos)), held)
        _descend(model, photos, labels, trained_on, settings, validate, progress)
    return model.eval()


class _Validation:
    """The FCN-scores of photos held out, and the weights that were best on them."""

    def __init__(
        self,
        model: FCN8s,
        photos: np.ndarray,
        labels: np.ndarray,
        told: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        self.model, self.photos, self.labels, self.told = model, photos, labels, told
        self.best: dict[str, Tensor] = {}

    def __call__(self, done: int, stopping: Stopping) -> None:
        predictions = segment(self.model, self.photos)
        values = scores(confusion_matrix(predictions, self.labels, self.model.classes))
        if stopping.told(done, values["class_iou"]):
            state = self.model.state_dict().items()
            self.best = {name: value.detach().clone() for name, value in state}
        if self.told is not None:
            self.told(done, values)


def _descend(
    model: FCN8s,
    photos: np.ndarray,
    labels: np.ndarray,
    trained_on: np.ndarray,
    settings: ScorerSettings,
    validate: _Validation | None,
    progress: Callable[[int, float, float], None] | None,
) -> None:
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True)
    stopping = Stopping(settings.batches, settings.patience)
    order = endless_order(len(trained_on), generator)
    device = next(model.parameters()).device
    model.train()
    done = 0
    while done < stopping.end:
        rate = settings.learning_rate * stopping.factor(done)
        optimiser.param_groups[0]["lr"] = rate
        chosen = trained_on[[next(order) for _ in range(settings.batch)]]
        images, truth = augmented(photos[chosen], labels[chosen], generator)
        loss = _cross_entropy(
            model(images.to(device, memory_format=torch.channels_last)), truth.to(device)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        done += 1
        value = loss.item()
        if not math.isfinite(value):
            raise ScoringError(f"training the scorer: the loss of batch {done} is {value}")
        if progress is not None:
            progress(done, value, rate)
        if validate is not None and (done % settings.validate_every == 0 or done == stopping.end):
            validate(done, stopping)
    if validate is not None:
        model.load_state_dict(validate.best)


def segment(model: FCN8s, photos: np.ndarray, batch: int = 8) -> np.ndarray:
    """The most likely class of every pixel: (N, H, W, 3) uint8 -> (N, H, W) uint8.

    The network is used in evaluation mode and given back in the mode that it was in.
    """
    if photos.ndim != 4 or photos.shape[-1] != 3 or photos.dtype != np.uint8:
        raise ValueError(f"photos: must be (N, H, W, 3) uint8 (got {photos.shape} {photos.dtype})")
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    predictions = np.empty(photos.shape[:3], np.uint8)
    try:
        with torch.inference_mode():
            for start in range(0, len(photos), batch):
                images = normalise(torch.from_numpy(np.array(photos[start : start + batch])))
                scores = model(images.to(parameter.device, memory_format=torch.channels_last))
                predictions[start : start + batch] = scores.argmax(1).byte().cpu().numpy()
    finally:
        model.train(was_training)
    return predictions


def _cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the labelled pixels; 0 where a batch has none, instead of 0/0."""
    total = functional.cross_entropy(scores, truth, ignore_index=IGNORED, reduction="sum")
    return total / (truth != IGNORED).sum().clamp(min=1)
