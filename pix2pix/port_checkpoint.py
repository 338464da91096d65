"""Reads the generators of the well-known PyTorch port (junyanz/pytorch-CycleGAN-and-pix2pix).

Its `latest_net_G.pth` is a plain state dict of nested blocks: a block's submodule is number 1 of
the outermost block and number 3 of the others (`UnetSkipConnectionBlock` in `models/networks.py`).
Only the U-Net with BatchNorm is read; whatever else lies in the file, no tensor is guessed.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from pix2pix.common.errors import UserError
from pix2pix.networks import AlwaysDropout, BatchStatisticsNorm, PortUNetGenerator

DEPTHS = range(5, 11)
"""The port builds `num_downs` 7 (unet_128) and 8 (unet_256); its code takes 5 and more."""
LISTED = 3
"""Keys that a refusal names on either side."""
_STATISTICS = ("running_mean", "running_var")
_NORM = re.compile(r"\.2\.(weight|bias)$")
"""Ends the names of a BatchNorm's tensors; ".2." alone also is the third level."""


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
    path: Any, content: Any, *, dropout: bool = True, running_statistics: bool = False
) -> PortUNetGenerator:
    """The port's U-Net from the content of its file.

    Args:
        path: named in errors.
        content: what was unpickled.
        dropout: False for a network trained with the port's --no_dropout, which leaves no trace.
        running_statistics: build what the port runs with --eval: BatchNorm with the file's running
            statistics, no dropout. Otherwise BatchNorm uses the image's own, as the port's test
            script does by default, and the file's are not used.

    Raises:
        UserError: other keys (the first that differ are named) or shapes, or numbers that are no
            weights.
    """
    state = _state_dict(path, content)
    depth = max((name.count(".model") for name in state), default=0)
    layout = port_layout(depth if depth in DEPTHS else 8)
    _check_keys(path, state, layout)
    first, last = state[layout["encoder.0.0.weight"]], state[layout[f"decoder.{depth - 1}.1.bias"]]
    if first.ndim != 4 or last.ndim != 1 or not first.shape[0]:
        raise UserError(f"{path}: {layout['encoder.0.0.weight']} is not a convolution's")
    width, inputs = first.shape[:2]
    with torch.device("meta"):
        network = PortUNetGenerator(inputs, len(last), width, depth, 0.5 if dropout else 0.0)
    for ours, tensor in network.state_dict().items():
        _check_tensor(path, layout[ours], state[layout[ours]], tensor.shape)
    weights = {ours: state[theirs].float().contiguous() for ours, theirs in layout.items()}
    network.load_state_dict(weights, assign=True)
    return _evaluated(path, network, state, layout) if running_statistics else network


def dropout_sizes(network: nn.Module, side: int) -> list[int]:
    """The sides of the decoder outputs with dropout, for an image of `side` pixels."""
    layers = [any(isinstance(m, AlwaysDropout) for m in layer) for layer in network.decoder]
    return [side >> (len(layers) - 1 - step) for step, has in enumerate(layers) if has]


def _state_dict(path: Any, content: Any) -> dict[str, Tensor]:
    """Names to tensors, without the `module.` that DataParallel puts before every name."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds no state dict of a generator (a {type(content).__name__})")
    wrapped = all(str(name).startswith("module.") for name in content)
    state = {str(name)[7 * wrapped :]: value for name, value in content.items()}
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        kind = "an optimiser's state" if "param_groups" in state else "not a plain state dict"
        raise UserError(f"{path}: {kind}, not a generator: has {_first(strange)}")
    return state


def _check_keys(path: Any, state: dict[str, Tensor], layout: dict[str, str]) -> None:
    wanted = set(layout.values())
    norms = {name.rpartition(".")[0] for ours, name in layout.items() if _NORM.search(ours)}
    unused = {f"{n}.{part}" for n in norms for part in (*_STATISTICS, "num_batches_tracked")}
    lacking = [name for name in layout.values() if name not in state]
    strange = [name for name in state if name not in wanted | unused]
    if lacking or strange:
        parts = [f"lacks {_first(lacking)}"] if lacking else []
        parts += [f"has {_first(strange)}"] if strange else []
        raise UserError(
            f"{path}: not the PyTorch port's U-Net generator with BatchNorm{_seems(state)}: "
            + "; ".join(parts)
        )


def _seems(state: dict[str, Tensor]) -> str:
    """What a file of other keys most likely is; said, never built upon."""
    if any("conv_block" in name for name in state):
        return " (it seems to be a ResNet generator)"
    if "model.model.1.model.1.bias" in state:
        return " (it seems to be a U-Net with InstanceNorm)"
    if "net.0.weight" in state or {"model.0.weight", "model.2.weight"} <= state.keys():
        return " (it seems to be a discriminator)"
    return ""


def _check_tensor(path: Any, name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise UserError(f"{path}: {name} is {tuple(tensor.shape)}, not {tuple(shape)}")
    whole = (
        tensor.layout == torch.strided
        and tensor.is_floating_point()
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )
    if not whole:
        raise UserError(f"{path}: {name} is not an ordinary tensor of floating-point numbers")


def _evaluated(
    path: Any, network: PortUNetGenerator, state: dict[str, Tensor], layout: dict[str, str]
) -> PortUNetGenerator:
    """The same network with fixed running statistics and without dropout."""
    for part, layers in (("encoder", network.encoder), ("decoder", network.decoder)):
        for level, layer in enumerate(layers):
            for place, module in enumerate(layer):
                if isinstance(module, AlwaysDropout):
                    layer[place] = nn.Identity()
                if isinstance(module, BatchStatisticsNorm):
                    theirs = layout[f"{part}.{level}.{place}.weight"].removesuffix("weight")
                    layer[place] = _fixed_norm(path, module, state, theirs)
    return network


def _fixed_norm(
    path: Any, module: BatchStatisticsNorm, state: dict[str, Tensor], theirs: str
) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(module.num_features).eval()
    values = {"weight": module.weight, "bias": module.bias}
    for name in _STATISTICS:
        if theirs + name not in state:
            raise UserError(f"{path}: lacks {theirs}{name}, which --protocol port-eval needs")
        _check_tensor(path, theirs + name, state[theirs + name], module.weight.shape)
        values[name] = state[theirs + name].float()
    norm.load_state_dict(values, strict=False)
    return norm


def _first(names: list[str]) -> str:
    shown = (name if name.isprintable() else ascii(name) for name in names[:LISTED])
    return ", ".join(shown) + (f", … ({len(names)} in all)" if names[LISTED:] else "")
