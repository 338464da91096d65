"""Brings one MLflow run up to date with one run directory, logging only what the run lacks.

Nothing is kept between passes: what is there already is asked of MLflow (metric history, params)
or read off `mirrored.*` tags, which are set after the artifacts they stand for. Artifacts have
names that follow from the journal, so that an upload cut short is overwritten, never doubled.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from PIL import Image

from experiments.run.journal import Record, last, replay
from experiments.tracking.artifacts import TABLES, stage_classes, stage_scores
from experiments.tracking.scores import image_intervals, read_sheet
from experiments.tracking.text import (
    as_text,
    flatten,
    metric_name,
    milliseconds,
    provenance_tags,
)
from pix2pix.common.files import read_json

METRICS_A_CALL = 1000  # MLflow's limits
OTHERS_A_CALL = 100
PREVIEW_SIDE = 1024
"""The image grid shows previews; MLflow's own 256 pixels would be too few for a sample grid."""
OF_SCORES = ("not_measured.", "image_interval.")
"""Tags that go with the newest scores."""
STATUS = {"done": "FINISHED", "failed": "FAILED"}
SAMPLE = re.compile(r"samples/step-[0-9]+\.png")
"""Where a sample grid may lie, relative to the run directory."""
CURVES = ("losses", "validation")
"""Events whose values are points of curves."""

T = TypeVar("T")


def log(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    params: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
) -> None:
    """Log any number of metrics, params and tags within MLflow's limits a call."""
    for part in _chunks(list(metrics), METRICS_A_CALL):
        client.log_batch(run_id, metrics=part)
    for part in _chunks([Param(k, as_text(v)) for k, v in (params or {}).items()], OTHERS_A_CALL):
        client.log_batch(run_id, params=part)
    for part in _chunks([RunTag(k, as_text(v)) for k, v in (tags or {}).items()], OTHERS_A_CALL):
        client.log_batch(run_id, tags=part)


def log_data_set(client: MlflowClient, run: Run, name: str, data: Record) -> None:
    """The `data` record as an MLflow input, once; its digest is the fingerprint's head."""
    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    fingerprint = data["fingerprint"]
    counts = data_counts(data)
    source = {"tags": {"data set": name, "fingerprint": fingerprint}}
    columns = [{"name": side, "type": "uint8 (H, W, 3)"} for side in ("input", "target")]
    data_set = Dataset(
        name,
        fingerprint[:16],
        "code",
        json.dumps(source),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": sum(counts.values())} | counts),
    )
    context = InputTag("mlflow.data.context", "training and test")
    client.log_inputs(run.info.run_id, [DatasetInput(data_set, [context])])


def data_counts(data: Record) -> dict[str, int]:
    """{split: number of pairs} of a `data` record."""
    return {split: data[split] for split in ("train", "val", "test") if split in data}


class RunMirror:
    """One MLflow run and the run directory that it mirrors.

    A scorer's scores are those of the real photos, which lie in the reference's directory:
    `ceiling` names it.
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
        remark: str | None = None,
        reference: str | None = None,
    ) -> None:
        """One pass over a journal; one with the same stamp as the last pass's costs nothing.

        `remark` says why an ended run counts as not ended; `reference` is that of its scores.
        """
        if self.held.get("mirrored.journal") == stamp:
            return
        self._params()
        self._facts(records, dataset)
        self._curves(records)
        self._samples(records)
        self._scores(records, reference)
        self._status(records)
        self._tag({"remark": remark} if remark else {}, without=[] if remark else ["remark"])
        self._tag({"mirrored.journal": stamp})

    def _tag(self, tags: dict[str, Any], without: Iterable[str] = ()) -> None:
        log(self.client, self.run_id, tags=tags)
        for key in without:
            if key in self.held:
                self.client.delete_tag(self.run_id, key)

    def _params(self) -> None:
        config = read_json(self.directory / "config.json")
        flat = flatten(config)
        new = {key: value for key, value in flat.items() if key not in self.run.data.params}
        log(self.client, self.run_id, params=new)

    def _facts(self, records: list[Record], dataset: str) -> None:
        tags: dict[str, Any] = {}
        numbers: dict[str, tuple[float, float]] = {}
        for record in records:
            event, time = record["event"], record["time"]
            if event == "data":
                tags |= {"fingerprint": record["fingerprint"]}
                tags |= {f"data.{split}": n for split, n in data_counts(record).items()}
                log_data_set(self.client, self.run, dataset, record)
            elif event == "parameters":
                for network in ("generator", "discriminator", "scorer"):
                    if network in record:
                        numbers[f"cost.{network}_parameters"] = (record[network], time)
            elif event == "trained":
                numbers["cost.training_seconds"] = (record["seconds"], time)
                if "kept_step" in record:
                    numbers["cost.batches"] = (record["step"], time)
                    numbers["cost.kept_batch"] = (record["kept_step"], time)
                if record.get("peak_memory_mib") is not None:
                    numbers["cost.peak_memory_mib"] = (record["peak_memory_mib"], time)
                    tags["peak memory"] = f"{record['peak_memory_mib']:.0f} MiB"
            elif event == "done":
                numbers["cost.seconds"] = (record["seconds"], time)
                tags["duration"] = f"{record['seconds']:.0f} s"
        self._numbers(numbers)
        tags |= provenance_tags(records)
        self._tag(
            {key: value for key, value in tags.items() if self.held.get(key) != str(value)},
            without={"provenance.scores_commit"} - set(tags),
        )

    def _numbers(self, numbers: dict[str, tuple[float, float]]) -> None:
        """Values that have no step: {name: (value, Unix seconds)}, logged where they are new."""
        log(
            self.client,
            self.run_id,
            metrics=[
                Metric(name, float(value), milliseconds(time), 0)
                for name, (value, time) in numbers.items()
                if self.run.data.metrics.get(name) != float(value)
            ],
        )

    def _curves(self, records: list[Record]) -> None:
        curves: dict[str, dict[int, Metric]] = {}
        for record in replay(records):
            if record["event"] not in CURVES:
                continue
            values = {f"{record['event']}/{term}": v for term, v in record["values"].items()}
            values |= {k: record[k] for k in ("seconds_per_step", "learning_rate") if k in record}
            for name, value in values.items():
                point = Metric(
                    metric_name(name), float(value), milliseconds(record["time"]), record["step"]
                )
                curves.setdefault(point.key, {})[point.step] = point  # the newest of a step
        missing: list[Metric] = []
        for name, points in curves.items():
            held = set()
            if name in self.run.data.metrics:
                held = {m.step for m in self.client.get_metric_history(self.run_id, name)}
            missing += [point for step, point in points.items() if step not in held]
        log(self.client, self.run_id, metrics=sorted(missing, key=lambda point: point.step))

    def _samples(self, records: list[Record]) -> None:
        newest = int(self.held.get("mirrored.sample", -1))
        held: list[str] | None = None
        for record in replay(records):
            if record["event"] != "sample" or record["step"] <= newest:
                continue
            newest = record["step"]
            name = record.get("file", "")
            file = self.directory / name
            if not SAMPLE.fullmatch(name) or not file.is_file():
                continue
            # The names that MLflow's own log_image gives and its image grid reads; log_image
            # itself draws a new name each time, so that a repeated upload would show twice.
            step, time = record["step"], milliseconds(record["time"])
            key = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run_id}/{step}")
            if held is None:
                held = [one.path for one in self.client.list_artifacts(self.run_id, "images")]
            # One that a pass before this was cut off at keeps its name, whose time may be that of
            # a record which a later sitting has replaced.
            there = next((one for one in held if str(key) in one), None)
            stem = f"samples+step+{step}+timestamp+{time}+{key}"
            if there is not None:
                stem = PurePosixPath(there).name.partition(str(key))[0] + str(key)
            with tempfile.TemporaryDirectory() as folder:
                shutil.copyfile(file, Path(folder, f"{stem}.png"))
                with Image.open(file, formats=("PNG",)) as image:
                    small = image.convert("RGB")
                small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
                small.save(Path(folder, f"{stem}+compressed.webp"))
                self.client.log_artifacts(self.run_id, folder, "images")
            self._tag({"mirrored.sample": step, "mlflow.loggedImages": True})

    def _scores(self, records: list[Record], reference: str | None) -> None:
        record = last(records, "scores")
        if record is None:
            return
        self._numbers({name: (v, record["time"]) for name, v in record["values"].items()})
        if self.held.get("mirrored.scores") == str(record["time"]):
            return
        with tempfile.TemporaryDirectory() as folder:
            if self.ceiling is not None:
                stage_classes(self.ceiling, Path(folder))
            else:
                stage_scores(self.directory, Path(folder))
            tables = [name for name in TABLES if Path(folder, name).is_file()]
            self.client.log_artifacts(self.run_id, folder)
        reasons = {f"not_measured.{name}": why for name, why in record["not_measured"].items()}
        intervals = {
            f"image_interval.{name}": json.dumps(pair)
            for name, pair in image_intervals(read_sheet(self.directory)).items()
        }
        told = reasons | intervals
        self._tag(
            told
            | {"mlflow.loggedArtifacts": [{"path": name, "type": "table"} for name in tables]}
            | ({"mirrored.reference": reference} if reference else {})
            | {"mirrored.scores": record["time"]},
            without={key for key in self.held if key.startswith(OF_SCORES)} - set(told),
        )

    def _status(self, records: list[Record]) -> None:
        newest = records[-1]
        status = STATUS.get(newest["event"], "RUNNING")
        if status == "FAILED":
            self.client.log_text(self.run_id, str(newest.get("log", "")) + "\n", "failure.log")
            self._tag({"error": newest.get("error", "no reason given")})
        else:
            self._tag({}, without=["error"])
        if status == "RUNNING":
            if self.run.info.status != "RUNNING":
                self.client.update_run(self.run_id, "RUNNING")
        else:
            self.client.set_terminated(self.run_id, status, milliseconds(newest["time"]))


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
