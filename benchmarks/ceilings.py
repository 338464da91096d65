"""What a machine can do at best, measured now: multiplications per second and bytes per second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from step_time import wait

from pix2pix.config import CellConfig, Precision
from pix2pix.method import Method, arithmetic
from pix2pix.methods import build

BYTES_PER_WEIGHT = 40
"""Moved by a float32 step: weights are read forward and backward, gradients written; Adam reads
weights, gradients and two moments, and writes weights and moments. bfloat16 moves more (casts)."""


def multiplications(device: torch.device, precision: Precision) -> float:
    """FLOP per second: the higher of a large matrix product and a large convolution."""
    on_gpu = device.type == "cuda"
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    side, batch = (8192, 64) if on_gpu else (1536, 4)
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in "ab")
    images = torch.randn(batch, 256, 64, 64, device=device).to(kind)
    weights = torch.randn(256, 256, 4, 4, device=device).to(kind)
    with arithmetic(precision), torch.no_grad():
        product = 2 * side**3 / _shortest(lambda: a @ b, device)
        sums = 2 * batch * 32 * 32 * 256 * 256 * 16
        seconds = _shortest(lambda: F.conv2d(images, weights, stride=2, padding=1), device)
    return max(product, sums / seconds)


def traffic(device: torch.device) -> float:
    """Bytes per second, read plus written, of a copy far larger than any cache."""
    count = 2**28 if device.type == "cuda" else 2**26
    source, target = torch.ones(count, device=device), torch.empty(count, device=device)
    return 2 * 4 * count / _shortest(lambda: target.copy_(source), device)


def work_of_step(config: CellConfig) -> tuple[float, float]:
    """The counted FLOP of one training step, and the bytes that its weights move."""
    model: Method = build(config, (3, 3), torch.device("cpu"))
    x = y = torch.zeros(config.training.batch, 3, *config.size)
    counter = FlopCounterMode(display=False)
    with counter:
        model.draw(len(x))
        model.step(x, y)
    weights = sum(p.numel() for n in model.networks.values() for p in n.parameters())
    return float(counter.get_total_flops()), float(BYTES_PER_WEIGHT * weights)


def _shortest(act: Callable[[], object], device: torch.device, times: int = 12) -> float:
    found = []
    for _ in range(times):
        wait(device)
        began = time.perf_counter()
        act()
        wait(device)
        found.append(time.perf_counter() - began)
    return min(found)
