"""The pretrained VGG16 up to a layer, never trained: for perceptual losses and the scorer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.data.backbones import BACKBONES, load_convolutions

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions before each pooling."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels in [0, 1]: the network was trained on images that were scaled by them."""


def check_weights() -> None:
    """Raise UserError where the weights are missing or wrong, with the way to get them."""
    _pretrained()


class VGG16(nn.Module):
    """(N, 3 or 1, H, W) in [-1, 1] to {layer: float32 features (N, C, h, w)}.

    Args:
        layers: those that are wanted: "relu1_1" to "relu5_3", "pool1" to "pool5". The network ends
            at the deepest.

    Its weights are buffers that are not saved. Raises UserError as `check_weights`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.wanted = layers
        tensors, self.digest = _pretrained()
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        numbers, self.layers = iter(BACKBONES["vgg"].layers), list[str]()
        for block, count in enumerate(BLOCKS, start=1):
            for name in [*(f"relu{block}_{n + 1}" for n in range(count)), f"pool{block}"]:
                if set(layers) <= set(self.layers):
                    return
                self.layers.append(name)
                if name.startswith("relu"):
                    number = next(numbers)
                    for kind in ("weight", "bias"):
                        tensor = tensors[f"features.{number}.{kind}"]
                        self.register_buffer(f"{name}_{kind}", tensor, persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = ((images + 1) / 2 - self.mean) / self.deviation  # one channel becomes three
        found = {}
        for name in self.layers:
            if name.startswith("pool"):
                x = F.max_pool2d(x, 2)
            else:
                weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in self.wanted:
                found[name] = x.float()
        return found


def _pretrained() -> tuple[dict[str, Tensor], str]:
    try:
        found = load_convolutions("vgg", download=False)
    except NotMeasured as reason:
        users = "objective.perceptual, objective.style and the scorer"
        raise UserError(f"{users} use VGG16: {reason}") from reason
    return found.tensors, found.digest
