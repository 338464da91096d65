"""The photos and labels that a scorer learns from: checked, held out, shuffled, mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pix2pix.common.errors import ScoringError

IGNORED = 255
HELD_OUT_EVERY = 10
HELD_OUT_MOST = 64  # more would make the validation dearer than it makes it surer


def hold_out(labels: np.ndarray) -> np.ndarray:
    """Positions of the photos to hold out: every tenth that has a labelled pixel, at most 64.

    They lie evenly spaced, because neighbours in a split are often neighbours in a video. Fewer
    than ten photos hold out none.

    Args:
        labels: (N, H, W) uint8; 255 is ignored.
    """
    labelled = np.array([i for i, image in enumerate(labels) if (image != IGNORED).any()], np.int64)
    count = min(HELD_OUT_MOST, len(labelled) // HELD_OUT_EVERY)
    return labelled[[(2 * i + 1) * len(labelled) // (2 * count) for i in range(count)]]


def normalise(photos: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float in [-1, 1]."""
    return photos.permute(0, 3, 1, 2).float() / 127.5 - 1


def augmented(
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


def endless_order(count: int, generator: torch.Generator) -> Iterator[int]:
    """Every photo once in a random order, then again in another, and so on."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def check_training_data(
    photos: np.ndarray, labels: np.ndarray, classes: int, held: np.ndarray
) -> None:
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
    if len(held) and not 0 <= held[0] <= held[-1] < len(photos):
        raise ScoringError(f"held_out: must be 0 to {len(photos) - 1} (got {held[0]}, {held[-1]})")
    seen = np.zeros((2, 256), bool)  # by trained on or held out
    is_held = np.isin(np.arange(len(labels)), held)
    for index, image in enumerate(labels):
        seen[int(is_held[index]), np.unique(image)] = True
    wrong = np.flatnonzero(seen.any(0)[:IGNORED])
    if len(wrong) == 0 or not seen[0, :IGNORED].any():
        raise ScoringError("training the scorer: no pixel is labelled")
    if wrong[-1] >= classes:
        raise ScoringError(f"labels: class {wrong[-1]} is not one of the {classes} classes")
    if len(held) and not seen[1, :IGNORED].any():
        raise ScoringError("training the scorer: no pixel of the photos held out is labelled")
