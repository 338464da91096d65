"""Brings one MLflow run up to date with its run directory.

Nothing is kept between passes. What MLflow already holds is read from MLflow (metric history,
params, tags), and a pass logs only what is missing. The tags `mirrored.*` are set after the
artifacts that they stand for. The names of artifacts follow from the journal, so a pass that comes
after an interrupted upload overwrites its files.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from PIL import Image

from eval.fcn_score import per_class
from experiments.run.journal import Record, last, replay
from pix2pix.common.files import read_json

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
REPLACED_TAGS = ("not_measured.", "image_interval.", "remark", "error")
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


def read_scores(directory: Path) -> dict[str, Any]:
    """The content of scores.json (`eval.results`), empty if there is none; ValueError if damaged.

    The mirror takes from it what the journal does not hold: `intervals_over_images`, and of
    `settings` `reference`, the digest of what the directory was scored against, and `class_names`.
    """
    try:
        return read_json(directory / "scores.json")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"scores.json: {error}") from None


@dataclass(frozen=True)
class RunMirror:
    """One MLflow run and the run directory that it mirrors.

    A scorer is scored on the real photos, whose scores lie in the directory of the reference:
    `ceiling` names that directory, for a scorer only.
    """

    client: MlflowClient
    run: Run
    directory: Path
    scores: dict[str, Any]
    """See `read_scores`."""
    ceiling: Path | None = None

    def update(
        self, records: list[Record], stamp: str, dataset: str, remark: str | None = None
    ) -> None:
        """One pass over a journal. A pass with the same `stamp` as the last one does nothing.

        `remark`: why a finished run counts as unfinished.
        """
        held, run_id = self.run.data, self.run.info.run_id
        if held.tags.get("mirrored.journal") == stamp:
            return
        costs, tags = _costs(records)
        tags |= provenance_tags(records)
        if data := last(records, "data"):
            log_data_set(self.client, self.run, dataset, data)
            tags |= {f"data.{split}": str(count) for split, count in _pairs(data).items()}
            tags["fingerprint"] = data["fingerprint"]
        if scored := last(records, "scores"):
            costs += [_metric(name, v, scored["time"]) for name, v in scored["values"].items()]
            tags |= {f"not_measured.{name}": why for name, why in scored["not_measured"].items()}
            intervals = self.scores.get("intervals_over_images", {})
            for name in intervals.keys() & scored["values"]:
                tags[f"image_interval.{name}"] = json.dumps(intervals[name])
        if remark:
            tags["remark"] = remark
        status = STATUS.get(records[-1]["event"], "RUNNING")
        if status == "FAILED":
            tags["error"] = records[-1].get("error", "no reason given")
            log_file = str(records[-1].get("log", "")) + "\n"
            self.client.log_text(run_id, log_file, "failure.log")
        config = flatten(read_json(self.directory / "config.json"))
        log(
            self.client,
            run_id,
            tags,
            [m for m in costs if held.metrics.get(m.key) != m.value] + self._curves(records),
            {key: value for key, value in config.items() if key not in held.params},
        )
        self._samples(records)
        if scored and held.tags.get("mirrored.scores") != str(scored["time"]):
            self._score_files(scored)
        for key in held.tags:
            if key.startswith(REPLACED_TAGS) and key not in tags:
                self.client.delete_tag(run_id, key)
        set_status(self.client, self.run, status, records[-1]["time"])
        log(self.client, run_id, {"mirrored.journal": stamp})

    def _curves(self, records: list[Record]) -> list[Metric]:
        """The points of curves that MLflow does not hold, by step."""
        points: list[Metric] = []
        for record in replay(records):
            if record["event"] in CURVES:
                values = {f"{record['event']}/{term}": v for term, v in record["values"].items()}
                paces = ("seconds_per_step", "learning_rate")
                values |= {name: record[name] for name in paces if name in record}
                at = (record["time"], record["step"])
                points += [_metric(name, value, *at) for name, value in values.items()]
        held = {
            (name, point.step)
            for name in {point.key for point in points} & self.run.data.metrics.keys()
            for point in self.client.get_metric_history(self.run.info.run_id, name)
        }
        return [point for point in points if (point.key, point.step) not in held]

    def _samples(self, records: list[Record]) -> None:
        """Upload new sample grids under the names by which MLflow shows images by step.

        The names are those of `MlflowClient.log_image`, which draws a new one for each call, so
        that a grid uploaded again after an interruption would show twice.
        """
        run_id, time = self.run.info.run_id, milliseconds(records[0]["time"])
        newest = int(self.run.data.tags.get("mirrored.sample", -1))
        for record in replay(records):
            if record["event"] != "sample" or record["step"] <= newest:
                continue
            newest = step = record["step"]
            file = self.directory / "samples" / Path(record.get("file", "")).name
            if not file.is_file():
                continue
            key = uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{step}")
            name = f"samples+step+{step}+timestamp+{time}+{key}"
            with tempfile.TemporaryDirectory() as folder:
                shutil.copyfile(file, Path(folder, f"{name}.png"))
                with Image.open(file, formats=("PNG",)) as image:
                    preview = image.convert("RGB")
                preview.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
                preview.save(Path(folder, f"{name}+compressed.webp"))
                self.client.log_artifacts(run_id, folder, "images")
            log(self.client, run_id, {"mirrored.sample": step, "mlflow.loggedImages": True})

    def _score_files(self, scored: Record) -> None:
        """Upload the files of the newest scores."""
        run_id, settings = self.run.info.run_id, self.scores.get("settings", {})
        class_names = settings.get("class_names")
        with tempfile.TemporaryDirectory() as folder:
            if self.ceiling is not None:
                stage_classes(counts(self.ceiling), Path(folder), class_names)
            else:
                stage_scores(self.directory, Path(folder), class_names)
            tables = [name for name in TABLES if Path(folder, name).is_file()]
            self.client.log_artifacts(run_id, folder)
        tags = {
            "mlflow.loggedArtifacts": [{"path": name, "type": "table"} for name in tables],
            "mirrored.scores": scored["time"],
        }
        if settings.get("reference"):
            tags["mirrored.reference"] = settings["reference"]
        log(self.client, run_id, tags)


def log(
    client: MlflowClient,
    run_id: str,
    tags: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
    params: Mapping[str, str] | None = None,
) -> None:
    """`MlflowClient.log_batch`, which splits what exceeds MLflow's limits, with plain values."""
    client.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(key, value) for key, value in (params or {}).items()],
        tags=[RunTag(key, as_text(value)) for key, value in tags.items()],
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


def provenance_tags(records: list[Record]) -> dict[str, str]:
    """Commit, device and versions of every session, each once."""
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
    arrays = counts(directory)
    for key, name in (("lab", "histograms.json"), ("confusion", "confusion.json")):
        if key in arrays:
            sums = {key: arrays[key].sum(axis=0).tolist(), "images": len(arrays[key])}
            (folder / name).write_text(json.dumps(sums), encoding="utf-8")
    stage_classes(arrays, folder, class_names)
    for kind in ("inputs", "targets", "translations"):
        for image in evenly_spaced(sorted((directory / kind).glob("*.png")), FIXED_IMAGES):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copyfile(image, folder / kind / image.name)


def counts(directory: Path) -> dict[str, np.ndarray]:
    """`lab` (N, 3, bins) and `confusion` (N, C, C) of a scored directory, if they were measured."""
    path = directory / "per_image.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in ("lab", "confusion") if key in arrays}


def stage_classes(
    arrays: Mapping[str, np.ndarray], folder: Path, class_names: list[str] | None
) -> None:
    """Write per_class.json: one row per class, from the confusion matrix of all test images.

    A directory that was not scored by class gets none.
    """
    if "confusion" not in arrays:
        return
    confusion = arrays["confusion"].sum(axis=0)
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


def evenly_spaced(items: list[Any], count: int) -> list[Any]:
    """At most `count` items at equal distances, the first among them."""
    if len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} to {"a.b": "1"}; None is "none", lists are JSON."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= flatten(inner, f"{prefix}.{key}" if prefix else key)
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
    return Metric(name, float(value), milliseconds(time), step)
