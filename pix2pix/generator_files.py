"""Read generators from files: this suite's own, and those of the well-known PyTorch port.

The port (junyanz/pytorch-CycleGAN-and-pix2pix) saves `latest_net_G.pth`, a plain state dict of
nested blocks: a block's submodule is number 1 of the outermost block and number 3 of the others
(`UnetSkipConnectionBlock` in `models/networks.py`). Only its U-Net with BatchNorm is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pix2pix.checkpoint import check_tensor, fill, read_tensors, rebuild_generator
from pix2pix.common.errors import UserError
from pix2pix.networks import AlwaysDropout, BatchStatisticsNorm, Generator, PortUNetGenerator
from pix2pix.translation import PROTOCOLS

DEPTHS = range(5, 11)
"""The port builds `num_downs` 7 (unet_128) and 8 (unet_256); its code accepts 5 and more."""

LISTED = 3
"""How many keys of each kind a refusal names."""

_STATISTICS = ("running_mean", "running_var")
_NORM = re.compile(r"\.2\.(weight|bias)$")
"""Ends the names of a BatchNorm's tensors; ".2." alone is also the third level."""


@dataclass(frozen=True)
class SavedGenerator:
    """A generator with what its file says about it."""

    network: nn.Module
    description: str
    """What was recognised, for people."""
    channels: tuple[int, int]
    """Of input and output."""
    multiple: int
    """H and W must be multiples of it."""
    trained_size: tuple[int, int]
    """(H, W); the port's files do not hold it, its U-Net 256 is made for 256×256."""
    seed: int
    """The cell's seed; 0 for the port's files."""


def open_generator(path: Path, protocol: str = "paper", dropout: bool = True) -> SavedGenerator:
    """The generator of a file, with finite weights.

    Args:
        protocol: one of PROTOCOLS.
        dropout: False for a file of the port trained with its --no_dropout.

    Raises:
        UserError: not a checkpoint, not a generator, an unknown layout, or damaged.
    """
    content = read_tensors(path)
    ours = isinstance(content, dict) and "format" in content
    read = _suite_generator if ours else _port_generator
    saved = read(path, content, protocol, dropout)
    for name, tensor in saved.network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} holds values that are not finite numbers")
    return saved


def _suite_generator(path: Path, content: Any, protocol: str, dropout: bool) -> SavedGenerator:
    if PROTOCOLS[protocol].running_statistics:
        raise UserError(f"{path}: keeps no running statistics, which --protocol {protocol} needs")
    if not dropout:
        raise UserError(f"{path}: records its own dropout; remove --no-dropout")
    network, content = rebuild_generator(path, content)
    origin, settings = content["origin"], content["settings"]
    (height, width), (inputs, outputs) = content["size"], content["channels"]
    dataset, direction, seed, digest = (
        _printable(str(origin.get(key, "?"))) for key in ("dataset", "direction", "seed", "digest")
    )
    kind = {"unet": "U-Net", "encoder-decoder": "encoder-decoder"}[settings["architecture"]]
    description = (
        f"this suite's {kind} of depth {network.depth}, width {settings['width']}, trained on"
        f" {dataset} {direction} at {height}×{width} with seed {seed}, cell {digest},"
        f" {_dropout_text(network, min(height, width))}"
    )
    drawn = origin.get("seed")
    drawn = drawn if isinstance(drawn, int) and drawn >= 0 else 0
    return SavedGenerator(
        network, description, (inputs, outputs), 2**network.depth, (height, width), drawn
    )


def _port_generator(path: Path, content: Any, protocol: str, dropout: bool) -> SavedGenerator:
    fixed = PROTOCOLS[protocol].running_statistics
    network = read_port_generator(path, content, dropout=dropout, running_statistics=fixed)
    side = 2**network.depth
    encoder: Any = network.encoder
    decoder: Any = network.decoder
    width, inputs = encoder[0][0].weight.shape[:2]
    outputs = len(decoder[-1][1].bias)
    used = "the file's running" if fixed else "each image's own"
    unused = "" if fixed else ", the file's are not used"
    description = (
        f"U-Net {side}, width {width}, BatchNorm, the PyTorch port's layout:"
        f" {_dropout_text(network, side)}; BatchNorm uses {used} statistics{unused}"
    )
    return SavedGenerator(network, description, (inputs, outputs), side, (side, side), 0)


def dropout_sizes(network: Generator, side: int) -> list[int]:
    """The sides of the decoder outputs with dropout, for an image of `side` pixels."""
    layers = [
        any(isinstance(m, AlwaysDropout) for m in layer.modules()) for layer in network.decoder
    ]
    return [side >> (network.depth - 1 - step) for step, has in enumerate(layers) if has]


def _dropout_text(network: Generator, side: int) -> str:
    sizes = ", ".join(map(str, dropout_sizes(network, side)))
    return f"dropout on decoder outputs of size {sizes}" if sizes else "no dropout"


def port_layout(depth: int) -> dict[str, str]:
    """The port's name of each tensor by our name, for a U-Net of `depth` halvings."""
    both = ("weight", "bias")
    names = {"encoder.0.0.weight": "model.model.0.weight"}
    block = "model.model"
    for level in range(1, depth):
        block += ".1.model" if level == 1 else ".3.model"
        innermost, step = level == depth - 1, depth - 1 - level
        names[f"encoder.{level}.1.weight"] = f"{block}.1.weight"
        if not innermost:
            names |= {f"encoder.{level}.2.{part}": f"{block}.2.{part}" for part in both}
        up = 3 if innermost else 5
        names[f"decoder.{step}.1.weight"] = f"{block}.{up}.weight"
        names |= {f"decoder.{step}.2.{part}": f"{block}.{up + 1}.{part}" for part in both}
    return names | {f"decoder.{depth - 1}.1.{part}": f"model.model.3.{part}" for part in both}


def read_port_generator(
    path: Path | str, content: Any, *, dropout: bool = True, running_statistics: bool = False
) -> PortUNetGenerator:
    """The port's U-Net from the content of its file.

    Args:
        path: named in errors.
        content: the unpickled content.
        dropout: False for a network trained with the port's --no_dropout, which leaves no trace.
        running_statistics: rebuild the port's --eval: BatchNorm with the file's running statistics
            and no dropout. Otherwise BatchNorm uses the image's own statistics, as the port's test
            script does by default, and ignores the file's.

    Raises:
        UserError: keys (the first that differ are named), shapes or types do not match.
    """
    state = _state_dict(path, content)
    depth = max((name.count(".model") for name in state), default=0)
    layout = port_layout(depth if depth in DEPTHS else 8)
    _check_keys(path, state, layout)
    first, last = state[layout["encoder.0.0.weight"]], state[layout[f"decoder.{depth - 1}.1.bias"]]
    if first.ndim != 4 or last.ndim != 1 or not first.shape[0]:
        raise UserError(f"{path}: {layout['encoder.0.0.weight']} is not a convolution's")
    width, inputs = first.shape[:2]
    with torch.device("meta"):  # takes no memory before shapes are checked
        network = PortUNetGenerator(inputs, len(last), width, depth, 0.5 if dropout else 0.0)
    for ours, tensor in network.state_dict().items():
        _check_shape(path, layout[ours], state[layout[ours]], tensor.shape)
    fill(network, {ours: state[theirs] for ours, theirs in layout.items()})
    if running_statistics:
        _fix_statistics(path, network, state, layout)
    return network


def _state_dict(path: Path | str, content: Any) -> dict[str, Tensor]:
    """Names to tensors, without the `module.` that DataParallel puts before every name."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds no state dict of a generator (a {type(content).__name__})")
    wrapped = all(str(name).startswith("module.") for name in content)
    state = {str(name)[7 * wrapped :]: value for name, value in content.items()}
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        kind = "an optimiser's state" if "param_groups" in state else "not a plain state dict"
        raise UserError(f"{path}: {kind}, not a generator: has {_first(others)}")
    return state


def _check_keys(path: Path | str, state: dict[str, Tensor], layout: dict[str, str]) -> None:
    wanted = set(layout.values())
    norms = {name.rpartition(".")[0] for ours, name in layout.items() if _NORM.search(ours)}
    unused = {f"{n}.{part}" for n in norms for part in (*_STATISTICS, "num_batches_tracked")}
    missing = [name for name in layout.values() if name not in state]
    unknown = [name for name in state if name not in wanted | unused]
    if missing or unknown:
        parts = [f"lacks {_first(missing)}"] if missing else []
        parts += [f"has {_first(unknown)}"] if unknown else []
        raise UserError(
            f"{path}: not the PyTorch port's U-Net generator with BatchNorm{_guess(state)}: "
            + "; ".join(parts)
        )


def _guess(state: dict[str, Tensor]) -> str:
    """What a file with other keys probably is; only for the message."""
    if any("conv_block" in name for name in state):
        return " (it seems to be a ResNet generator)"
    if "model.model.1.model.1.bias" in state:
        return " (it seems to be a U-Net with InstanceNorm)"
    if "net.0.weight" in state or {"model.0.weight", "model.2.weight"} <= state.keys():
        return " (it seems to be a discriminator)"
    return ""


def _check_shape(path: Path | str, name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise UserError(f"{path}: {name} is {tuple(tensor.shape)}, not {tuple(shape)}")
    try:
        check_tensor(name, tensor)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _fix_statistics(
    path: Path | str, network: PortUNetGenerator, state: dict[str, Tensor], layout: dict[str, str]
) -> None:
    """Give a network the file's running statistics and remove its dropout."""
    parts: dict[str, Any] = {"encoder": network.encoder, "decoder": network.decoder}
    for part, layers in parts.items():
        for level, layer in enumerate(layers):
            for index, module in enumerate(layer):
                if isinstance(module, AlwaysDropout):
                    layer[index] = nn.Identity()
                if isinstance(module, BatchStatisticsNorm):
                    theirs = layout[f"{part}.{level}.{index}.weight"].removesuffix("weight")
                    layer[index] = _fixed_norm(path, module, state, theirs)


def _fixed_norm(
    path: Path | str, module: BatchStatisticsNorm, state: dict[str, Tensor], theirs: str
) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(module.num_features).eval()
    values: dict[str, Tensor] = {"weight": module.weight, "bias": module.bias}
    for name in _STATISTICS:
        if theirs + name not in state:
            raise UserError(f"{path}: lacks {theirs}{name}, which --protocol port-eval needs")
        _check_shape(path, theirs + name, state[theirs + name], module.weight.shape)
        values[name] = state[theirs + name].float()
    norm.load_state_dict(values, strict=False)
    return norm


def _first(names: list[str]) -> str:
    listed = ", ".join(map(_printable, names[:LISTED]))
    return listed + (f", … ({len(names)} in all)" if names[LISTED:] else "")


def _printable(text: str) -> str:
    """A text from a stranger's file, safe to print in one line."""
    return text if text.isprintable() else ascii(text)
