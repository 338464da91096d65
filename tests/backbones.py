"""Pretrained backbones in tests: stand-ins with random weights, or this machine's own."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from pix2pix.common.files import file_sha256
from pix2pix.data.backbones import BACKBONES, on_disk


def publish(monkeypatch: pytest.MonkeyPatch, net: str, file: Path) -> None:
    """Let a file pass for torchvision's whole file of that network."""
    stand_in = dataclasses.replace(BACKBONES[net], sha256=file_sha256(file), digest="unknown")
    monkeypatch.setitem(BACKBONES, net, stand_in)


def use_this_machines(monkeypatch: pytest.MonkeyPatch, *nets: str) -> None:
    """Use this machine's torch hub; skip where it lacks one of the backbones."""
    monkeypatch.setenv("TORCH_HOME", os.environ["WEIGHTS_OF_THIS_MACHINE"])
    for net in nets:
        if not on_disk(net):
            pytest.skip(f"no weights of {net}: see python -m eval.backbones --help")


def alexnet(seed: int = 0) -> dict[str, torch.Tensor]:
    """AlexNet's convolutions with random weights that keep the size of activations."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3)}
    for layer, (outputs, inputs, kernel) in (shapes | {10: (256, 256, 3)}).items():
        shape = (outputs, inputs, kernel, kernel)
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        state[f"features.{layer}.weight"] = torch.randn(shape, generator=generator) * scale
        state[f"features.{layer}.bias"] = torch.zeros(outputs)
    return state
