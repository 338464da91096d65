"""What a study left behind, as values that two studies can be compared by, bit for bit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fault_study import Study

from experiments.run.journal import Record, read_records, replay
from pix2pix.checkpoint import load

Facts = dict[str, Any]
"""{what: value}, flat, so that a difference has a name."""
REFERENCE_LOSSES = ("ground truth: losses", "ground truth: learning_rate")
TIMED = ("cost.", "seconds_per_step")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def tensors(value: Any, name: str = "") -> Facts:
    """Every tensor and number of a checkpoint by its path, tensors as the digest of their bytes."""
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous()
        return {name: (str(content.dtype), tuple(content.shape), digest(content.numpy().tobytes()))}
    if isinstance(value, dict):
        parts = [tensors(item, f"{name}/{key}") for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [tensors(item, f"{name}/{index}") for index, item in enumerate(value)]
    else:
        return {name: value}
    return {key: item for part in parts for key, item in part.items()}


def checkpoint_facts(path: Path) -> Facts:
    """Everything that a training goes on from, but for the clock and the memory."""
    content = load(path)
    timed = ("seconds", "peak_memory_mib", "window/seconds")
    return {
        key: value for key, value in tensors(content).items() if not key.strip("/").endswith(timed)
    }


def losses(records: list[Record]) -> dict[int, dict[str, float]]:
    """{step: values} of a replayed journal; AssertionError for a step that stands twice."""
    found: dict[int, dict[str, float]] = {}
    for record in replay(records):
        if record["event"] == "losses":
            assert record["step"] not in found, f"step {record['step']} twice"
            found[record["step"]] = record["values"]
    return found


def facts(study: Study) -> Facts:
    """What a finished study says: weights, images, scores, losses of every cell, the scorer."""
    found: Facts = {}
    for arm, cell in study.directories().items():
        found |= {f"{arm}: {k}": v for k, v in cell_facts(cell).items()}
        found[f"{arm}: last word"] = read_records(cell / "journal.jsonl")[-1]["event"]
    for path in (study.out / "scorers").rglob("*.safetensors"):
        found["scorer"] = digest(path.read_bytes())
    # Whichever job comes first trains the scorer: its file is compared, not who told of it.
    return {key: value for key, value in found.items() if not key.startswith(REFERENCE_LOSSES)}


def cell_facts(cell: Path) -> Facts:
    """What there is of a cell, finished or not; every file of it has to be whole."""
    found: Facts = {}
    for path in sorted(cell.rglob("*.png")):
        if not path.name.startswith("."):
            found[str(path.relative_to(cell))] = digest(path.read_bytes())
    for step, values in losses(read_records(cell / "journal.jsonl")).items():
        found[f"losses {step}"] = values
    if (cell / "generator.pt").exists():
        weights = tensors(load(cell / "generator.pt")["weights"])
        found |= {f"weights {k}": v for k, v in weights.items()}
    if (cell / "scores.json").exists():
        sheet = json.loads((cell / "scores.json").read_text())
        found |= {f"score {k}": v for k, v in sheet["values"].items()}
        found["not measured"] = sorted(sheet["not_measured"])
    if (cell / "per_image.csv").exists():
        rows = list(csv.reader(io.StringIO((cell / "per_image.csv").read_text())))
        found["per_image.csv"] = rows
    if (cell / "per_image.npz").exists():
        with np.load(cell / "per_image.npz") as arrays:
            found |= {f"per_image {k}": digest(arrays[k].tobytes()) for k in arrays.files}
    return found


def differences(expected: Facts, found: Facts) -> list[str]:
    """One line for everything that is missing, too much, or other than expected."""
    lines = [f"missing: {k}" for k in expected if k not in found]
    lines += [f"too much: {k}" for k in found if k not in expected]
    both = [k for k in expected if k in found and expected[k] != found[k]]
    return lines + [f"differs: {k}: {str(expected[k])[:80]} / {str(found[k])[:80]}" for k in both]


def wrong_so_far(study: Study, expected: Facts, checkpoints: dict[tuple[str, int], Facts]) -> list:
    """What a study that was struck holds, and the uninterrupted one did not, or otherwise.

    `checkpoints`: {(cell, step): facts} of the uninterrupted study. A checkpoint must be one of
    them, to the bit; an image, score or loss that is there must be the final one.
    """
    if not list((study.out / "suites").glob("mine/*.json")):
        return []
    lines = []
    for arm, cell in study.cells().items():
        found = {f"{arm}: {k}": v for k, v in cell_facts(cell).items()}
        kept = {k: v for k, v in expected.items() if k in found}
        lines += differences(kept, found)
        for path in cell.glob("checkpoint*.pt"):
            state = checkpoint_facts(path)
            known = checkpoints.get((cell.name, state["/step"]))
            if known is None:
                lines.append(f"{arm}: checkpoint of step {state['/step']}, unknown")
            else:
                lines += [f"{arm}: checkpoint {line}" for line in differences(known, state)]
    return lines


def mirrored(database: Path, served: Path | None = None) -> Facts:
    """What MLflow holds: {arm, curve, step: [values]}, scores, runs and images by arm.

    `served`: the folder behind a server's artifacts.
    """
    found: Facts = {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        arms = dict(connection.execute("select run_uuid, value from tags where key = 'arm'"))
        rows = connection.execute("select run_uuid, key, step, value from metrics").fetchall()
        states = connection.execute(
            "select run_uuid, status, artifact_uri from runs where lifecycle_stage = 'active'"
        ).fetchall()
    for run, key, step, value in rows:
        name = f"{arms.get(run)}: {key} at {step}"
        if run in arms and not key.startswith(TIMED) and not name.startswith(REFERENCE_LOSSES):
            found.setdefault(name, []).append(value)
    for run, status, artifacts in states:
        arm = arms.get(run, "suite")
        found.setdefault(f"{arm}: runs", []).append(status)
        place = artifacts.removeprefix("file://").replace("mlflow-artifacts:", str(served))
        steps = [path.name.split("+")[2] for path in Path(place, "images").glob("samples*.png")]
        found.setdefault(f"{arm}: images", []).extend(steps)
    return {key: sorted(value) for key, value in found.items()}


def by_step(found: Facts) -> Facts:
    """What `mirrored` found, with the steps of the images once each.

    A training that is killed before its first checkpoint draws its first samples again, and
    whether the mirror had the earlier ones by then is chance. Everything else stays as it is.
    """
    return {k: sorted(set(v)) if k.endswith(": images") else v for k, v in found.items()}
