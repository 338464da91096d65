"""A scorer that starts from ImageNet: FCN-8s' three levels as linear heads on a frozen VGG16.

A narrow network trained from scratch reads colour and place; blur costs it next to nothing. The
published scorer was started from VGG16's features, and so is this one. Its features stay as they
are: with a few hundred photos only the heads can be learnt, in a minute or two on one core. The
yardstick (eval/scorer/yardstick.py, docs/scores.md) shows what each scorer can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.scorer.train import IGNORED, check_labelled, endless_order, normalise
from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.data.backbones import BACKBONES, load_convolutions

STAGES = (2, 2, 3, 3, 3)
"""Convolutions of VGG16 before each pooling."""
CHANNELS = (256, 512, 512)
"""Of pool3, pool4 and pool5, which the heads see."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels in [0, 1]."""


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
        seed: of the order of the photos.
    """

    photos: int = 1000
    batches: int = 1000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0


class PretrainedScorer(nn.Module):
    """(N, 3, H, W) float in [-1, 1] -> (N, classes, H, W) class scores; sides of 32 or more.

    Each head is a 1×1 convolution of a pooled map, whose channels are standardised by their mean
    and deviation over training photos. Scores are interpolated bilinearly and added from the
    coarsest level to the finest (Long et al. 2015, section 4.2). Only heads, means and deviations
    are in `state_dict()`.

    Raises UserError where the weights of VGG16 are not on this machine.
    """

    image_mean: Tensor
    image_deviation: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        try:
            backbone = load_convolutions("vgg", download=False)
        except NotMeasured as reason:
            raise UserError(f"the scorer's network: {reason}") from reason
        self.backbone = backbone.digest
        for name, tensor in backbone.tensors.items():
            self.register_buffer(name.replace(".", "_"), tensor, persistent=False)
        for name, values in (("image_mean", MEAN), ("image_deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        for level, channels in enumerate(CHANNELS):
            self.register_buffer(f"mean{level}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation{level}", torch.ones(1, channels, 1, 1))
        self.heads = nn.ModuleList(
            nn.utils.skip_init(nn.Conv2d, channels, classes, 1) for channels in CHANNELS
        )
        for head in self.heads.children():
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    @property
    def specification(self) -> dict[str, Any]:
        """What builds this network again, as its file records it."""
        return {"pretrained": "vgg16", "classes": self.classes, "backbone_digest": self.backbone}

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """pool3, pool4 and pool5 of images in [-1, 1]."""
        x = ((images + 1) / 2 - self.image_mean) / self.image_deviation
        layers, pooled = iter(BACKBONES["vgg"].layers), []
        for convolutions in STAGES:
            for _ in range(convolutions):
                layer = f"features_{next(layers)}"
                weight, bias = getattr(self, f"{layer}_weight"), getattr(self, f"{layer}_bias")
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            x = F.max_pool2d(x, 2)
            pooled.append(x)
        return pooled[2:]

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
    held = np.unique(np.asarray([] if held_out is None else held_out, np.int64))
    check_labelled(labels, held)
    others = np.setdiff1d(np.arange(len(photos)), held)
    count = min(settings.photos, len(others))
    chosen = others[[i * len(others) // count for i in range(count)]]
    model = PretrainedScorer(classes).to(device)
    levels = _features(model, photos, chosen)
    _standardise(model, levels)
    truth = torch.from_numpy(np.array(labels[chosen])).long()
    optimiser = torch.optim.AdamW(
        model.heads.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    order = endless_order(count, torch.Generator().manual_seed(settings.seed))
    for done in range(1, settings.batches + 1):
        rate = settings.learning_rate * (settings.batches - done + 1) / settings.batches
        optimiser.param_groups[0]["lr"] = rate
        batch = [next(order) for _ in range(settings.batch)]
        wanted = truth[batch].to(device)
        scores = model.classify([level[batch].to(device) for level in levels], photos.shape[1:3])
        total = F.cross_entropy(scores, wanted, ignore_index=IGNORED, reduction="sum")
        loss = total / (wanted != IGNORED).sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if not math.isfinite(loss.item()):
            raise UserError(f"training the scorer: the loss of batch {done} is {loss.item()}")
        if progress is not None:
            progress(done, loss.item(), rate)
    return model.eval()


def _features(model: PretrainedScorer, photos: np.ndarray, chosen: np.ndarray) -> list[Tensor]:
    """pool3, pool4 and pool5 of the chosen photos, in half precision to save memory."""
    device = model.image_mean.device
    found: list[list[Tensor]] = [[], [], []]
    for start in range(0, len(chosen), 4):
        images = normalise(torch.from_numpy(np.array(photos[chosen[start : start + 4]])))
        for level, maps in zip(found, model.features(images.to(device)), strict=True):
            level.append(maps.half().cpu())
    return [torch.cat(level) for level in found]


def _standardise(model: PretrainedScorer, levels: list[Tensor]) -> None:
    for number, level in enumerate(levels):
        deviation, mean = torch.std_mean(level.float(), (0, 2, 3), keepdim=True)
        getattr(model, f"mean{number}").copy_(mean)
        getattr(model, f"deviation{number}").copy_(deviation.clamp(min=1e-3))
