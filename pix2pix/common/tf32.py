"""TF32 in the convolutions and matrix products of a GPU: on or off, whatever was set before."""

from __future__ import annotations

from typing import Any

import torch

Flags = tuple[str, str, str]
"""torch's setting of cuDNN's convolutions, of its recurrent networks, of matrix products."""


def set_tf32(on: bool) -> None:
    """Switch TF32 on or off for work that is launched from now on.

    torch has an older and a newer setting, and some of its calls raise where the two differ. The
    older one sets both. "Off" is then made explicit, because convolutions would otherwise follow
    `torch.backends.fp32_precision`.
    """
    cudnn: Any = torch.backends.cudnn  # whose newer settings have no types
    cudnn.allow_tf32 = on
    torch.backends.cuda.matmul.allow_tf32 = on
    if not on:
        cudnn.conv.fp32_precision = "ieee"


def get_flags() -> Flags:
    """The present settings; unlike `allow_tf32`, they can be read in any combination."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision


def set_flags(flags: Flags) -> None:
    """Restore what `get_flags` returned."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    convolutions, recurrent, products = flags
    cudnn.allow_tf32 = convolutions == "tf32"
    matmul.allow_tf32 = products == "tf32"
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = convolutions, recurrent
    matmul.fp32_precision = products
