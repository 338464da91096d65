"""The scorer for a data set: which one in `runs/scorers` fits."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from eval.scorer.file import KEY
from pix2pix.common.errors import NotMeasured

FOLDER = Path("runs/scorers")
NAMED = 5  # scorers that a message lists


def find_scorer(
    dataset: str,
    size: tuple[int, int],
    class_names: Sequence[str],
    folder: Path = FOLDER,
    datasets: Path | None = None,
) -> Path:
    """The one scorer of that data set, image size (H, W) and classes in `folder`.

    `datasets` is the file of data sets that was given, which training one needs too.

    Raises:
        NotMeasured: none, or several; lists what is there, and how to get one.
    """
    found: dict[Path, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        record = _record(path)
        if record is not None:
            found[path] = record
    wanted = {"dataset": dataset, "size": list(size)}
    fitting = [
        path
        for path, record in found.items()
        if isinstance(record.get("source"), dict)
        and all(record["source"].get(key) == value for key, value in wanted.items())
        and record.get("class_names") == list(class_names)
    ]
    if len(fitting) == 1:
        return fitting[0]
    many = f"{len(fitting)} scorers" if fitting else "no scorer"
    listed = [f"{path.name} ({_described(record)})" for path, record in found.items()]
    there = ", ".join(listed[:NAMED]) + (", …" if len(listed) > NAMED else "")
    file = "" if datasets is None else f" --datasets {shlex.quote(str(datasets))}"
    raise NotMeasured(
        f"{many} of {dataset} at {size[0]}x{size[1]} in {folder} (there: {there or 'nothing'});"
        f" name one by --scorer FILE, or train one, with a generator of one step:"
        f" python run_ablations.py --suite losses --arms L1 --set training.steps=1"
        f" --set size={size[0]}x{size[1]} --dataset {shlex.quote(dataset)}{file} --data-root DIR"
    )


def _record(path: Path) -> dict[str, Any] | None:
    """What `save_scorer` recorded, without the weights; None where it is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _described(record: dict[str, Any]) -> str:
    source = record.get("source")
    if not isinstance(source, dict):
        return "of an unnamed data set"
    size = source.get("size")
    named = source.get("dataset") or source.get("file") or "of an unnamed data set"
    return f"{named} {size[0]}x{size[1]}" if isinstance(size, list) and len(size) == 2 else named
