"""The FCN-score's scorer: an FCN-8s trained from scratch on real photos and their labels.

The published score uses one network trained on Cityscapes; any other data set needs its own.
Narrow and with BatchNorm, which training from scratch wants, it takes minutes on one core.
BatchNorm has running statistics when it scores: an image's score never depends on the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eval.errors import ScoringError
from eval.fcn import FCN8s
from eval.scorer_file import load_scorer, save_scorer

__all__ = [
    "ScorerSettings",
    "load_scorer",
    "normalise",
    "save_scorer",
    "segment",
    "train_scorer",
]

IGNORED = 255
DECAY_POWER = 0.9  # of the polynomial decay, as in DeepLab (Chen et al. 2017)


@dataclass(frozen=True)
class ScorerSettings:
    """How a scorer is trained.

    Attributes:
        width: channels of the first convolution; the published network has 64.
        batches: optimiser steps.
        batch: photos a step, at least 2 (BatchNorm).
        learning_rate: AdamW's, at the start; it falls polynomially to 0.
        seed: of the weights, the order of the photos, mirroring and dropout.
    """

    width: int = 16
    batches: int = 700
    batch: int = 8
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("batches", 1), ("batch", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: must be at least {least} (got {getattr(self, name)})")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: must be above 0 (got {self.learning_rate})")


def train_scorer(
    photos: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: ScorerSettings = ScorerSettings(),
    progress: Callable[[int, float], None] | None = None,
    device: str | torch.device = "cpu",
) -> FCN8s:
    """Train an FCN-8s on photos and labels; the trained network is in evaluation mode.

    The same arguments give the same weights, bit for bit on the CPU with the same number of
    threads. The caller's random generators are left as they were.

    Args:
        photos: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8, classes 0 to `classes` − 1; 255 is ignored.
        progress: called with (batches done, loss of the last one).

    Raises:
        ScoringError: photos and labels that do not fit each other, a class out of range, or a
            loss that is not a number.
    """
    _check_training_data(photos, labels, classes)
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
        _descend(model, photos, labels, settings, progress, device)
    return model.eval()


def _descend(
    model: FCN8s,
    photos: np.ndarray,
    labels: np.ndarray,
    settings: ScorerSettings,
    progress: Callable[[int, float], None] | None,
    device: torch.device,
) -> None:
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, settings.batches, DECAY_POWER)
    order = _endless_order(len(photos), generator)
    model.train()
    for done in range(1, settings.batches + 1):
        chosen = [next(order) for _ in range(settings.batch)]
        images, truth = _augmented(photos[chosen], labels[chosen], generator)
        scores = model(images.to(device, memory_format=torch.channels_last))
        loss = _cross_entropy(scores, truth.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        value = loss.item()
        if not math.isfinite(value):
            raise ScoringError(f"training the scorer: the loss of batch {done} is {value}")
        if progress is not None:
            progress(done, value)


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


def normalise(photos: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float in [-1, 1]."""
    return photos.permute(0, 3, 1, 2).float() / 127.5 - 1


def _augmented(
    photos: np.ndarray, labels: np.ndarray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Normalised photos and their labels, half of them mirrored.

    Brightness and contrast are left alone: a scorer that is taught to overlook them cannot tell a
    dull, grey translation from a photo (docs/scores.md has both measured).
    """
    images = normalise(torch.from_numpy(np.array(photos)))
    truth = torch.from_numpy(np.array(labels)).long()
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    truth[mirrored] = truth[mirrored].flip(-1)
    return images, truth


def _endless_order(count: int, generator: torch.Generator) -> Iterator[int]:
    """Every photo once in a random order, then again in another, and so on."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the labelled pixels; 0 where a batch has none, instead of 0/0."""
    total = functional.cross_entropy(scores, truth, ignore_index=IGNORED, reduction="sum")
    return total / (truth != IGNORED).sum().clamp(min=1)


def _check_training_data(photos: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if photos.ndim != 4 or photos.shape[-1] != 3 or photos.dtype != np.uint8:
        raise ScoringError(
            f"photos: must be (N, H, W, 3) uint8 (got {photos.shape} {photos.dtype})"
        )
    if labels.shape != photos.shape[:3] or labels.dtype != np.uint8:
        raise ScoringError(
            f"labels: must be {photos.shape[:3]} uint8 like the photos"
            f" (got {labels.shape} {labels.dtype})"
        )
    if len(photos) == 0:
        raise ScoringError("training the scorer: there are no photos")
    if not 1 <= classes <= IGNORED:
        raise ScoringError(f"classes: must be 1 to {IGNORED} (got {classes})")
    seen = np.zeros(256, bool)
    for image in labels:
        seen[np.unique(image)] = True
    wrong = np.flatnonzero(seen[:IGNORED])
    if len(wrong) == 0:
        raise ScoringError("training the scorer: no pixel is labelled")
    if wrong[-1] >= classes:
        raise ScoringError(f"labels: class {wrong[-1]} is not one of the {classes} classes")
