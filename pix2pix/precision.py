"""What a training's convolutions multiply in: float32, TF32 or bfloat16, and which device has it.

Weights, G's tanh, losses, optimisers and the sums within a normalisation are float32 in all of
them; D's last layer is float32 in bfloat16 too, while TF32 is every convolution's. Nothing here
falls back: a precision that the device lacks is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from pix2pix.common.errors import UserError
from pix2pix.config import Precision


def lacking(precision: Precision, device: torch.device) -> str:
    """Why a device cannot train in a precision; empty where it can."""
    if precision == "bfloat16" and device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):  # older ones emulate it
            return ""
        return f"{torch.cuda.get_device_name(device)} has no bfloat16 (NVIDIA Ampere or later has)"
    if precision != "tf32":
        return ""
    if device.type != "cuda":
        return "TF32 is a GPU's (NVIDIA Ampere or later); this training runs on the CPU"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return f"{torch.cuda.get_device_name(device)} has no TF32 (NVIDIA Ampere or later has)"
    return ""


def check(precision: Precision, device: torch.device) -> None:
    """UserError where the device lacks the precision."""
    if reason := lacking(precision, device):
        others = [p for p in get_args(Precision) if not lacking(p, device)]
        raise UserError(f"training.precision {precision}: {reason}; use {' or '.join(others)}")


@contextmanager
def multiplying_in(precision: Precision) -> Iterator[None]:
    """Turns TF32 on, or off, for what a GPU is given meanwhile (or a graph captures)."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def forward(network: nn.Module, x: Tensor, precision: Precision) -> Tensor:
    """What a network gives, as float32; its end computes in float32 (networks.py).

    Each call has an autocast of its own, because one around a whole step keeps weights that it cast
    before their update.
    """
    if precision != "bfloat16":
        return network(x)
    with torch.autocast(x.device.type, torch.bfloat16):
        return network(x)
