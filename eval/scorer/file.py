"""A trained scorer on the disk: safetensors, with what it is and its own hash in the header."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from eval.scorer.fcn8s import FCN8s
from eval.scorer.scorer_header import KEY
from pix2pix.common.errors import ScoringError
from pix2pix.common.files import write_whole

FORMAT = "pix2pix-ablations FCN-8s scorer 1"
FINGERPRINT_DIGITS = 64


def save_scorer(
    path: Path,
    model: FCN8s,
    settings: Any,
    class_names: Sequence[str],
    source: dict[str, Any],
) -> None:
    """Write a scorer, whole or not at all.

    Args:
        settings: the ScorerSettings that it was trained with, or a dict.
        class_names: one a class, in index order.
        source: where it comes from: {"dataset", "fingerprint", "size": [H, W]} of its photos, or
            {"caffemodel_sha256", "file"} of the published network.

    Raises:
        ValueError: another number of names than classes.
        OSError: the folder cannot be written.
    """
    if len(class_names) != model.classes:
        raise ValueError(f"class_names: {len(class_names)} names for {model.classes} classes")
    tensors = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "network": {
            "classes": model.classes,
            "width": model.width,
            "batch_norm": model.batch_norm,
            "padding": model.padding,
        },
        "settings": dataclasses.asdict(settings)
        if dataclasses.is_dataclass(settings)
        else dict(settings),
        "class_names": list(class_names),
        "source": source,
        "sha256": weights_sha256(model),
    }
    metadata["record_sha256"] = _record_sha256(metadata)
    write_whole(path, save(tensors, {KEY: json.dumps(metadata)}))


def load_scorer(path: Path, device: str | torch.device = "cpu") -> tuple[FCN8s, dict[str, Any]]:
    """A scorer in evaluation mode, and what `save_scorer` recorded about it.

    The record has the keys format, network, settings, class_names, source, sha256 (of the weights)
    and record_sha256 (of all else); files of earlier versions lack the last one, and their source
    is a fingerprint alone.
    Nothing in the file can run code.

    Raises:
        ScoringError: missing, not a scorer, truncated or altered.
    """
    if not path.is_file():
        raise ScoringError(f"{path}: no such file (a scorer)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ScoringError(f"{path}: not a scorer, or damaged ({reason})") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ScoringError(f"{path}: not a scorer of this format ({FORMAT})")
    try:
        if _least_bytes(**metadata["network"]) > path.stat().st_size:
            raise ValueError("it names more weights than the file can hold")
        model = FCN8s(**metadata["network"])
        model.load_state_dict(state, strict=True)
        intact = weights_sha256(model) == metadata["sha256"]
        names = metadata["class_names"]
        if not isinstance(names, list) or len(names) != model.classes:
            raise ValueError("class_names: not one a class")
        _check_source(metadata["source"])
        if not isinstance(metadata["settings"], dict):
            raise ValueError("settings: not a mapping")
        finite = all(bool(torch.isfinite(value).all()) for value in state.values())
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise ScoringError(f"{path}: its weights do not fit its description ({reason})") from error
    if not intact:
        raise ScoringError(f"{path}: altered: its weights do not have the sha256 that it names")
    if not finite:
        raise ScoringError(f"{path}: holds weights that are not finite numbers")
    if metadata.get("record_sha256", _record_sha256(metadata)) != _record_sha256(metadata):
        raise ScoringError(
            f"{path}: altered: what it says of itself does not have the sha256 that it names"
        )
    return model.to(device, memory_format=torch.channels_last).eval(), metadata


def check_scorer(
    path: Path,
    metadata: dict[str, Any],
    class_names: Sequence[str] | None = None,
    source: dict[str, Any] | None = None,
) -> None:
    """Refuse a scorer of other classes, or of another data set or size, in one line.

    Args:
        metadata: what `load_scorer` gave with it.
        class_names: what the labels' classes are called, in index order.
        source: of `dataset`, `fingerprint` and `size` [H, W], what has to be the same; what the
            file does not record (a converted or an old scorer's) is not compared.

    Raises:
        ScoringError: they differ.
    """
    known = metadata.get("source")
    known = known if isinstance(known, dict) else {}
    for key, said in DIFFERENT.items():
        wanted, found = (source or {}).get(key), known.get(key)
        if wanted is not None and found is not None and wanted != found:
            differ = said.format(_brief(found), _brief(wanted))
            raise ScoringError(f"{path}: this scorer was trained {differ}")
    has = [str(name) for name in metadata.get("class_names") or []]
    if class_names is not None and list(class_names) != has:
        differ = _difference(has, list(class_names))
        raise ScoringError(f"{path}: this scorer was trained for other classes: {differ}")


DIFFERENT = {
    "dataset": "for {}, not for {}",
    "size": "at {} pixels (height x width), not at {}",
    "fingerprint": "on another version of the data: fingerprint {}, not {}",
}


def _brief(value: Any) -> str:
    """A name, the head of a fingerprint, or a size."""
    if isinstance(value, str):
        return value[:12] if len(value) == FINGERPRINT_DIGITS else value
    return "x".join(str(side) for side in value) if isinstance(value, list) else str(value)


def _difference(found: list[str], wanted: list[str]) -> str:
    if len(found) != len(wanted):
        return f"{len(found)} classes, not {len(wanted)}"
    index = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
    return f"its class {index} is {found[index]}, not {wanted[index]}"


def _least_bytes(classes: int, width: int, **_: Any) -> int:
    """What fc6, fc7 and the layers of the classes take in float32: known before a network is
    built, so that a small file cannot name one that fills the memory."""
    if type(classes) is not int or type(width) is not int or min(classes, width) < 1:
        raise ValueError("classes and width: must be whole numbers from 1")
    fc6_fc7 = (49 * 8 * 64 + 64 * 64) * width**2
    return 4 * (fc6_fc7 + 64 * width * classes + 256 * classes**2)


def _check_source(source: Any) -> None:
    """A size is what later code compares and prints: two whole numbers from 1, or not there."""
    size = source.get("size") if isinstance(source, dict) else None
    if size is not None and not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError("source: size must be two whole numbers from 1")


def _record_sha256(metadata: dict[str, Any]) -> str:
    """A hash of a header's record, but for the hashes in it."""
    told = {key: value for key, value in metadata.items() if not key.endswith("sha256")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def weights_sha256(model: FCN8s) -> str:
    """A hash of all weights and running statistics, whatever their device and memory layout."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
