"""Saving a training so that it goes on exactly, and a generator so that it can be used."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from pix2pix.checksum import ChecksummedWriter, Damaged, verify
from pix2pix.common.errors import Unreadable, UserError
from pix2pix.common.files import replacing
from pix2pix.common.memory import out_of_memory
from pix2pix.config import GeneratorSettings, resolve_depth
from pix2pix.networks import GENERATORS, encoder_widths
from pix2pix.unpickle import Refused, unpickled

FORMAT = 2
"""2: with a checksum. Generators of format 1 are still read."""


class ForeignCheckpoint(UserError):
    """A file that is whole, but not one that this training may go on from."""


class OutdatedCheckpoint(ForeignCheckpoint):
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

    UserError for a damaged file; ForeignCheckpoint for one whose checksum is right but that is not
    ours or of another format; OutdatedCheckpoint for one that an earlier version wrote without a
    checksum, unless it is a generator; Unreadable where the disk or the memory fails, which says
    nothing against the file.
    """
    try:
        checked = verify(path)
    except Damaged as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from None
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror or error})") from None
    unfit = ForeignCheckpoint if checked else UserError
    try:
        content = unpickled(path)
    except Unreadable:
        raise
    except Refused as error:
        raise unfit(str(error)) from None
    except UserError as error:
        # With the right checksum its bytes are those that were written: torch failed at reading.
        raise (Unreadable if checked else UserError)(str(error)) from None
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        raise unfit(f"{path}: not a checkpoint of this suite (format {FORMAT} expected)")
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
        held = path.stat().st_size
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        settings = GeneratorSettings(**content["settings"])
        channels, size = (_two_numbers(content[key]) for key in ("channels", "size"))
        if not isinstance(content["origin"], dict):
            raise ValueError("origin: must be a mapping")
        if least_bytes(settings, channels, size) > held:
            raise ValueError("its settings ask for more weights than the file can hold")
        generator = build_generator(settings, channels, size)
        generator.load_state_dict(content["weights"])
    except Exception as error:  # the file is a stranger's: any value may stand anywhere
        if out_of_memory(error):
            raise Unreadable(f"{path}: cannot be read (not enough memory)") from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # load_state_dict says what differs in its last line.
        reason = f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"
        raise UserError(f"{path}: not a generator that can be built ({reason[:160]})") from None
    return generator, content


def least_bytes(
    settings: GeneratorSettings, channels: tuple[int, int], size: tuple[int, int]
) -> int:
    """What a generator's encoder and last layer take in float32: a bound that is known before
    anything is built, so that a small file cannot name a network that fills the memory."""
    widths = [channels[0], *encoder_widths(settings.width, resolve_depth(size, settings.depth))]
    encoder = sum(before * behind for before, behind in pairwise(widths))
    return 4 * 16 * (encoder + settings.width * channels[1])


def _two_numbers(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("channels and size: must be two numbers")
    if not all(type(one) is int and 1 <= one <= 65536 for one in value):
        raise ValueError("channels and size: must be whole numbers from 1 to 65536")
    return value[0], value[1]


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
