"""The scorer's section, from a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import recorded_runs as recorded

from eval import bootstrap
from experiments.run.journal import Journal, write_json
from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from reports.analysis import Analysis
from reports.analysis.runs import image_distances
from reports.pages.scorer import (
    batches_section,
    full_size_section,
    other_scorers_section,
    scorer_section,
)
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


def test_other_scorers_show_whether_a_claim_keeps_its_word(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    names = ("fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou")
    cells = []
    for arm, level in (("70x70", 0.6), ("1x1", 0.4)):
        for seed in range(1, 6):
            value = level + 0.01 * seed * (1 if arm == "70x70" else 0.9)
            # This scorer turns the order round; its values are far from the first one's.
            values = dict.fromkeys(names, value) | {f"{n}/scratch": 1 - value for n in names}
            cells.append((arm, seed, f"{arm}-{seed}"))
            recorded.cell(out, f"{arm}-{seed}", seed, values)
    recorded.reference(out, "ref", dict.fromkeys(names, 0.9) | {f"{n}/scratch": 0.8 for n in names})
    claims = ["70x70 > 1x1 on fcn.class_iou", "70x70 > 1x1 on lpips"]
    recorded.suite_record(out, cells, reference="ref", claims=claims)
    mirror(out)
    analysis = Analysis(read_suite(*KEY))
    section = other_scorers_section(analysis)
    assert section.head == ["claim", "first scorer", "scratch", "over scorers", "over seeds"]
    claim, first, scratch, over_scorers, over_seeds = section.rows[0]
    assert claim.startswith("70x70 > 1x1 on FCN class IoU") and len(section.rows) == 1
    assert (first, scratch) == ("+0.203 reproduced", "−0.203 contradicted")
    assert over_scorers == f"{np.std([0.203, -0.203], ddof=1):.3f}"
    assert over_seeds == f"{np.std([0.001 * s for s in range(1, 6)], ddof=1):.3f}"
    assert section.lines[0] == "0 of 1 claims keep their word under every scorer"
    assert "first scorer 0.900/0.900/0.900; scratch 0.800/0.800/0.800" in section.lines[1]
    table = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert "−0.203 contradicted" in table
    assert "/scratch" not in table.split("Other scorers")[0], "no column of the main table"


def test_scores_in_batches_stand_beside_those_of_single_images(tmp_path, store):
    out = tmp_path / "runs"
    names = ("fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou")
    single = dict.fromkeys(names, 0.5) | {"color.L": 0.4}
    batched = {f"{name}/batch-10": value + 0.1 for name, value in single.items()}
    recorded.cell(out, "aaa", 1, single | batched)
    recorded.cell(out, "bbb", 1, single)
    recorded.reference(out, "ref", dict.fromkeys(names, 0.9))
    recorded.suite_record(out, [("70x70", 1, "aaa"), ("1x1", 1, "bbb")], reference="ref")
    mirror(out)
    section = batches_section(Analysis(read_suite(*KEY)))
    assert section.rows[0][:4] == ["70x70", *["0.600 (+0.100)"] * 3]
    assert "0.500 (+0.100)" in section.rows[0], "every score, not the scorer's alone"
    assert len(section.rows) == 1, "the other arm was trained at batch 1"
    assert other_scorers_section(Analysis(read_suite(*KEY))) is None, "no other scorer"
    table = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert "in batches of 10, as they were trained" in table


def test_labels_at_their_own_size_have_a_section(tmp_path, store):
    out, names = tmp_path / "runs", ("pixel_accuracy", "class_accuracy", "class_iou")
    usual = {f"labels.{name}": 0.5 for name in names}
    full = {f"labels.{name}/full-size": 0.4 for name in names}
    recorded.cell(out, "aaa", 1, usual | full | {"lpips": 0.3})
    recorded.suite_record(
        out,
        [("70x70", 1, "aaa")],
        reference=None,
        direction="photo->labels",
        scores=["labels", "lpips"],
    )
    mirror(out)
    analysis = Analysis(read_suite(*KEY))
    section = full_size_section(analysis)
    assert section.rows == [["70x70", *["0.400 (−0.100)"] * 3]]
    assert other_scorers_section(analysis) is None and batches_section(analysis) is None
    table = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert "## At the labels' own size" in table


def test_intervals_over_films_say_that_clips_are_drawn_whole(tmp_path, store):
    out = tmp_path / "runs"
    directory = recorded.cell(out, "aaa", 1, {"fcn.class_iou": 0.5})
    sheet = json.loads((directory / "scores.json").read_text())
    sheet["intervals_over_images"] = {"fcn.class_iou": [0.4, 0.6]}
    sheet["settings"]["bootstrap"] = bootstrap.settings(233, 3)
    write_json(directory / "scores.json", sheet)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    section = image_distances(read_suite(*KEY))
    assert section.rows == [["70x70", "−0.100/+0.100"]]
    said = "It draws 3 clips of test images, each drawn whole, since frames of one film are alike."
    assert section.text.endswith(said)
