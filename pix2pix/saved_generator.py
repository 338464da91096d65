"""Generators from files: this suite's own, and the PyTorch port's; and what was recognised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pix2pix.checkpoint import load_generator
from pix2pix.common.errors import UserError
from pix2pix.port_checkpoint import dropout_sizes, read_port_generator
from pix2pix.translation_protocols import PROTOCOLS
from pix2pix.unpickle import unpickled


@dataclass(frozen=True)
class SavedGenerator:
    network: torch.nn.Module
    description: str
    """What was recognised, for people."""
    channels: tuple[int, int]
    """Of input and output."""
    multiple: int
    """H and W must be multiples of it."""
    trained_size: tuple[int, int]
    """(H, W); the port's file does not hold it, its U-Net 256 is made for 256×256."""
    seed: int
    """Of the cell; 0 for the port's."""


def open_generator(path: Path, protocol: str = "paper", dropout: bool = True) -> SavedGenerator:
    """The generator of a file, with finite weights.

    Args:
        protocol: one of PROTOCOLS.
        dropout: False for a file of the port's that was trained with its --no_dropout.

    Raises:
        UserError: not a checkpoint, not a generator's, of an unknown layout, or damaged.
    """
    content = unpickled(path)
    ours = isinstance(content, dict) and "format" in content
    saved = _ours(path, protocol, dropout) if ours else _port(path, content, protocol, dropout)
    for name, tensor in saved.network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} holds values that are not finite numbers")
    return saved


def _ours(path: Path, protocol: str, dropout: bool) -> SavedGenerator:
    if PROTOCOLS[protocol].running_statistics:
        raise UserError(f"{path}: keeps no running statistics, which --protocol {protocol} needs")
    if not dropout:
        raise UserError(f"{path}: says itself whether it has dropout; --no-dropout is not for it")
    network, content = load_generator(path)
    said = content.get("origin")
    origin: dict[str, Any] = said if isinstance(said, dict) else {}
    words = {key: _word(origin, key) for key in ("dataset", "direction", "seed", "digest")}
    settings, size = content["settings"], tuple(content["size"])
    kind = {"unet": "U-Net", "encoder-decoder": "encoder-decoder"}[settings["architecture"]]
    facts = (
        f"{kind} of depth {network.depth}, width {settings['width']}",
        f"trained on {words['dataset']} {words['direction']} at {size[0]}×{size[1]}"
        f" with seed {words['seed']}",
        f"cell {words['digest']}",
        _where(network, min(size)),
    )
    seed = origin.get("seed")
    return SavedGenerator(
        network,
        "this suite's " + ", ".join(facts),
        tuple(content["channels"]),
        2**network.depth,
        size,
        seed if isinstance(seed, int) and seed >= 0 else 0,
    )


def _word(origin: dict[str, Any], key: str) -> str:
    """A word of the file as it may be printed."""
    word = str(origin.get(key, "?"))
    return word if word.isprintable() else ascii(word)


def _port(path: Path, content: Any, protocol: str, dropout: bool) -> SavedGenerator:
    fixed = PROTOCOLS[protocol].running_statistics
    network = read_port_generator(path, content, dropout=dropout, running_statistics=fixed)
    side = 2**network.depth
    width, inputs = network.encoder[0][0].weight.shape[:2]
    used = (
        "BatchNorm uses the file's running statistics"
        if fixed
        else "BatchNorm uses each image's own statistics, the file's are not used"
    )
    description = (
        f"U-Net {side}, width {width}, BatchNorm, the PyTorch port's layout:"
        f" {_where(network, side)}; {used}"
    )
    outputs = len(network.decoder[-1][1].bias)
    return SavedGenerator(network, description, (inputs, outputs), side, (side, side), 0)


def _where(network: torch.nn.Module, side: int) -> str:
    sizes = ", ".join(map(str, dropout_sizes(network, side)))
    return f"dropout on decoder outputs of size {sizes}" if sizes else "no dropout"
