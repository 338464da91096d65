"""A scorer that starts from ImageNet: FCN-8s' three levels as linear heads on a frozen VGG16.

A narrow network trained from scratch reads colour and place; blur costs it next to nothing. The
published scorer was started from VGG16's features, and so is this one. Its features stay as they
are: with a few hundred photos only the heads can be learnt, in a minute or two on one core. The
yardstick (eval/scorer/yardstick.py, docs/scores.md) shows what each scorer can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.scorer.train import (
    check_loss,
    endless_order,
    jittered,
    mean_loss,
    split_held,
)
from pix2pix.data.batches import to_float
from pix2pix.data.vgg16 import VGG16

LEVELS = {"pool3": 256, "pool4": 512, "pool5": 512}
"""The layers of VGG16 that the heads see, and their channels."""


@dataclass(frozen=True)
class HeadSettings:
    """How the heads are trained.

    Attributes:
        photos: at most so many, evenly spaced; their features are kept in memory (0.2 MB each at
            128×128, 0.9 MB at 256×256).
        batches: optimiser steps; the learning rate of AdamW falls in a straight line to 0.
        batch: photos per step.
        learning_rate: of the first step.
        weight_decay: of AdamW.
        photometric: brightness and contrast of a photo change by up to so much
            (`eval.scorer.train.jittered`), once per photo, as its features are computed once.
        seed: of the order of the photos and their changes.
    """

    photos: int = 1000
    batches: int = 1000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    photometric: float = 0.0
    seed: int = 0


class PretrainedScorer(nn.Module):
    """(N, 3, H, W) float in [-1, 1] -> (N, classes, H, W) class scores; sides of 32 or more.

    Each head is a 1×1 convolution of a pooled map, whose channels are standardised by their mean
    and deviation over training photos. Scores are interpolated bilinearly and added from the
    coarsest level to the finest (Long et al. 2015, section 4.2). Only heads, means and deviations
    are in `state_dict()`.

    Raises UserError where the weights of VGG16 are not on this machine.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.vgg = VGG16(tuple(LEVELS))
        for level, channels in enumerate(LEVELS.values()):
            self.register_buffer(f"mean{level}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation{level}", torch.ones(1, channels, 1, 1))
        self.heads = nn.ModuleList(
            nn.utils.skip_init(nn.Conv2d, channels, classes, 1) for channels in LEVELS.values()
        )
        for head in self.heads.children():
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    @property
    def specification(self) -> dict[str, Any]:
        """What builds this network again, as its file records it."""
        return {"pretrained": "vgg16", "classes": self.classes, "backbone_digest": self.vgg.digest}

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """pool3, pool4 and pool5 of images in [-1, 1]."""
        return list(self.vgg(images).values())

    def classify(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Class scores of `size` (H, W) from pool3, pool4 and pool5."""
        total: Tensor | None = None
        for level in (2, 1, 0):
            mean, deviation = getattr(self, f"mean{level}"), getattr(self, f"deviation{level}")
            scores = self.heads[level]((features[level].float() - mean) / deviation)
            if total is not None:
                scores = scores + _resized(total, scores.shape[-2:])
            total = scores
        assert total is not None
        return _resized(total, size)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images), (images.shape[-2], images.shape[-1]))


def _resized(scores: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)


def train_heads(
    photos: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: HeadSettings = HeadSettings(),
    progress: Callable[[int, float, float], None] | None = None,
    device: str | torch.device = "cpu",
    *,
    held_out: np.ndarray | None = None,
) -> PretrainedScorer:
    """Train the heads on photos and labels; the scorer, in evaluation mode.

    The same arguments give the same weights, bit for bit on the CPU with the same number of
    threads. The global random generators are not changed.

    Args:
        photos: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8, classes 0 to `classes` − 1; 255 is ignored.
        progress: called with (batches done, loss of the last one, its learning rate).
        held_out: indices of photos that are not trained on (`hold_out`); None: none.

    Raises:
        UserError: no pixel is labelled, a loss is not finite, or VGG16's weights are missing.
    """
    _, others = split_held(labels, held_out)
    count = min(settings.photos, len(others))
    chosen = others[[i * len(others) // count for i in range(count)]]
    model = PretrainedScorer(classes).to(device)
    generator = torch.Generator().manual_seed(settings.seed)
    levels = _features(model, jittered(photos[chosen], settings.photometric, generator))
    _standardise(model, levels)
    truth = torch.from_numpy(np.array(labels[chosen])).long()
    optimiser = torch.optim.AdamW(
        model.heads.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    order = endless_order(count, generator)
    for done in range(1, settings.batches + 1):
        rate = settings.learning_rate * (settings.batches - done + 1) / settings.batches
        optimiser.param_groups[0]["lr"] = rate
        batch = [next(order) for _ in range(settings.batch)]
        wanted = truth[batch].to(device)
        scores = model.classify([level[batch].to(device) for level in levels], photos.shape[1:3])
        loss = mean_loss(scores, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        check_loss(loss.item(), done)
        if progress is not None:
            progress(done, loss.item(), rate)
    return model.eval()


def _features(model: PretrainedScorer, photos: np.ndarray) -> list[Tensor]:
    """pool3, pool4 and pool5 of photos, in half precision to save memory."""
    device = model.vgg.mean.device
    found: list[list[Tensor]] = [[], [], []]
    for start in range(0, len(photos), 4):
        images = to_float(torch.from_numpy(np.array(photos[start : start + 4])))
        for level, maps in zip(found, model.features(images.to(device)), strict=True):
            level.append(maps.half().cpu())
    return [torch.cat(level) for level in found]


def _standardise(model: PretrainedScorer, levels: list[Tensor]) -> None:
    for number, level in enumerate(levels):
        deviation, mean = torch.std_mean(level.float(), (0, 2, 3), keepdim=True)
        getattr(model, f"mean{number}").copy_(mean)
        getattr(model, f"deviation{number}").copy_(deviation.clamp(min=1e-3))
