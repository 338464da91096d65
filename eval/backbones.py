"""ImageNet backbones for LPIPS: found on disk or downloaded once, and always verified by sha256.

The backbones are files of torchvision, the heads are part of the `lpips` package (version 0.1). The
names of the files contain part of their sha256, but torch checks it only when it downloads: a file
that was copied by hand would not be checked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import file_sha256

ATTEMPTS = 2
"""Tries without progress: a machine without a network should not wait for long."""
URL = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class Backbone:
    """A weights file of torchvision, and the LPIPS network that uses it."""

    file: str
    sha256: str
    heads_sha256: str
    """Of `weights/v0.1/NET.pth` in the package lpips 0.1.4."""
    smallest: int
    """The smallest image side that the network accepts, in pixels."""


BACKBONES: dict[str, Backbone] = {
    "alex": Backbone(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        31,
    ),
    "vgg": Backbone(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        16,
    ),
    "squeeze": Backbone(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        17,
    ),
}


def find_backbone(net: str, weights: Path | None, download: bool, sha256: str) -> Path:
    """A file with the weights of the backbone, whose sha256 is `sha256`.

    Args:
        weights: the file to use; None: in torch hub's folder of checkpoints.
        download: whether to download it into that folder if it is missing.

    Raises:
        UserError: `weights` is missing or altered.
        NotMeasured: nothing in torch hub's folder, and no download; or an altered file there.
    """
    if weights is not None:
        if not weights.is_file():
            raise UserError(f"{weights}: no such file (LPIPS weights of {net})")
        found = file_sha256(weights)
        if found != sha256:
            raise UserError(f"{weights}: sha256 is {found}, not {sha256}: not the weights file")
        return weights
    path = checkpoints_folder() / BACKBONES[net].file
    if not path.is_file():
        if not download:
            raise NotMeasured(f"the weights of {net} are not on this machine: {_how_to_get(path)}")
        _download(path, sha256)
    elif file_sha256(path) != sha256:
        raise NotMeasured(f"{path}: altered or incomplete (sha256 differs); delete the file")
    return path


def checkpoints_folder() -> Path:
    """The folder where torch hub keeps weights, by its documented rule, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def on_disk(net: str) -> bool:
    """Whether torch hub's folder holds that backbone, whole or not."""
    return (checkpoints_folder() / BACKBONES[net].file).is_file()


def _how_to_get(path: Path) -> str:
    return f"download {URL}{path.name} on a machine with a network and put the file at {path}"


def _download(path: Path, sha256: str) -> None:
    """Fetch to torch hub's folder; several processes may do it at once."""
    # Imported late: the network libraries are needed once per machine.
    from pix2pix.data.fetch import fetch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(URL + path.name, path, _no_report, sha256=sha256, attempts=ATTEMPTS)
    except (UserError, OSError) as error:
        raise NotMeasured(
            f"the weights could not be downloaded ({error}): {_how_to_get(path)}"
        ) from error


def _no_report(line: str) -> None:
    """Scores go on without LPIPS, and the reason stands in the report: no lines before that."""
