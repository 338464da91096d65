"""The methods by name: what `CellConfig.method` trains."""

from __future__ import annotations

import torch

from pix2pix import cyclegan, model
from pix2pix.config import CellConfig
from pix2pix.method import Method

BUILDERS = {"pix2pix": model.build, "cyclegan": cyclegan.build}


def build(
    config: CellConfig,
    channels: tuple[int, int],
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Method:
    """New networks and optimisers of the cell's method, drawn from its seed alone."""
    return BUILDERS[config.method](config, channels, device, memory_format)
