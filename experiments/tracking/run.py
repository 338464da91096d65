"""Brings one MLflow run up to date with its run directory.

Nothing is kept between passes. What MLflow already holds is read from MLflow (metric history,
params, tags), and a pass logs only what is missing. The tags `mirrored.*` are set after the
artifacts that they stand for. The names of artifacts follow from the journal, so a pass that comes
after an interrupted upload overwrites its files.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from eval.fcn_score import per_class
from experiments.run.journal import Record, last, replay
from pix2pix.common.files import read_json
from pix2pix.common.yaml_files import first_problem

PREVIEW_SIDE = 1024
"""Pixels. MLflow's image grid shows previews; at `log_image`'s own 256 pixels the rows of a sample
grid cannot be told apart."""
FIXED_IMAGES = 8
"""Test images whose translations are kept in MLflow, evenly spaced by name: in a split that was
taken from a video, the first ones would all show the same street."""
STATUS = {"done": "FINISHED", "failed": "FAILED"}
CURVES = ("losses", "validation")
"""Events whose values are points of curves."""
TABLES = ("per_image.json", "per_class.json")
"""Artifacts that MLflow's web interface shows as tables."""
REPLACED_TAGS = ("not_measured.", "image_interval.", "provenance.scores_commit", "remark", "error")
"""Tags, or their beginnings, that are deleted when the newest records no longer give them."""

COSTS = {
    "parameters": {n: f"{n}_parameters" for n in ("generator", "discriminator", "scorer")},
    "trained": {
        "seconds": "training_seconds",
        "peak_memory_mib": "peak_memory_mib",
        "kept_step": "kept_batch",
    },
    "done": {"seconds": "seconds"},
}
"""{event: {field of its record: name of the metric `cost.NAME`}}"""

T = TypeVar("T")


class ScoreSettings(BaseModel):
    """How a run directory was scored."""

    model_config = ConfigDict(strict=True, frozen=True)

    reference: str | None = None
    """Digest of the reference that it was scored against."""
    class_names: list[str] | None = None


class Scores(BaseModel):
    """The part of scores.json (`eval.results`) that the journal does not hold."""

    model_config = ConfigDict(strict=True, frozen=True)

    intervals_over_images: dict[str, tuple[float, float]] = {}
    """{score: (low, high)}, 95 % over test images"""
    settings: ScoreSettings = ScoreSettings()


def read_scores(directory: Path) -> Scores | None:
    """scores.json of a run directory; None if it has none.

    Raises ValueError, naming the file and the field, if the file is damaged.
    """
    path = directory / "scores.json"
    try:
        return Scores.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{path.name}: {first_problem(error)}") from None


class RunMirror:
    """One MLflow run and the run directory that it mirrors.

    A scorer is scored on the real photos, whose scores lie in the directory of the reference:
    `ceiling` names that directory, for a scorer only.
    """

    def __init__(
        self, client: MlflowClient, run: Run, directory: Path, ceiling: Path | None = None
    ) -> None:
        self.client = client
        self.run = run
        self.run_id = run.info.run_id
        self.directory = directory
        self.ceiling = ceiling
        self.held = run.data.tags

    def update(
        self,
        records: list[Record],
        stamp: str,
        dataset: str,
        scores: Scores | None = None,
        remark: str | None = None,
    ) -> None:
        """One pass over a journal. A pass with the same `stamp` as the last one does nothing.

        `scores`: the content of scores.json. `remark`: why a finished run counts as unfinished.
        """
        if self.held.get("mirrored.journal") == stamp:
            return
        data = last(records, "data")
        if data is not None:
            log_data_set(self.client, self.run, dataset, data)
        config = flatten(read_json(self.directory / "config.json"))
        params = {key: v for key, v in config.items() if key not in self.run.data.params}
        status = STATUS.get(records[-1]["event"], "RUNNING")
        tags = provenance_tags(records) | _score_tags(records, scores) | _data_tags(data)
        if remark:
            tags["remark"] = remark
        if status == "FAILED":
            tags["error"] = records[-1].get("error", "no reason given")
            log_file = str(records[-1].get("log", "")) + "\n"
            self.client.log_text(self.run_id, log_file, "failure.log")
        numbers, cost_tags = _costs(records)
        numbers += _score_values(records)
        held = self.run.data.metrics
        log(
            self.client,
            self.run_id,
            metrics=[m for m in numbers if held.get(m.key) != m.value] + self._curves(records),
            params=params,
            tags=tags | cost_tags,
        )
        self._samples(records)
        self._score_files(records, scores)
        for key in self.held:
            if key.startswith(REPLACED_TAGS) and key not in tags:
                self.client.delete_tag(self.run_id, key)
        set_status(self.client, self.run, status, records[-1]["time"])
        log(self.client, self.run_id, tags={"mirrored.journal": stamp})

    def _curves(self, records: list[Record]) -> list[Metric]:
        """The points of curves that MLflow does not hold, by step."""
        curves: dict[str, dict[int, Metric]] = {}
        for record in replay(records):
            if record["event"] not in CURVES:
                continue
            values = {f"{record['event']}/{term}": v for term, v in record["values"].items()}
            values |= {k: record[k] for k in ("seconds_per_step", "learning_rate") if k in record}
            for name, value in values.items():
                point = _metric(name, value, record["time"], record["step"])
                curves.setdefault(point.key, {})[point.step] = point  # the newest of a step
        missing: list[Metric] = []
        for name, points in curves.items():
            held: set[int] = set()
            if name in self.run.data.metrics:
                held = {m.step for m in self.client.get_metric_history(self.run_id, name)}
            missing += [point for step, point in points.items() if step not in held]
        return sorted(missing, key=lambda point: point.step)

    def _samples(self, records: list[Record]) -> None:
        """Upload new sample grids under the names by which MLflow shows images by step.

        The names are those of `MlflowClient.log_image`, which draws a new one for each call, so
        that a grid uploaded again after an interruption would show twice.
        """
        time = milliseconds(records[0]["time"])  # a resumed training may record a step again
        newest = int(self.held.get("mirrored.sample", -1))
        for record in replay(records):
            if record["event"] != "sample" or record["step"] <= newest:
                continue
            newest = step = record["step"]
            file = self.directory / "samples" / Path(record.get("file", "")).name
            if not file.is_file():
                continue
            key = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run_id}/{step}")
            name = f"samples+step+{step}+timestamp+{time}+{key}"
            with tempfile.TemporaryDirectory() as folder:
                shutil.copyfile(file, Path(folder, f"{name}.png"))
                with Image.open(file, formats=("PNG",)) as image:
                    preview = image.convert("RGB")
                preview.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
                preview.save(Path(folder, f"{name}+compressed.webp"))
                self.client.log_artifacts(self.run_id, folder, "images")
            tags = {"mirrored.sample": step, "mlflow.loggedImages": True}
            log(self.client, self.run_id, tags=tags)

    def _score_files(self, records: list[Record], scores: Scores | None) -> None:
        """Upload the files of the newest scores, once."""
        record = last(records, "scores")
        if record is None or self.held.get("mirrored.scores") == str(record["time"]):
            return
        settings = scores.settings if scores else ScoreSettings()
        with tempfile.TemporaryDirectory() as folder:
            if self.ceiling is not None:
                stage_classes(self.ceiling, Path(folder), settings.class_names)
            else:
                stage_scores(self.directory, Path(folder), settings.class_names)
            tables = [name for name in TABLES if Path(folder, name).is_file()]
            self.client.log_artifacts(self.run_id, folder)
        tags = {
            "mlflow.loggedArtifacts": [{"path": name, "type": "table"} for name in tables],
            "mirrored.scores": record["time"],
        }
        if settings.reference:
            tags["mirrored.reference"] = settings.reference
        log(self.client, self.run_id, tags=tags)


def log(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: list[Metric] | None = None,
    params: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
) -> None:
    """`MlflowClient.log_batch`, which splits what exceeds MLflow's limits, with plain values."""
    client.log_batch(
        run_id,
        metrics=metrics or [],
        params=[Param(key, as_text(value)) for key, value in (params or {}).items()],
        tags=[RunTag(key, as_text(value)) for key, value in (tags or {}).items()],
    )


def set_status(client: MlflowClient, run: Run, status: str, end: float | None = None) -> None:
    """Set a run's status; one other than RUNNING ends it, at `end` (Unix seconds) or now."""
    if status != "RUNNING":
        client.set_terminated(run.info.run_id, status, None if end is None else milliseconds(end))
    elif run.info.status != "RUNNING":
        client.update_run(run.info.run_id, "RUNNING")


def log_data_set(client: MlflowClient, run: Run, name: str, data: Record) -> None:
    """Log a journal's `data` record as the run's MLflow input, if the run has none.

    The input's digest is the first 16 characters of the fingerprint.
    """
    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    fingerprint = data["fingerprint"]
    counts = _pairs(data)
    columns = [{"name": side, "type": "uint8 (H, W, 3)"} for side in ("input", "target")]
    data_set = Dataset(
        name,
        fingerprint[:16],
        "code",
        json.dumps({"tags": {"data set": name, "fingerprint": fingerprint}}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": sum(counts.values())} | counts),
    )
    context = InputTag("mlflow.data.context", "training and test")
    client.log_inputs(run.info.run_id, [DatasetInput(data_set, [context])])


def _pairs(data: Record) -> dict[str, int]:
    """{split: number of pairs} of a `data` record."""
    return {split: data[split] for split in ("train", "val", "test") if split in data}


def _data_tags(data: Record | None) -> dict[str, Any]:
    """The fingerprint and the number of pairs per split."""
    if data is None:
        return {}
    counts = {f"data.{split}": count for split, count in _pairs(data).items()}
    return {"fingerprint": data["fingerprint"]} | counts


def _costs(records: list[Record]) -> tuple[list[Metric], dict[str, str]]:
    """`cost.*`: parameters, seconds, memory; and the tags that show some of them with a unit."""
    costs: dict[str, Metric] = {}
    tags: dict[str, str] = {}
    for record in records:
        for field, name in COSTS.get(record["event"], {}).items():
            if record.get(field) is not None:
                costs[name] = _metric(f"cost.{name}", record[field], record["time"])
        if "kept_step" in record:  # a scorer's
            costs["batches"] = _metric("cost.batches", record["step"], record["time"])
        if record["event"] == "trained" and "peak_memory_mib" in costs:
            tags["peak memory"] = f"{costs['peak_memory_mib'].value:.0f} MiB"
        elif record["event"] == "done":
            tags["duration"] = f"{record['seconds']:.0f} s"
    return list(costs.values()), tags


def _score_values(records: list[Record]) -> list[Metric]:
    """The newest scores."""
    record = last(records, "scores")
    if record is None:
        return []
    return [_metric(name, value, record["time"]) for name, value in record["values"].items()]


def _score_tags(records: list[Record], scores: Scores | None) -> dict[str, str]:
    """Why scores are missing, and the intervals over images of those that are not."""
    record = last(records, "scores")
    if record is None:
        return {}
    intervals = scores.intervals_over_images if scores else {}
    return {f"not_measured.{name}": why for name, why in record["not_measured"].items()} | {
        f"image_interval.{name}": json.dumps(interval)
        for name, interval in intervals.items()
        if name in record["values"]
    }


def provenance_tags(records: list[Record]) -> dict[str, str]:
    """Commit, device and versions of every session, each once; the scores' commit if it differs."""
    seen: dict[str, dict[str, None]] = {}
    for record in records:
        if record["event"] == "start":
            for key, value in flatten(record.get("provenance") or {}).items():
                seen.setdefault(key, {})[value] = None
        elif record["event"] == "execution":
            engine = str(record.get("engine"))
            if record.get("instead_of"):
                engine += f" instead of {record['instead_of']}: {record.get('error')}"
            seen.setdefault("engine", {})[engine] = None
    tags = {f"provenance.{key}": ", ".join(values) for key, values in seen.items()}
    if seen.get("commit"):
        tags["mlflow.source.git.commit"] = list(seen["commit"])[-1]
    scores = last(records, "scores") or {}
    commit = (scores.get("provenance") or {}).get("commit")
    if commit and commit != tags.get("provenance.commit"):
        tags["provenance.scores_commit"] = commit
    return tags


def stage_scores(directory: Path, folder: Path, class_names: list[str] | None) -> None:
    """Put what a scored run directory gives MLflow into `folder`: tables, summed counts, images."""
    for name in ("scores.json", "per_image.csv"):
        if (directory / name).is_file():
            shutil.copyfile(directory / name, folder / name)
    if (folder / "per_image.csv").is_file():
        # An image may be called "NA", which is no missing value in this column.
        table = pd.read_csv(
            folder / "per_image.csv", dtype={"name": str}, keep_default_na=False, na_values=[""]
        )
        # MLflow's table view reads a dot in a column's name as a path and shows nothing.
        table.columns = table.columns.str.replace(".", "/", regex=False)
        # The format of MLflow's log_table, which would append to the table that is there.
        table.to_json(folder / "per_image.json", orient="split", index=False)
    if (directory / "per_image.npz").is_file():
        with np.load(directory / "per_image.npz", allow_pickle=False) as arrays:
            for key, name in (("lab", "histograms.json"), ("confusion", "confusion.json")):
                if key in arrays:
                    counts = arrays[key]
                    sums = {key: counts.sum(axis=0).tolist(), "images": len(counts)}
                    (folder / name).write_text(json.dumps(sums), encoding="utf-8")
    stage_classes(directory, folder, class_names)
    for kind in ("inputs", "targets", "translations"):
        for image in evenly_spaced(sorted((directory / kind).glob("*.png")), FIXED_IMAGES):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copyfile(image, folder / kind / image.name)


def stage_classes(directory: Path, folder: Path, class_names: list[str] | None) -> None:
    """Write per_class.json: one row per class, from the confusion matrix of all test images.

    A directory that was not scored by class gets none.
    """
    try:
        with np.load(directory / "per_image.npz", allow_pickle=False) as arrays:
            confusion = arrays["confusion"].sum(axis=0)
    except (FileNotFoundError, KeyError):
        return
    accuracy, iou = per_class(confusion)
    table = pd.DataFrame(
        {
            "class": class_names or [str(i) for i in range(len(confusion))],
            "share of pixels": confusion.sum(axis=1) / max(1, confusion.sum()),
            "accuracy": accuracy,
            "IoU": iou,
        }
    )
    table.to_json(folder / "per_class.json", orient="split", index=False, double_precision=15)


def evenly_spaced(items: list[T], count: int) -> list[T]:
    """At most `count` items at equal distances, the first among them."""
    if len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} to {"a.b": "1"}; None is "none", lists are JSON."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= flatten(inner, f"{prefix}.{key}" if prefix else _name(str(key)))
        return flat
    return {prefix: as_text(value)}


def as_text(value: Any) -> str:
    """A value as MLflow shows it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def milliseconds(seconds: float) -> int:
    """Unix seconds to MLflow's Unix milliseconds."""
    return round(seconds * 1000)


def _metric(name: str, value: float, time: float, step: int = 0) -> Metric:
    """A value of a metric at a time (Unix seconds)."""
    return Metric(_name(name), float(value), milliseconds(time), step)


def _name(name: str) -> str:
    """A name with the characters that MLflow refuses replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name)
