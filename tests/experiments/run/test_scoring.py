"""The in-suite scorer: trained once, by whichever job comes first, with a run of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded_runs as recorded
import torch
from PIL import Image

from eval.fcn_score import per_class, scores
from eval.scorer.file import load_scorer, save_scorer
from experiments.run.jobs import DataSource, Job, OtherScorer, ReferenceConfig, state
from experiments.run.journal import Journal, last, read_records, write_json
from experiments.run.runner import first_scorer as scorer_of
from experiments.run.runner import run
from experiments.run.session import Session
from experiments.run.signals import Stop
from experiments.spec import ScorerProfile
from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from experiments.tracking.store import open_store
from pix2pix.common.errors import Interrupted, UserError
from pix2pix.common.files import read_json
from pix2pix.config import CellConfig, DiscriminatorSettings, TrainingSettings
from pix2pix.data.cache import prepare
from pix2pix.data.registry import find_entry, load_registry

SIDE = 32
SCORER = ScorerProfile(width=2, batches=12, batch=2, validate_every=4, patience=9)
REGISTRY = """\
streets:
  title: Two-class streets
  layout: folders
  sides:
    photo: {folder: "photos/{split}"}
    labels: {folder: "labels/{split}", kind: index}
  classes: {road: [128, 64, 128], sky: [70, 130, 180]}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSource, str]:
    """A registry, 20 training photos and their cache; the fingerprint."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 2), ("test", 3)):
        for index in range(count):
            labels = np.ones((SIDE, SIDE), np.uint8)
            labels[rng.integers(8, SIDE - 8) :] = 0
            colours = np.array([[90, 90, 95], [110, 160, 220]], np.uint8)
            photo = colours[labels] + rng.integers(0, 30, (SIDE, SIDE, 3), dtype=np.uint8)
            for kind, image in (("photos", photo), ("labels", labels)):
                path = root / "streets" / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    (root / "mine.yaml").write_text(REGISTRY)
    entry = find_entry(load_registry(root / "mine.yaml"), "streets")
    paired = prepare(entry, root, (SIDE, SIDE), "labels->photo", root / "cache")
    source = DataSource("streets", str(root / "mine.yaml"), str(root), str(root / "cache"))
    return source, paired.fingerprint


def shared(data: tuple[DataSource, str]) -> dict[str, Any]:
    """The fields that a cell's config and its reference's have in common."""
    return {
        "dataset": "streets",
        "fingerprint": data[1],
        "direction": "labels->photo",
        "size": (SIDE, SIDE),
    }


def ref(data: tuple[DataSource, str]) -> str:
    """The digest of the reference, which names its folder and the scorer's."""
    return ReferenceConfig(scorer=SCORER, **shared(data)).digest


def job_of(data: tuple[DataSource, str], out: Path, kind: str = "reference") -> Job:
    config: CellConfig | ReferenceConfig = ReferenceConfig(scorer=SCORER, **shared(data))
    if kind == "cell":
        config = CellConfig(seed=1, training=TrainingSettings(steps=1), **shared(data))
    (out / "scorers").mkdir(parents=True, exist_ok=True)
    job = Job(config, kind, str(out), data[0], ref(data), SCORER)
    job.write_config()
    return job


def unheard(event: dict[str, Any]) -> None:
    pass


def cut_at(step: int) -> Callable[[dict[str, Any]], None]:
    """Receives a job's events, and ends it at that batch of the scorer."""

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "losses" and event["step"] == step:
            raise Interrupted

    return emit


def work_of(job: Job, emit=unheard) -> Session:
    return Session(job, emit, Stop())


def events(directory: Path) -> list[str]:
    return [record["event"] for record in read_records(directory / "journal.jsonl")]


def test_a_cell_that_trains_it_leaves_its_own_journal_and_seconds_alone(data, tmp_path):
    job = job_of(data, tmp_path, "cell")
    work = work_of(job)
    scorer_of(work)
    assert events(job.directory) == []
    records = read_records(tmp_path / "scorers" / ref(data) / "journal.jsonl")
    assert [r["event"] for r in records if r["event"] not in ("losses", "validation")] == [
        "start", "data", "parameters", "trained", "done",
    ]  # fmt: skip
    assert records[0]["trained_by"] == f"cell {job.digest}"
    assert [r["step"] for r in records if r["event"] == "losses"] == list(range(1, 13))
    assert [r["step"] for r in records if r["event"] == "validation"] == [4, 8, 12]
    assert (records[1]["train"], records[1]["val"]) == (18, 2)
    seconds = last(records, "trained")["seconds"]
    assert work.waited >= seconds > 0
    _, metadata = load_scorer(tmp_path / "scorers" / f"{ref(data)}.safetensors")
    assert metadata["class_names"] == ["road", "sky"]
    assert metadata["source"] == {
        "dataset": "streets",
        "fingerprint": data[1],
        "size": [SIDE, SIDE],
    }


def test_whoever_comes_second_trains_nothing(data, tmp_path):
    scorer_of(work_of(job_of(data, tmp_path, "cell")))
    before = events(tmp_path / "scorers" / ref(data))
    scorer_of(work_of(job_of(data, tmp_path), lambda event: pytest.fail(f"did {event}")))
    assert events(tmp_path / "scorers" / ref(data)) == before


def test_interrupted_it_starts_anew_and_ends_with_the_same_weights(data, tmp_path):
    scorer_of(work_of(job_of(data, tmp_path / "whole")))
    job = job_of(data, tmp_path / "cut")
    with pytest.raises(Interrupted):
        scorer_of(work_of(job, cut_at(7)))
    assert not (tmp_path / "cut" / "scorers" / f"{ref(data)}.safetensors").exists()
    scorer_of(work_of(job))
    assert events(tmp_path / "cut" / "scorers" / ref(data)).count("start") == 2
    whole, cut = (load_scorer(tmp_path / way / "scorers" / f"{ref(data)}.safetensors")[1]["sha256"]
                  for way in ("whole", "cut"))  # fmt: skip
    assert whole == cut


def test_a_kill_between_the_file_and_the_last_word_costs_no_training(data, tmp_path):
    scorer_of(work_of(job_of(data, tmp_path)))
    journal = tmp_path / "scorers" / ref(data) / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    scorer_of(work_of(job_of(data, tmp_path)))
    assert [json.loads(line)["event"] for line in whole.splitlines()] == events(journal.parent)


def test_other_scorers_score_the_same_images_and_decide_nothing(data, tmp_path):
    changed = SCORER.model_copy(update={"seed": 1})
    other = ReferenceConfig(scorer=changed, **shared(data)).digest
    alone = job_of(data, tmp_path / "alone", "cell")
    run(alone, unheard, Stop())
    both = job_of(data, tmp_path, "cell")
    both = dataclasses.replace(both, others={"seed-1": OtherScorer(other, changed)})
    assert Job.from_json(both.to_json()) == both
    run(both, unheard, Stop())
    first, second = (read_json(job.directory / "scores.json") for job in (alone, both))
    extra = {f"fcn.{name}/seed-1" for name in ("pixel_accuracy", "class_accuracy", "class_iou")}
    assert second["values"].keys() - first["values"].keys() == extra
    assert {k: v for k, v in second["values"].items() if k not in extra} == first["values"]
    _, metadata = load_scorer(tmp_path / "scorers" / f"{other}.safetensors")
    assert second["settings"]["other_scorers"] == {"seed-1": metadata["sha256"]}
    assert metadata["sha256"] != second["settings"]["fcn"]["weights_sha256"]
    # What is scored by one scorer is scored again, not trained, when the profile names another.
    added = dataclasses.replace(both, out=alone.out)
    assert state(alone).word == state(both).word == "done" and state(added).word == "to score"
    model, _ = load_scorer(tmp_path / "scorers" / f"{other}.safetensors")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_scorer(tmp_path / "scorers" / f"{other}.safetensors", model, {}, ["road", "sky"], {})
    assert state(both).word == "to score", "by other weights than those on the disk"


def test_a_file_of_another_data_set_is_refused(data, tmp_path):
    scorer_of(work_of(job_of(data, tmp_path)))
    path = tmp_path / "scorers" / f"{ref(data)}.safetensors"
    model, metadata = load_scorer(path)
    save_scorer(path, model, {}, ["road", "sky"], metadata["source"] | {"dataset": "facades"})
    with pytest.raises(UserError, match="dataset facades, not streets"):
        scorer_of(work_of(job_of(data, tmp_path)))


def test_a_failed_training_says_why_in_its_own_journal(data, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.run.scoring.hold_out", lambda labels: np.arange(20))
    with pytest.raises(UserError):
        scorer_of(work_of(job_of(data, tmp_path)))
    failed = last(Journal(tmp_path / "scorers" / ref(data)).records(), "failed")
    assert failed["error"] == "training the scorer: no pixel is labelled"


def test_the_scorer_has_one_mlflow_run_with_curves_and_the_ceiling_by_class(
    data, tmp_path: Path, store: Path
) -> None:
    out = tmp_path / "runs"
    job = job_of(data, out)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=ref(data), dataset="streets")
    key = ("patch_size", "streets", "quick")
    with pytest.raises(Interrupted):
        run(job, cut_at(7), Stop())
    mirror(out)
    begun = read_suite(*key).scorer
    assert begun is not None and begun.status == "running" and begun.scores == {}
    run(job, unheard, Stop())
    mirror(out)
    mirror(out)

    runs = read_suite(*key)
    scorer, truth = runs.scorer, runs.ground_truth
    assert scorer is not None and truth is not None
    assert scorer.run_id == begun.run_id and scorer.status == truth.status == "done"
    # The real photos' own scores are recorded once, and shown by both.
    journals = [out / folder / ref(data) for folder in ("references", "scorers")]
    assert [events(folder).count("scores") for folder in journals] == [1, 0]
    fcn = {name: value for name, value in truth.scores.items() if name.startswith("fcn.")}
    assert scorer.scores == fcn and len(fcn) == 3
    assert truth.curves().empty

    curves = scorer.curves().set_index(["term", "step"])["value"]
    assert curves.index.is_unique
    assert list(curves["scorer"].index) == list(range(1, 13))
    assert list(curves["validation/class_iou"].index) == [4, 8, 12]
    assert scorer.params["scorer.width"] == "2" and scorer.params["size"] == "[32, 32]"
    assert scorer.cost["batches"] == 12 and scorer.cost["kept_batch"] in (4, 8, 12)
    assert scorer.cost["scorer_parameters"] > 0

    with np.load(out / "references" / ref(data) / "per_image.npz") as arrays:
        confusion = arrays["confusion"].sum(0)
    accuracy, iou = per_class(confusion)
    table = scorer.json_artifact("per_class.json")
    assert table["columns"] == ["class", "share of pixels", "accuracy", "IoU"]
    assert [row[0] for row in table["data"]] == ["road", "sky"]
    shares = confusion.sum(1) / confusion.sum()
    for row, *expected in zip(table["data"], shares, accuracy, iou, strict=True):
        assert row[1:] == pytest.approx(expected, abs=1e-12)
    assert scores(confusion)["class_iou"] == fcn["fcn.class_iou"]
    assert truth.json_artifact("per_class.json") == table
    tags = open_store().client.get_run(scorer.run_id).data.tags
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [
        {"path": "per_class.json", "type": "table"}
    ]


def test_a_cell_trained_in_batches_is_also_tested_in_batches(data, tmp_path):
    job = job_of(data, tmp_path, "cell")
    training = TrainingSettings(steps=2, batch=2)
    job = dataclasses.replace(job, config=job.config.model_copy(update={"training": training}))
    run(job, unheard, Stop())
    sheet = read_json(job.directory / "scores.json")
    usual = {name for name in sheet["values"] if "/" not in name}
    assert {f"{name}/batch-2" for name in usual} == sheet["values"].keys() - usual
    assert sheet["values"]["pixel.l1"] != sheet["values"]["pixel.l1/batch-2"]
    assert state(job).word == "done"
    folder = job.directory / "translations-batched"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "0.png").unlink()
    (job.directory / "scores.json").unlink()
    run(job, unheard, Stop())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    sheet["settings"].pop("test_batches")
    write_json(job.directory / "scores.json", sheet)
    Journal(job.directory).append("scores", values={}, not_measured={})
    Journal(job.directory).append("done", seconds=1.0)
    assert state(job).word == "to score", "scored before there were batches"


def test_painted_labels_are_also_scored_at_the_size_of_the_data_sets_own(data, tmp_path):
    source, _ = data
    config = shared(data) | {"direction": "photo->labels", "size": (SIDE // 2, SIDE // 2)}
    entry = find_entry(load_registry(Path(source.registry)), "streets")
    paired = prepare(entry, Path(source.root), config["size"], None, Path(source.cache))
    config["fingerprint"] = paired.fingerprint
    reference = ReferenceConfig(scorer=None, **config)
    patch = DiscriminatorSettings(patch=1, width=4)
    cell = CellConfig(seed=1, discriminator=patch, training=TrainingSettings(steps=1), **config)
    job = Job(cell, "cell", str(tmp_path), source, reference.digest, None)
    run(job, unheard, Stop())
    values = read_json(job.directory / "scores.json")["values"]
    right = count = 0
    palette = np.array([[128, 64, 128], [70, 130, 180]])
    for index in range(3):
        labels = np.asarray(Image.open(f"{source.root}/streets/labels/test/{index}.png"))
        painted = np.asarray(Image.open(job.directory / "translations" / f"{index}.png"))
        far = ((painted[:, :, None].astype(int) - palette) ** 2).sum(-1)
        enlarged = far.argmin(-1).repeat(2, 0).repeat(2, 1)
        right, count = right + (enlarged == labels).sum(), count + labels.size
    assert values["labels.pixel_accuracy/full-size"] == pytest.approx(right / count)
    assert {n for n in values if "/" in n} == {
        f"labels.{n}/full-size" for n in ("pixel_accuracy", "class_accuracy", "class_iou")
    }
