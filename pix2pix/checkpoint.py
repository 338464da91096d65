"""Checkpoints from which a training resumes exactly, and files from which a generator is rebuilt.

`torch.save` writes an uncompressed ZIP file with a CRC-32 per member, which `torch.load` ignores;
`read_tensors` checks them, so a flipped bit is found before anything is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pix2pix.common.errors import Unreadable, UserError
from pix2pix.common.files import replacing, set_aside
from pix2pix.common.memory import out_of_memory
from pix2pix.config import GeneratorSettings
from pix2pix.networks import AnyGenerator, build_generator

FORMAT = 2
"""Increased when the content of the files changes; other formats are refused."""

KEPT = 2
"""Checkpoints kept per training."""

_NAME = re.compile(r"checkpoint-(\d{7,})\.pt")


class ForeignCheckpoint(UserError):
    """A file that is intact, but not from this training or not from this suite."""


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the global random number generators, which dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned; a CUDA state is ignored on the CPU."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values; `path` holds the old or the new file, even after a power cut.

    OSError names the file.
    """
    with replacing(path) as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # torch's own, raised over that of a full disk
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, without running any code from the file.

    Raises as `read_tensors`, and ForeignCheckpoint for an intact file of another kind or format.
    """
    return _checked_format(path, read_tensors(path))


def _checked_format(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ForeignCheckpoint(f"{path}: not a checkpoint of this suite (format {FORMAT})")
    return content


def read_tensors(path: Path) -> Any:
    """The tensors (on the CPU) and plain values of a file that `torch.save` wrote, by anyone.

    Nothing in the file is run. torch's older format, which is not a ZIP file, is read too.

    Raises:
        UserError: the file is damaged or compressed, or its older format holds anything else.
        ForeignCheckpoint: the file is intact, but holds more than tensors and plain values.
        Unreadable: the disk, the permissions or the memory failed; the file may be intact.
    """
    intact = False
    try:
        intact = _check_members(path)
        with warnings.catch_warnings(action="ignore"):  # torch's, about pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler may raise anything on damaged bytes
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a bad offset
            raise Unreadable(f"{path}: cannot be read ({error.strerror or error})") from None
        if out_of_memory(error):
            raise Unreadable(f"{path}: cannot be read (not enough memory)") from None
        if intact and "file read failed" in str(error):  # torch's wording for a failing disk
            raise Unreadable(f"{path}: cannot be read (the disk failed)") from None
        foreign = intact and isinstance(error, pickle.UnpicklingError)
        kind = ForeignCheckpoint if foreign else UserError
        raise kind(f"{path}: not a readable checkpoint ({_reason(error)})") from None


def _check_members(path: Path) -> bool:
    """Whether the file is a ZIP file; raises for a text or a program, and if a member is damaged or
    compressed."""
    with open(path, "rb") as file:
        head = file.read(40).lstrip()
        if head.startswith(b"<"):
            raise zipfile.BadZipFile("it is a web page: download the file again")
        if head.startswith(b"version https://git-lfs"):
            raise zipfile.BadZipFile("it is git-lfs's pointer to the file: run git lfs pull")
        if not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise zipfile.BadZipFile(
                    "it is TorchScript, which is a program: save the network's state_dict() alone"
                )
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:  # it could fill the memory
                    raise zipfile.BadZipFile(f"its part {member.filename[:60]!a} is compressed")
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {damaged!a}")
    return True


def _reason(error: Exception) -> str:
    """Why a file was refused, in one line, without torch's advice to load it unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return (
            "it holds more than tensors and plain values; nothing of it was run: save the "
            "network's state_dict() alone"
        )
    if isinstance(error, RuntimeError | zipfile.BadZipFile):
        return str(error).partition("\n")[0].partition(". ")[0][:120]
    return "damaged, or not a file of weights"


def save_generator(
    path: Path,
    generator: nn.Module,
    settings: GeneratorSettings,
    *,
    channels: tuple[int, int],
    size: tuple[int, int],
    origin: dict[str, Any],
) -> None:
    """Write a generator with everything needed to rebuild it.

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


def load_generator(path: Path) -> tuple[AnyGenerator, dict[str, Any]]:
    """The generator that `save_generator` wrote, and the rest of the file. Raises as `load`."""
    return rebuild_generator(path, read_tensors(path))


def rebuild_generator(path: Path, content: Any) -> tuple[AnyGenerator, dict[str, Any]]:
    """A generator from the content of a file of ours; `path` is named in errors.

    The file may come from a stranger: weights are checked before they take memory. UserError if
    no generator can be built, ForeignCheckpoint for another format.
    """
    content = _checked_format(path, content)
    if content.get("kind") != "generator":
        raise UserError(f"{path}: a checkpoint, but not of a generator")
    with building(path):
        settings = GeneratorSettings(**content["settings"])
        (inputs, outputs), (height, width) = content["channels"], content["size"]
        if min(inputs, outputs, height, width) < 1 or not isinstance(content["origin"], dict):
            raise ValueError("channels and size must be at least 1, origin a mapping")
        with torch.device("meta"):  # takes no memory, whatever the settings ask for
            generator = build_generator(settings, (inputs, outputs), (height, width))
        fill(generator, content["weights"])
    return generator, content


@contextlib.contextmanager
def building(path: Path | str) -> Iterator[None]:
    """UserError, or Unreadable if memory runs out, for any error of the block."""
    try:
        yield
    except Exception as error:  # a stranger's file may hold any value anywhere
        if out_of_memory(error):
            raise Unreadable(f"{path}: cannot be read (not enough memory)") from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # load_state_dict names the difference in its last line.
        reason = f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"
        raise UserError(f"{path}: not a generator that can be built ({reason[:160]})") from None


def fill(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network on the meta device its weights, as contiguous float32.

    ValueError for a tensor that claims more memory than it has, or is not floating point;
    RuntimeError as `load_state_dict` for missing or unknown names and for other shapes.
    """
    ordinary = dict(weights)
    for name in network.state_dict().keys() & weights.keys():
        tensor = weights[name]
        if (
            tensor.layout != torch.strided
            or not tensor.is_floating_point()
            or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()
        ):
            raise ValueError(f"{name} is not an ordinary tensor of floating-point numbers")
        ordinary[name] = tensor.float().contiguous()
    network.load_state_dict(ordinary, assign=True)


class CheckpointSeries:
    """The files `checkpoint-STEP.pt` of one training in its run directory; two are kept."""

    def __init__(self, directory: Path, digest: str) -> None:
        self.directory = directory
        self.digest = digest

    def paths(self) -> list[Path]:
        """The files, newest first.

        OSError if the folder cannot be listed: a training must not start over because its
        checkpoints are invisible for a moment.
        """
        try:
            names = os.listdir(self.directory)  # Path.glob would silently find nothing
        except FileNotFoundError:
            return []
        steps = {name: int(match[1]) for name in names if (match := _NAME.fullmatch(name))}
        return [self.directory / name for name in sorted(steps, key=steps.__getitem__)[::-1]]

    def write(self, step: int, content: dict[str, Any]) -> None:
        """Write a checkpoint, then delete all but the two newest. OSError as in `save`."""
        path = self.directory / f"checkpoint-{step:07d}.pt"
        save(path, {**content, "digest": self.digest, "step": step})
        self.keep(KEPT)

    def keep(self, count: int) -> None:
        """Delete all but the newest `count`."""
        for path in self.paths()[count:]:
            path.unlink(missing_ok=True)

    def newest(self, report: Callable[[Path, str], None]) -> dict[str, Any] | None:
        """The content of the newest usable checkpoint, or None.

        A damaged checkpoint, or one of another cell, is renamed to `*.damaged` or `*.foreign`, and
        `report` is called with its new path and the reason. Unreadable or OSError, without any
        renaming, if the disk or the memory fails.
        """
        for path in self.paths():
            try:
                content = load(path)
                if content.get("digest") != self.digest:
                    raise ForeignCheckpoint(f"{path}: a checkpoint of another cell")
                return content
            except Unreadable:
                raise
            except UserError as error:
                ending = "foreign" if isinstance(error, ForeignCheckpoint) else "damaged"
                aside = path
                # If the folder is read-only, training fails with its own message.
                with contextlib.suppress(OSError):
                    aside = set_aside(path, ending)
                report(aside, str(error).removeprefix(f"{path}: "))
        return None
