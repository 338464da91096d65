"""A trained scorer as a file: safetensors, with a record of it and a hash of both in the header.

Nothing in such a file can run code. torch is imported only to read or write weights: looking for a
scorer, and reading the hash of its weights, needs the header alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import write_whole

if TYPE_CHECKING:
    import torch

    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.train import ScorerSettings

KEY = "scorer"
"""The record is one JSON text in the header: values there can only be strings."""
FORMAT = "pix2pix-ablations FCN-8s scorer 1"
FOLDER = Path("runs/scorers")
FINGERPRINT_DIGITS = 64
LISTED = 5  # scorers that a message lists


def save_scorer(
    path: Path,
    model: FCN8s,
    settings: ScorerSettings | Mapping[str, Any],
    class_names: Sequence[str],
    source: Mapping[str, Any],
) -> None:
    """Write a scorer atomically.

    Args:
        settings: what it was trained with.
        class_names: one per class, in index order.
        source: where it comes from: {"dataset", "fingerprint", "size": [H, W]} of its photos, or
            {"caffemodel_sha256", "file"} of the published network.

    Raises:
        ValueError: the number of names is not the number of classes.
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save

    if len(class_names) != model.classes:
        raise ValueError(f"class_names: {len(class_names)} names for {model.classes} classes")
    tensors = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    record: dict[str, Any] = {
        "format": FORMAT,
        "network": {
            "classes": model.classes,
            "width": model.width,
            "batch_norm": model.batch_norm,
            "padding": model.padding,
        },
        "settings": dict(settings)
        if isinstance(settings, Mapping)
        else dataclasses.asdict(settings),
        "class_names": list(class_names),
        "source": dict(source),
        "sha256": weights_sha256(model),
    }
    record["record_sha256"] = _record_sha256(record)
    write_whole(path, save(tensors, {KEY: json.dumps(record)}))


def load_scorer(path: Path, device: str | torch.device = "cpu") -> tuple[FCN8s, dict[str, Any]]:
    """A scorer in evaluation mode, and the record that `save_scorer` wrote about it.

    The record has the keys format, network, settings, class_names, source, sha256 (of the weights)
    and record_sha256 (of everything else).

    Raises:
        UserError: missing, not a scorer, truncated or altered.
    """
    import torch

    from eval.scorer.fcn8s import FCN8s

    if not path.is_file():
        raise UserError(f"{path}: no such file (a scorer)")
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {}).get(KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a scorer, or damaged ({reason})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{path}: not a scorer of this format ({FORMAT})")
    try:
        if _least_bytes(**record["network"]) > path.stat().st_size:
            raise ValueError("it names more weights than the file can hold")
        model = FCN8s(**record["network"])
        model.load_state_dict(state, strict=True)
        _check_record(record, model.classes)
        weights_intact = weights_sha256(model) == record["sha256"]
        record_intact = _record_sha256(record) == record["record_sha256"]
        finite = all(bool(torch.isfinite(value).all()) for value in state.values())
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UserError(f"{path}: its weights do not fit its description ({reason})") from error
    if not weights_intact:
        raise UserError(f"{path}: altered: its weights do not match their recorded sha256")
    if not finite:
        raise UserError(f"{path}: holds weights that are not finite numbers")
    if not record_intact:
        raise UserError(f"{path}: altered: its record does not match the recorded sha256")
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval(), record


def is_published(record: Mapping[str, Any]) -> bool:
    """Whether a record is of the published network, converted from Caffe."""
    return "caffemodel_sha256" in record["source"]


def check_scorer(
    path: Path,
    record: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a scorer of other classes, or of another data set or size, in one line.

    Args:
        record: from `load_scorer`.
        class_names: the classes of the labels, in index order.
        source: of `dataset`, `fingerprint` and `size` [H, W], what has to be equal; what the file
            does not record is not compared.

    Raises:
        UserError: they differ.
    """
    for key, differ in DIFFERENT.items():
        wanted, found = (source or {}).get(key), record["source"].get(key)
        if wanted is not None and found is not None and wanted != found:
            reason = differ.format(_brief(found), _brief(wanted))
            raise UserError(f"{path}: this scorer was trained {reason}")
    has = [str(name) for name in record["class_names"]]
    if class_names is not None and list(class_names) != has:
        reason = _difference(has, list(class_names))
        raise UserError(f"{path}: this scorer was trained for other classes: {reason}")


DIFFERENT = {
    "dataset": "for {}, not for {}",
    "size": "at {} pixels (height x width), not at {}",
    "fingerprint": "on another version of the data: fingerprint {}, not {}",
}


def find_scorer(
    dataset: str,
    size: tuple[int, int],
    class_names: Sequence[str],
    folder: Path = FOLDER,
    datasets: Path | None = None,
) -> Path:
    """The only scorer of that data set, image size (H, W) and classes in `folder`.

    Args:
        datasets: the file that defines the data set, for the command in the message.

    Raises:
        NotMeasured: there is none, or several; lists what is there, and how to get one.
    """
    paths = sorted(folder.glob("*.safetensors"))
    found = {path: record for path in paths if (record := _read_record(path)) is not None}
    wanted = {"dataset": dataset, "size": list(size)}
    fitting = [
        path
        for path, record in found.items()
        if wanted.items() <= _source(record).items()
        and record.get("class_names") == list(class_names)
    ]
    if len(fitting) == 1:
        return fitting[0]
    count = f"{len(fitting)} scorers" if fitting else "no scorer"
    listed = [f"{path.name} ({_describe(record)})" for path, record in found.items()]
    there = ", ".join(listed[:LISTED]) + (", …" if len(listed) > LISTED else "")
    file = "" if datasets is None else f" --datasets {shlex.quote(str(datasets))}"
    raise NotMeasured(
        f"{count} of {dataset} at {size[0]}x{size[1]} in {folder} (found: {there or 'nothing'});"
        f" choose one with --scorer FILE, or train one, with a generator of one step:"
        f" python run_ablations.py --suite losses --arms L1 --set training.steps=1"
        f" --set size={size[0]}x{size[1]} --dataset {shlex.quote(dataset)}{file} --data-root DIR"
    )


def recorded_sha256(path: Path) -> str | None:
    """The sha256 of the weights as recorded in a scorer's file; `load_scorer` verifies it.

    None if there is no such file, or no such record.
    """
    found = (_read_record(path) or {}).get("sha256")
    return found if isinstance(found, str) else None


def weights_sha256(model: FCN8s) -> str:
    """A hash of all weights and running statistics, whatever their device and memory layout."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record in a file's header, unchecked; None if it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _source(record: Mapping[str, Any]) -> dict[str, Any]:
    """The source in a record that was not checked."""
    source = record.get("source")
    return source if isinstance(source, dict) else {}


def _describe(record: Mapping[str, Any]) -> str:
    source = _source(record)
    name = source.get("dataset") or source.get("file") or "unnamed data set"
    size = source.get("size")
    return f"{name} {size[0]}x{size[1]}" if isinstance(size, list) and len(size) == 2 else name


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
    """What fc6, fc7 and the layers of the classes take in float32.

    Checked before a network is built: a small file must not name one that fills the memory.
    """
    if type(classes) is not int or type(width) is not int or min(classes, width) < 1:
        raise ValueError("classes and width: must be whole numbers from 1")
    fc6_fc7 = (49 * 8 * 64 + 64 * 64) * width**2
    return 4 * (fc6_fc7 + 64 * width * classes + 256 * classes**2)


def _check_record(record: Mapping[str, Any], classes: int) -> None:
    """ValueError or LookupError if a field of a record is not what later code relies on."""
    names = record["class_names"]
    if not isinstance(names, list) or len(names) != classes:
        raise ValueError("class_names: not one per class")
    if not isinstance(record["settings"], dict):
        raise ValueError("settings: not a mapping")
    if not isinstance(record["source"], dict):
        raise ValueError("source: not a mapping")
    size = record["source"].get("size")
    if size is not None and not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError("source: size must be two whole numbers from 1")


def _record_sha256(record: Mapping[str, Any]) -> str:
    """A hash of a record without the hashes in it."""
    hashed = {key: value for key, value in record.items() if not key.endswith("sha256")}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
