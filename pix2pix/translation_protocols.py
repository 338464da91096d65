"""How programs turn pixels into a generator's input and its output into pixels, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from pix2pix.data.batches import to_float, to_uint8


@dataclass(frozen=True)
class TranslationProtocol:
    """One program's way. BatchNorm and dropout are the network's own, see `running_statistics`."""

    to_float: Callable[[Tensor], Tensor]
    """(N, H, W, C) uint8 to (N, C, H, W) float32 in [-1, 1]."""
    to_uint8: Callable[[Tensor], Tensor]
    """(N, C, H, W) float in [-1, 1] to (N, H, W, C) uint8."""
    resize: Image.Resampling
    """For photos of another size (Pillow, antialiased)."""
    running_statistics: bool = False
    """Whether BatchNorm uses the statistics of training and dropout is off."""


def port_to_float(images: Tensor) -> Tensor:
    """As `to_float`, in the port's arithmetic: ToTensor, then Normalize by 0.5 and 0.5."""
    values = images.permute(0, 3, 1, 2).to(torch.float32)
    return values.div_(255).sub_(0.5).div_(0.5)


def port_to_uint8(images: Tensor) -> Tensor:
    """As `to_uint8`, but cut off as in the port's `tensor2im`: half a unit darker on average."""
    scaled = images.detach().add(1).div_(2.0).mul_(255.0)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1)


PROTOCOLS: dict[str, TranslationProtocol] = {
    # One image at a time, its own statistics, dropout on, rounded: the paper, and this suite.
    "paper": TranslationProtocol(to_float, to_uint8, Image.Resampling.BILINEAR),
    # `test.py` of junyanz/pytorch-CycleGAN-and-pix2pix, without and with --eval.
    "port": TranslationProtocol(port_to_float, port_to_uint8, Image.Resampling.BICUBIC),
    "port-eval": TranslationProtocol(
        port_to_float, port_to_uint8, Image.Resampling.BICUBIC, running_statistics=True
    ),
}
