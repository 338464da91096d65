"""What a machine must have in common with the launcher's, so that a job has the same bits there."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from pix2pix.data.backbones import on_disk

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "torchmetrics", "lpips", "scikit-image")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pix2pix", "eval", "experiments")
"""Our packages that a job's result depends on."""
WEIGHTS = {"alex": "AlexNet's weights (LPIPS)", "vgg": "VGG16's weights (FCN-score)"}
"""Without them, a job's scores are others, or none."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def sources(root: Path = ROOT) -> str:
    """The first 12 hex digits of the sha256 of our code, which git need not know."""
    found = hashlib.sha256()
    for path in sorted(p for name in SOURCES for p in (root / name).rglob("*.py")):
        found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def installed() -> dict[str, str]:
    """What has to be equal on all machines of a study."""
    found = versions()
    minor = ".".join(found["python"].split(".")[:2])
    weights = {text: "on disk" for net, text in WEIGHTS.items() if on_disk(net)}
    return found | weights | {"python": minor, "this project": sources()}


def other_versions(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What a machine has otherwise: `torch 2.10 instead of 2.11`; empty if it has all the same."""
    return ", ".join(
        f"{name} {found.get(name, 'not installed')} instead of {expected.get(name, 'none')}"
        for name in dict.fromkeys([*expected, *found])
        if expected.get(name) != found.get(name)
    )


def answer(token: str, content: str, name: str, data: Sequence[str]) -> str:
    """Show that this machine shares the folder of a token: read it, write TOKEN.`name` beside it.

    Returns what is wrong, also with the folders of `data`, which need only be read; else empty.
    """
    path = Path(token)
    try:
        if path.read_text() != content:
            return f"has another folder of the name {path.parent}"
        path.with_name(f"{path.name}.{name}").write_text(content)
    except OSError as error:
        where = f"cannot {'write' if path.exists() else 'see'} {path.parent}"
        return f"{where} ({error.strerror}): all nodes must share it"
    unseen = [folder for folder in data if not os.access(folder, os.R_OK)]
    return f"cannot read {unseen[0]}: all nodes must share it" if unseen else ""
