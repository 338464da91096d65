"""Perceptual losses (Johnson et al. 2016): distances between features of a pretrained VGG16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.config import ObjectiveSettings
from pix2pix.data.backbones import load_convolutions

CONTENT = "relu2_2"
STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
LAYERS = {
    **{"relu1_1": 0, "relu1_2": 2, "relu2_1": 5, "relu2_2": 7, "relu3_1": 10, "relu3_2": 12},
    **{"relu3_3": 14, "relu4_1": 17, "relu4_2": 19, "relu4_3": 21},
}
"""The convolution before each ReLU, by its number in torchvision's `vgg16.features`."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels in [0, 1]: VGG16 was trained on images that were scaled by them."""


def pretrained() -> dict[str, Tensor]:
    """VGG16's convolutions from torch hub's folder; UserError where they are missing or wrong."""
    try:
        return load_convolutions("vgg", download=False).tensors
    except NotMeasured as reason:
        raise UserError(f"objective.perceptual, objective.style: {reason}") from reason


class VGG16Features(nn.Module):
    """The pretrained VGG16 up to the deepest layer that an objective needs; never trained.

    Raises UserError where the weights are not on this machine, with the way to get them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, objective: ObjectiveSettings) -> None:
        super().__init__()
        self.wanted = STYLE if objective.style else (CONTENT,)
        tensors = pretrained()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1))
        self.layers = nn.ModuleDict()
        for name in list(LAYERS)[: list(LAYERS).index(self.wanted[-1]) + 1]:
            weight = tensors[f"features.{LAYERS[name]}.weight"]
            bias = tensors[f"features.{LAYERS[name]}.bias"]
            convolution = nn.Conv2d(weight.shape[1], len(weight), 3, padding=1)
            convolution.load_state_dict({"weight": weight, "bias": bias})
            self.layers[name] = convolution
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3 or 1, H, W) in [-1, 1] to {layer: float32 features (N, C, h, w)}."""
        x = ((image + 1) / 2 - self.mean) / self.deviation  # one channel becomes three
        found = {}
        for name, convolution in self.layers.items():
            if name.endswith("_1") and name != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x))
            if name in self.wanted:
                found[name] = x.float()
        return found


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
