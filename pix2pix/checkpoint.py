"""Saving a training so that it goes on exactly, and a generator so that it can be used."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from pix2pix.atomic import replacing
from pix2pix.checksum import ChecksummedWriter, Damaged, verify
from pix2pix.config import GeneratorSettings, resolve_depth
from pix2pix.errors import UserError
from pix2pix.networks import GENERATORS

FORMAT = 2
"""2: with a checksum. Generators of format 1 are still read."""
UNREADABLE = (
    Damaged,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    pickle.UnpicklingError,
)
"""All that torch.load was seen to raise for files that are not checkpoints."""


class OutdatedCheckpoint(UserError):
    """A whole checkpoint, but of an earlier version."""


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The global generators of random numbers, which dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values with a checksum; whoever reads `path` sees the old file or
    the new one, also after a power failure. OSError names the file."""
    with replacing(path) as file:
        writer = ChecksummedWriter(file)
        torch.save({"format": FORMAT, **content}, writer)
        writer.finish()


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, without running any code from the file.

    UserError for a file that is not ours, damaged, or of another format; OutdatedCheckpoint for
    one that an earlier version wrote without a checksum, unless it is a generator.
    """
    try:
        checked = verify(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason[:120]})") from None
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        raise UserError(f"{path}: not a checkpoint of this suite (format {FORMAT} expected)")
    if content["format"] == 1 and content.get("kind") != "generator":
        raise OutdatedCheckpoint(f"{path}: a checkpoint of an earlier version of this suite")
    if content["format"] == FORMAT and not checked:
        raise UserError(f"{path}: not a readable checkpoint (its checksum is missing)")
    return content


def save_generator(
    path: Path,
    generator: torch.nn.Module,
    settings: GeneratorSettings,
    *,
    channels: tuple[int, int],
    size: tuple[int, int],
    origin: dict[str, Any],
) -> None:
    """Write a generator with all that is needed to build it again.

    `channels`: of input and output; `size`: (H, W) of training; `origin`: digest, data set, seed.
    """
    content = {
        "kind": "generator",
        "settings": settings.model_dump(),
        "channels": list(channels),
        "size": list(size),
        "origin": origin,
        "weights": {name: tensor.cpu() for name, tensor in generator.state_dict().items()},
    }
    save(path, content)


def load_generator(path: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The generator that `save_generator` wrote, and the rest of the file. UserError as `load`."""
    content = load(path)
    if content.get("kind") != "generator":
        raise UserError(f"{path}: a checkpoint, but not of a generator")
    try:
        settings = GeneratorSettings(**content["settings"])
        generator = build_generator(settings, tuple(content["channels"]), tuple(content["size"]))
        generator.load_state_dict(content["weights"])
    except ValidationError as error:
        names = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise UserError(f"{path}: an altered checkpoint (settings: {names!a})") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(f"{path}: an altered checkpoint ({reason[:120]})") from None
    return generator, content


def build_generator(
    settings: GeneratorSettings, channels: tuple[int, int], size: tuple[int, int]
) -> torch.nn.Module:
    """A new generator with random weights. ValueError where the depth does not fit the size."""
    return GENERATORS[settings.architecture](
        input_channels=channels[0],
        output_channels=channels[1],
        width=settings.width,
        depth=resolve_depth(size, settings.depth),
        dropout=settings.dropout,
        bottleneck_norm=settings.bottleneck_norm,
    )
