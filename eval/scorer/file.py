"""A trained scorer as a file: safetensors, with a record of it and a hash of both in the header.

Nothing in such a file can run code. torch is imported only to read or write weights: looking for a
scorer, and reading the hash of its weights, needs the header alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
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
    from eval.scorer.pretrained import HeadSettings, PretrainedScorer
    from eval.scorer.train import ScorerSettings

    Scorer = FCN8s | PretrainedScorer

KEY = "scorer"
"""The record is one JSON text in the header: values there can only be strings."""
FORMAT = "pix2pix-ablations FCN-8s scorer 1"
FOLDER = Path("runs/scorers")
LISTED = 5  # scorers that a message lists


def save_scorer(
    path: Path,
    model: Scorer,
    settings: ScorerSettings | HeadSettings | Mapping[str, Any],
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
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    record: dict[str, Any] = {
        "format": FORMAT,
        "network": model.specification,
        "settings": settings if isinstance(settings, Mapping) else dataclasses.asdict(settings),
        "class_names": list(class_names),
        "source": dict(source),
        "sha256": weights_sha256(model),
    }
    record["record_sha256"] = _record_sha256(record)
    write_whole(path, save(tensors, {KEY: json.dumps(record)}))


def load_scorer(path: Path, device: str | torch.device = "cpu") -> tuple[Scorer, dict[str, Any]]:
    """A scorer in evaluation mode, and the record that `save_scorer` wrote about it.

    The record has the keys format, network, settings, class_names, source, sha256 (of the weights)
    and record_sha256 (of everything else).

    Raises:
        UserError: missing, not a scorer, truncated or altered; or VGG16's weights are missing.
    """
    import torch

    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.pretrained import PretrainedScorer

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
    if _record_sha256(record) != record.get("record_sha256"):
        raise UserError(f"{path}: altered: its record does not match the recorded sha256")
    network = record["network"]
    model: Scorer
    if "pretrained" in network:
        model = PretrainedScorer(network["classes"])
        if model.vgg.digest != network["backbone_digest"]:
            raise UserError(f"{path}: was trained on other weights of VGG16 than this machine has")
    else:
        model = FCN8s(**network)
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise UserError(f"{path}: altered: its weights do not fit its record") from None
    if weights_sha256(model) != record.get("sha256"):
        raise UserError(f"{path}: altered: its weights do not match their recorded sha256")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise UserError(f"{path}: holds weights that are not finite numbers")
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
        source: `dataset`, `fingerprint` and `size` [H, W], compared where the file records them.

    Raises:
        UserError: they differ.
    """
    for key in ("dataset", "size", "fingerprint"):
        wanted, found = (source or {}).get(key), record["source"].get(key)
        if wanted is not None and found is not None and wanted != found:
            raise UserError(f"{path}: this scorer was trained with the {key} {found}, not {wanted}")
    has = record["class_names"]
    pairs = itertools.zip_longest(has, class_names or has, fillvalue="missing")
    for index, (found, wanted) in enumerate(pairs):
        if found != wanted:
            raise UserError(
                f"{path}: this scorer was trained for other classes: its class {index} is {found},"
                f" not {wanted}"
            )


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
    found = {path: _read_record(path) for path in sorted(folder.glob("*.safetensors"))}
    wanted = {"dataset": dataset, "size": list(size)}
    fitting = [
        path
        for path, record in found.items()
        if wanted.items() <= record.get("source", {}).items()
        and record["class_names"] == list(class_names)
    ]
    if len(fitting) == 1:
        return fitting[0]
    count = f"{len(fitting)} scorers" if fitting else "no scorer"
    listed = [f"{path.name} ({_describe(record)})" for path, record in found.items() if record]
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
    return _read_record(path).get("sha256")


def weights_sha256(model: Scorer) -> str:
    """A hash of all weights and running statistics, whatever their device and memory layout."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _read_record(path: Path) -> dict[str, Any]:
    """The record in a file's header, unverified; empty if it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return record if record.get("format") == FORMAT else {}


def _describe(record: Mapping[str, Any]) -> str:
    source = record["source"]
    name = source.get("dataset") or source.get("file") or "unnamed data set"
    return f"{name} {'x'.join(map(str, source.get('size', ())))}".strip()


def _record_sha256(record: Mapping[str, Any]) -> str:
    """A hash of a record without the hashes in it."""
    hashed = {key: value for key, value in record.items() if not key.endswith("sha256")}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
