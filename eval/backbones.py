"""ImageNet backbones for LPIPS: found on disk or downloaded once, and always verified by sha256.

The backbones are files of torchvision, the heads are part of the `lpips` package (version 0.1). The
names of the files contain part of their sha256, but torch checks it only when it downloads: a file
that was copied by hand would not be checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pix2pix.common.errors import NotMeasured, ScoringError

SECONDS_TO_CONNECT = 10
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
        ScoringError: `weights` is missing or altered.
        NotMeasured: the file is missing and could not be downloaded, or the one in torch hub's
            folder is altered.
    """
    if weights is not None:
        if not weights.is_file():
            raise ScoringError(f"{weights}: no such file (LPIPS weights of {net})")
        found = file_sha256(weights)
        if found != sha256:
            raise ScoringError(f"{weights}: sha256 is {found}, not {sha256}: not the weights file")
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


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _how_to_get(path: Path) -> str:
    return f"download {URL}{path.name} on a machine with a network and put the file at {path}"


def _why(error: Exception) -> str:
    """What kept a download from its end, in words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _download(path: Path, sha256: str) -> None:
    """Fetch beside `path`, verify and rename; several processes may do it at once."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(URL + path.name, timeout=SECONDS_TO_CONNECT) as answer,
            open(beside, "wb") as file,
        ):
            while block := answer.read(1 << 20):
                file.write(block)
        found = file_sha256(beside)
        if found != sha256:
            raise NotMeasured(f"{URL}{path.name}: sha256 of the download is {found}, not {sha256}")
        os.replace(beside, path)
    except (OSError, http.client.HTTPException) as error:
        raise NotMeasured(
            f"the weights could not be downloaded ({_why(error)}): {_how_to_get(path)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
