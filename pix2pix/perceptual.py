"""Perceptual losses (Johnson et al. 2016): distances between features of a pretrained VGG16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pix2pix.config import ObjectiveSettings
from pix2pix.data.vgg16 import VGG16

CONTENT = "relu2_2"
STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def build_vgg(objective: ObjectiveSettings) -> VGG16:
    """The network up to the deepest layer that an objective needs; UserError as VGG16."""
    return VGG16(STYLE if objective.style else (CONTENT,))


def feature_loss(translation: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """The feature reconstruction loss: mean squared difference at CONTENT."""
    return F.mse_loss(translation[CONTENT], target[CONTENT])


def style_loss(translation: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """The style reconstruction loss: squared Frobenius distances of Gram matrices, summed over
    STYLE and averaged over images."""
    return torch.stack(
        [(gram(translation[n]) - gram(target[n])).square().sum((1, 2)).mean() for n in STYLE]
    ).sum()


def gram(features: Tensor) -> Tensor:
    """(N, C, h, w) to (N, C, C): products of channels, divided by C h w."""
    rows = features.flatten(2)
    return rows @ rows.transpose(1, 2) / rows[0].numel()
