"""The scorer's section, from a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import recorded_runs as recorded

from experiments.run.journal import Journal, write_json
from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from reports.pages.scorer import scorer_section
from reports.write import write_report

KEY = ("patch_size", "procedural", "quick")
SCORES = {"fcn.pixel_accuracy": 0.9, "fcn.class_accuracy": 0.75, "fcn.class_iou": 0.6}


@pytest.fixture
def out(tmp_path: Path, store: Path) -> Path:
    """A finished cell, its reference with three classes, one of them absent, and the scorer."""
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    directory = recorded.reference(out, "ref", SCORES)
    with np.load(directory / "per_image.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept["confusion"] = np.array([[[3, 1, 0], [1, 15, 0], [0, 0, 0]]])
    np.savez(directory / "per_image.npz", **kept)
    sheet = json.loads((directory / "scores.json").read_text())
    sheet["settings"]["class_names"] = ["pole", "road", "fence"]
    write_json(directory / "scores.json", sheet)
    scorer = Journal(out / "scorers" / "ref")
    write_json(scorer.directory / "config.json", {"digest": "ref", "scorer": {"batches": 700}})
    scorer.append("start", provenance=recorded.PROVENANCE, step=0)
    scorer.append("trained", step=420, seconds=91.2, kept_step=385)
    scorer.append("done", seconds=91.2)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference="ref")
    return out


def test_classes_with_their_share_and_scores_and_how_it_was_trained(out, tmp_path):
    mirror(out)
    known = scorer_section(read_suite(*KEY))
    assert known.head == ["class", "share of pixels", "accuracy", "IoU"]
    assert known.rows == [
        ["pole", "0.200", "0.750", "0.600"],  # 3 of 4; 3 of 3 + 1 + 1
        ["road", "0.800", "0.938", "0.882"],
        ["fence", "0.000", "–", "–"],
    ]
    said = "Trained for 420 of at most 700 batches (the weights of batch 385 are kept) in 91 s;"
    assert said in known.text
    folder = write_report(*KEY, tmp_path / "out")
    for page in ("table.md", "index.html"):
        text = (folder / page).read_text(encoding="utf-8")
        assert said in text and "0.938" in text and "fence" in text


def test_without_an_fcn_score_there_is_no_section(out):
    directory = out / "references" / "ref"
    sheet = json.loads((directory / "scores.json").read_text())
    sheet["values"] = {"labels.class_iou": 1.0}
    write_json(directory / "scores.json", sheet)
    Journal(directory).append("scores", values=sheet["values"], not_measured={})
    Journal(directory).append("done", seconds=1.0)
    mirror(out)
    assert scorer_section(read_suite(*KEY)) is None
