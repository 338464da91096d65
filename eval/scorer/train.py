"""Train the scorer of the FCN-score: an FCN-8s, from scratch, on real photos and their labels.

The published score uses one network trained on Cityscapes; any other data set needs its own. A
narrow network with BatchNorm trains in minutes on one core. BatchNorm uses its running statistics
when it scores, so the score of an image never depends on the other images.

Some photos are held out of the training; it ends when the network no longer improves on them. They
come from the training split: the validation split of a data set would be optimistic where it is
also the test split, as on Cityscapes and CamVid.

The learning rate stays constant while the validation score rises, and falls in a straight line to 0
over the last 30 % of the training, whenever that begins (Hägele et al. 2024, "Scaling Laws and
Compute-Optimal Training Beyond Fixed Training Durations", section 3). A rate that falls from the
first batch on would tie the end of the training to the length that was planned: stopping early
would stop at a high rate, and lose the gain of the low one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval.fcn_score import confusion_matrix, scores
from eval.scorer.fcn8s import FCN8s
from pix2pix.common.errors import UserError
from pix2pix.data.batches import to_float
from pix2pix.data.registry import IGNORED

HELD_OUT_EVERY = 10
HELD_OUT_MOST = 64
"""Photos held out at most: more would slow the validation more than they would improve it."""
SEGMENTED = 8
"""Photos that a network segments at once."""
COOL_DOWN = 0.3
"""Share of a training over which the learning rate falls to 0."""
RISE = 0.005
"""A validation score has risen if it exceeds the last risen one by more than this."""


@dataclass(frozen=True)
class ScorerSettings:
    """How a scorer is trained.

    Attributes:
        width: channels of the first convolution; the published network has 64.
        batches: maximal number of optimiser steps.
        batch: photos per step, at least 2 (BatchNorm).
        validate_every: batches between two validations on the photos held out.
        patience: validations without a rise of class IoU, after which the learning rate falls to
            0 and the training ends.
        learning_rate: of AdamW, before it falls.
        photometric: brightness and contrast of every photo of a batch change by up to so much
            (`jittered`).
        seed: of the weights, the order of the photos, mirroring and dropout.
    """

    width: int = 16
    batches: int = 700
    batch: int = 8
    validate_every: int = 70
    patience: int = 3
    learning_rate: float = 2e-3
    photometric: float = 0.0
    seed: int = 0


def hold_out(labels: np.ndarray) -> np.ndarray:
    """Indices of the photos to hold out: every tenth one with a labelled pixel, at most 64.

    They are evenly spaced, because neighbours in a split are often neighbours in a video. Of fewer
    than ten photos, none is held out.

    Args:
        labels: (N, H, W) uint8; 255 is ignored.
    """
    labelled = np.flatnonzero(_labelled(labels))
    count = min(HELD_OUT_MOST, len(labelled) // HELD_OUT_EVERY)
    return labelled[[(2 * i + 1) * len(labelled) // (2 * count) for i in range(count)]]


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
    """Train an FCN-8s on photos and labels, and return it in evaluation mode.

    With photos held out, its weights are those of the validation with the best class IoU, and the
    training ends when that stops rising. Without, it takes all of `settings.batches`.

    The same arguments give the same weights, bit for bit on the CPU with the same number of
    threads. The global random generators are not changed.

    Args:
        photos: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8, classes 0 to `classes` − 1; 255 is ignored.
        progress: called with (batches done, loss of the last one, its learning rate).
        held_out: indices of photos for validation only (`hold_out`); None: none.
        validated: called with (batches done, FCN-scores of the photos held out).

    Raises:
        UserError: no pixel is labelled in the photos held out or in the others, or a loss is not
            finite.
    """
    held, trained_on = split_held(labels, held_out)
    device = torch.device(device)
    stopping = Stopping(settings.batches, settings.patience)
    best: dict[str, Tensor] = {}
    done = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        model = FCN8s(classes, settings.width, batch_norm=True, padding="same").to(device)
        # Channels last: measured 15 % faster on the CPU.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        generator = torch.Generator().manual_seed(settings.seed)
        optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True)
        order = endless_order(len(trained_on), generator)
        while done < stopping.end:
            rate = settings.learning_rate * stopping.factor(done)
            optimiser.param_groups[0]["lr"] = rate
            chosen = trained_on[[next(order) for _ in range(settings.batch)]]
            seen = jittered(photos[chosen], settings.photometric, generator)
            batch = augmented(seen, labels[chosen], generator)
            loss = _training_step(model, optimiser, *batch)
            done += 1
            check_loss(loss, done)
            if progress is not None:
                progress(done, loss, rate)
            if len(held) and (done % settings.validate_every == 0 or done == stopping.end):
                predictions = segment(model, photos[held])
                values = scores(confusion_matrix(predictions, labels[held], classes))
                if stopping.add(done, values["class_iou"]):
                    state = model.state_dict().items()
                    best = {name: value.detach().clone() for name, value in state}
                if validated is not None:
                    validated(done, values)
    if len(held):
        model.load_state_dict(best)
    return model.eval()


def _training_step(
    model: FCN8s, optimiser: torch.optim.Optimizer, images: Tensor, truth: Tensor
) -> float:
    """One step; returns its loss."""
    model.train()
    device = next(model.parameters()).device
    predictions = model(images.to(device, memory_format=torch.channels_last))
    loss = mean_loss(predictions, truth.to(device))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def segment(model: nn.Module, photos: np.ndarray) -> np.ndarray:
    """The most likely class of every pixel: (N, H, W, 3) uint8 -> (N, H, W) uint8.

    The network is left in evaluation mode.
    """
    device = next(model.parameters()).device
    model.eval()
    predictions = np.empty(photos.shape[:3], np.uint8)
    with torch.inference_mode():
        for start in range(0, len(photos), SEGMENTED):
            images = to_float(torch.from_numpy(np.array(photos[start : start + SEGMENTED])))
            scores = model(images.to(device, memory_format=torch.channels_last))
            predictions[start : start + SEGMENTED] = scores.argmax(1).byte().cpu().numpy()
    return predictions


def segment_image(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """`segment` for one image: (H, W, 3) uint8 -> (H, W) uint8."""
    return segment(model, image[None])[0]


class Stopping:
    """Decides when a training of at most `batches` batches cools down and ends.

    The cool-down begins after `patience` validations in a row without a rise, and at the latest
    after 70 % of `batches`.

    Attributes:
        end: batches after which the training ends, as known so far.
        cooling_from: batches after which the learning rate begins to fall.
        best_at: batches done at the best score so far; 0 before the first score.
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
        """The factor, in (0, 1], of the learning rate of the batch after `done` batches."""
        return min(1.0, (self.end - done) / (self.end - self.cooling_from))

    def add(self, done: int, score: float) -> bool:
        """Record the score after `done` batches; return whether it is the best so far."""
        self._flat += 1
        if score > self._risen + RISE:
            self._risen, self._flat = score, 0
        if self._flat >= self.patience and done < self.cooling_from:
            self.cooling_from = done
            self.end = math.ceil(done / (1 - COOL_DOWN))
        best = score > self._best  # False for NaN
        if best:
            self._best, self.best_at = score, done
        return best


def augmented(
    photos: np.ndarray, labels: np.ndarray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Normalised photos and their labels, half of them mirrored.

    Brightness and contrast are not augmented: a scorer trained to ignore them cannot tell a dull,
    grey translation from a photo (docs/scores.md has measurements of both).
    """
    images = to_float(torch.from_numpy(np.array(photos)))
    truth = torch.from_numpy(np.array(labels)).long()
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    truth[mirrored] = truth[mirrored].flip(-1)
    return images, truth


def jittered(photos: np.ndarray, strength: float, generator: torch.Generator) -> np.ndarray:
    """Photos whose brightness and contrast are multiplied by a factor each, drawn uniformly from
    1 ± `strength` for every photo: (N, H, W, 3) uint8 to the same. Strength 0 draws nothing.

    Contrast is changed around the mean grey of the photo, as torchvision does.
    """
    if strength == 0:
        return photos
    from torchvision.transforms.functional import (
        adjust_brightness,
        adjust_contrast,
    )

    images = torch.from_numpy(np.array(photos)).permute(0, 3, 1, 2)
    factors = 1 + strength * (2 * torch.rand(len(images), 2, generator=generator) - 1)
    for image, (brightness, contrast) in zip(images, factors.tolist(), strict=True):
        image.copy_(adjust_contrast(adjust_brightness(image, brightness), contrast))
    return images.permute(0, 2, 3, 1).numpy()


def endless_order(count: int, generator: torch.Generator) -> Iterator[int]:
    """Indices of all photos in a random order, then in another, without end."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _labelled(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a photo has a labelled pixel."""
    return np.array([(image != IGNORED).any() for image in labels], bool)


def split_held(labels: np.ndarray, held_out: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of the photos held out, and of the others; UserError if no pixel is labelled
    in the one part or in the other."""
    held = np.unique(np.asarray([] if held_out is None else held_out, np.int64))
    labelled = _labelled(labels)
    if not np.delete(labelled, held).any():
        raise UserError("training the scorer: no pixel is labelled")
    if len(held) and not labelled[held].any():
        raise UserError("training the scorer: the photos held out have no labelled pixel")
    return held, np.setdiff1d(np.arange(len(labels)), held)


def mean_loss(scores: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy averaged over the labelled pixels; 0 (not 0/0) if there are none."""
    total = functional.cross_entropy(scores, truth, ignore_index=IGNORED, reduction="sum")
    return total / (truth != IGNORED).sum().clamp(min=1)


def check_loss(loss: float, batch: int) -> None:
    """Raise UserError if the loss of a batch is not finite."""
    if not math.isfinite(loss):
        raise UserError(f"training the scorer: the loss of batch {batch} is {loss}")
