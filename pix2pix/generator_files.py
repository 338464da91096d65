"""Read generators from files: this suite's own, and those of the well-known PyTorch port.

The port (junyanz/pytorch-CycleGAN-and-pix2pix) saves `latest_net_G.pth`, a plain state dict of
nested blocks: a block's submodule is number 1 of the outermost block and number 3 of the others
(`UnetSkipConnectionBlock` in `models/networks.py`). Its U-Net with BatchNorm and its residual
network with InstanceNorm (CycleGAN's `latest_net_G_A.pth`) are read, also from a safetensors file,
from inside a training's checkpoint, and with the prefixes that torch.compile, DataParallel and an
enclosing module put before their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pix2pix.checkpoint import building, fill, read_tensors, rebuild_generator
from pix2pix.common.errors import Unreadable, UserError, printable
from pix2pix.networks import (
    AlwaysDropout,
    AnyGenerator,
    BatchStatisticsNorm,
    Generator,
    PortUNetGenerator,
    ResnetGenerator,
)
from pix2pix.translation import PROTOCOLS

DEPTHS = range(5, 11)
"""The port builds `num_downs` 7 (unet_128) and 8 (unet_256); its code accepts 5 and more."""

FIRST = "model.model.0.weight"
"""The port's name of a U-Net's first tensor; no other tensor's name ends with it."""
RESNET_FIRST = "model.10.conv_block.1.weight"
"""The port's name of a residual network's first block."""

_FIRST_OF_ONE = rf"(?<![^.])(?:{re.escape(FIRST)}|{re.escape(RESNET_FIRST)})$"

WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|module)\.")
"""What torch.compile and DataParallel put into the names of a network or of its parts."""

LISTED = 3
"""How many keys of each kind a refusal names."""


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
    seed: int
    """The cell's seed; 0 for the port's files."""
    dataset: str = ""
    """The data set that it was trained on, and the direction; empty for the port's files."""
    direction: str = ""
    size: tuple[int, int] = (0, 0)
    """(H, W) of training; for the port's files the size that they are usually trained at."""


def open_generator(path: Path, protocol: str = "paper", dropout: bool = True) -> SavedGenerator:
    """The generator of a file, with finite weights.

    Args:
        protocol: one of PROTOCOLS.
        dropout: False for a file of the port trained with its --no_dropout.

    Raises:
        UserError: not a checkpoint, not a generator, an unknown layout, or damaged.
    """
    content = _read_safetensors(path) if _is_safetensors(path) else read_tensors(path)
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
        origin.get(key, "?") for key in ("dataset", "direction", "seed", "digest")
    )
    description = printable(
        f"this suite's {_architecture_text(network, settings)}, width"
        f" {settings['width']}, trained on {dataset} {direction} at {height}×{width} with seed"
        f" {seed}, cell {digest}, {_dropout_text(network, min(height, width))}"
    )
    drawn = seed if isinstance(seed, int) else 0
    return SavedGenerator(
        network,
        description,
        (inputs, outputs),
        network.multiple,
        drawn,
        str(dataset),
        str(direction),
        (height, width),
    )


def _architecture_text(network: AnyGenerator, settings: Mapping[str, Any]) -> str:
    if isinstance(network, ResnetGenerator):
        return f"resnet of {settings['blocks']} blocks"
    return f"{settings['architecture']} of depth {network.depth}"


def _port_generator(path: Path, content: Any, protocol: str, dropout: bool) -> SavedGenerator:
    fixed = PROTOCOLS[protocol].running_statistics
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no state dict of a generator (a {type(content).__name__})")
    if RESNET_FIRST in _unwrapped(path, content):
        return _port_resnet(path, _unwrapped(path, content), dropout and not fixed)
    network = read_port_generator(path, content, dropout=dropout, running_statistics=fixed)
    side = 2**network.depth
    weights = network.state_dict()
    width, inputs = weights["encoder.0.0.weight"].shape[:2]
    used = "the file's running" if fixed else "each image's own"
    description = (
        f"U-Net {side}, width {width}, BatchNorm, the PyTorch port's layout:"
        f" {_dropout_text(network, side)}; BatchNorm uses {used} statistics"
    )
    outputs = len(weights[f"decoder.{network.depth - 1}.1.bias"])
    return SavedGenerator(network, description, (inputs, outputs), side, 0, size=(side, side))


def _port_resnet(path: Path, state: dict[str, Any], dropout: bool) -> SavedGenerator:
    """The port's `resnet_6blocks` and `resnet_9blocks` with InstanceNorm."""
    blocks = len({name.split(".")[1] for name in state if ".conv_block." in name})
    trained_with_dropout = "model.10.conv_block.6.weight" in state  # it takes a place of its own
    first, last = state.get("model.1.weight"), state.get(f"model.{17 + blocks}.bias")
    if not (isinstance(first, Tensor) and first.ndim == 4 and isinstance(last, Tensor)):
        raise UserError(
            f"{path}: not the PyTorch port's residual network: lacks its first or last layer"
        )
    width, inputs = first.shape[:2]
    with torch.device("meta"):  # takes no memory before shapes are checked
        network = ResnetGenerator(
            inputs, last.numel(), width, blocks, 0.5 if trained_with_dropout else 0.0
        )
    layout = {name: name for name in network.state_dict()}
    _check_keys(path, state, layout, layout, "residual network with InstanceNorm")
    with building(path):
        fill(network, state)
    for module in network.modules():
        if isinstance(module, AlwaysDropout) and not dropout:
            module.probability = 0.0
    description = (
        f"resnet of {blocks} blocks, width {width}, InstanceNorm, the PyTorch port's layout:"
        f" {'dropout in every block' if dropout and trained_with_dropout else 'no dropout'}"
    )
    return SavedGenerator(
        network, description, (inputs, last.numel()), network.multiple, 0, size=(256, 256)
    )


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON text, then this text.

    False also for a file that cannot be read: whoever reads it next says why.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError if it is damaged."""
    try:
        return load_file(path)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:120]  # it may quote lines of the file
        raise UserError(f"{path}: not a readable safetensors file ({reason})") from None


def _unwrapped(path: Path | str, content: Mapping[Any, Any]) -> dict[str, Any]:
    """The one generator in a file's content, by the port's plain names.

    The content itself if it holds none: its names are then reported as they are. UserError if it
    holds several.
    """
    found = _networks(content)
    if len(found) > 1:
        raise UserError(
            f"{path}: holds {len(found)} generators, {_first(sorted(found))}: save the state_dict()"
            " of one in a file of its own"
        )
    return next(iter(found.values()), {str(name): value for name, value in content.items()})


def _networks(content: Mapping[Any, Any], inside: str = "", levels: int = 3) -> dict[str, Any]:
    """{where it is: state dict} of every generator, in at most so many mappings in each other."""
    state = {WRAPPERS.sub("", str(name)): value for name, value in content.items()}
    found = {}
    for first in (name for name in state if re.search(_FIRST_OF_ONE, name)):
        prefix = re.sub(_FIRST_OF_ONE, "", first)
        found[f"{inside}{prefix}".rstrip(".") or "."] = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
    for name, value in state.items():
        if isinstance(value, Mapping) and levels > 1:
            found |= _networks(value, f"{inside}{name}.", levels - 1)
    return found


def dropout_sizes(network: Generator, side: int) -> list[int]:
    """The sides of the decoder outputs with dropout, for an image of `side` pixels."""
    layers = [
        any(isinstance(m, AlwaysDropout) for m in layer.modules()) for layer in network.decoder
    ]
    return [side >> (network.depth - 1 - step) for step, has in enumerate(layers) if has]


def _dropout_text(network: AnyGenerator, side: int) -> str:
    if isinstance(network, ResnetGenerator):
        noisy = any(isinstance(module, AlwaysDropout) for module in network.modules())
        return "dropout in every block" if noisy else "no dropout"
    sizes = ", ".join(map(str, dropout_sizes(network, side)))
    text = f"dropout on decoder outputs of size {sizes}" if sizes else "no dropout"
    return f"{text}, a noise vector of {network.noise}" if network.noise else text


def port_layout(depth: int, running_statistics: bool = False) -> dict[str, str]:
    """The port's name of each tensor by our name, for a U-Net of `depth` halvings."""
    both = ("weight", "bias")
    norm = (*both, "running_mean", "running_var") if running_statistics else both
    names = {"encoder.0.0.weight": "model.model.0.weight"}
    block = "model.model"
    for level in range(1, depth):
        block += ".1.model" if level == 1 else ".3.model"
        innermost, step = level == depth - 1, depth - 1 - level
        names[f"encoder.{level}.1.weight"] = f"{block}.1.weight"
        if not innermost:
            names |= {f"encoder.{level}.2.{part}": f"{block}.2.{part}" for part in norm}
        up = 3 if innermost else 5
        names[f"decoder.{step}.1.weight"] = f"{block}.{up}.weight"
        names |= {f"decoder.{step}.2.{part}": f"{block}.{up + 1}.{part}" for part in norm}
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
    state = _unwrapped(path, content)
    depth = max((name.count(".model") for name in state), default=0)
    depth = depth if depth in DEPTHS else 8
    layout = port_layout(depth, running_statistics)
    _check_keys(path, state, layout, port_layout(depth, True))
    weights = {ours: state[theirs] for ours, theirs in layout.items()}
    first, last = weights["encoder.0.0.weight"], weights[f"decoder.{depth - 1}.1.bias"]
    if not (isinstance(first, Tensor) and isinstance(last, Tensor) and first.ndim == 4):
        raise UserError(f"{path}: {layout['encoder.0.0.weight']} is not a convolution's")
    width, inputs = first.shape[:2]
    probability = 0.5 if dropout and not running_statistics else 0.0
    with torch.device("meta"):  # takes no memory before shapes are checked
        network = PortUNetGenerator(inputs, last.numel(), width, depth, probability)
        if running_statistics:
            _keep_statistics(network)
    with building(path):
        fill(network, weights)
    return network


def _keep_statistics(network: PortUNetGenerator) -> None:
    """Let every BatchNorm use running statistics, which are still to be filled in."""
    for layer in (*network.encoder.children(), *network.decoder.children()):
        for index, module in enumerate(layer.children()):
            if isinstance(module, BatchStatisticsNorm):
                layer.add_module(str(index), nn.BatchNorm2d(module.num_features).eval())


def _check_keys(
    path: Path | str,
    state: dict[str, Any],
    layout: dict[str, str],
    known: dict[str, str],
    what: str = "U-Net generator with BatchNorm",
) -> None:
    """UserError names tensors of the layout that are missing, and others that are not `known`."""
    allowed = set(known.values())
    missing = [name for name in layout.values() if name not in state]
    unknown = [
        name
        for name in state
        if name not in allowed
        and name.replace("num_batches_tracked", "running_mean") not in allowed
    ]
    if missing or unknown:
        parts = [f"lacks {_first(missing)}"] if missing else []
        parts += [f"has {_first(unknown)}"] if unknown else []
        raise UserError(f"{path}: not the PyTorch port's {what}: {'; '.join(parts)}")


def _first(names: list[str]) -> str:
    listed = ", ".join(map(repr, names[:LISTED]))
    return listed + (f", … ({len(names)} in all)" if names[LISTED:] else "")
