"""What a report reads back: which runs count, and why others do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow import MlflowClient
from suites import PIXEL, arms, suite

from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from pix2pix.common.errors import UserError
from reports.analysis.runs import entry
from reports.pages.notes import earlier_runs, gaps, not_asked
from reports.write import write_report

KEY = ("patch_size", "procedural", "quick")
SCORES = {PIXEL: 0.8, "pixel.psnr": 15.0}


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_value_that_is_no_number_is_not_measured(tmp_path: Path, store: Path) -> None:
    """As of a run whose score MLflow holds as not a number."""
    out = tmp_path / "runs"
    for seed, value in ((1, 0.9), (2, 0.7), (3, 0.8)):
        recorded.cell(out, f"d{seed}", seed, {PIXEL: value, "pixel.psnr": 15.0})
    cells = [("70x70", seed, f"d{seed}") for seed in (1, 2, 3)]
    recorded.suite_record(out, cells, reference=None)
    mirror(out)
    damaged = next(run for run in read_suite(*KEY).runs if run.seed == 1)
    MlflowClient(f"sqlite:///{store}").log_metric(damaged.run_id, PIXEL, float("nan"), step=9)
    runs = read_suite(*KEY)
    measured = entry(runs.of_arm("70x70"), PIXEL)
    assert (measured.interval.n, measured.interval.mean) == (2, pytest.approx(0.75))
    told = "FCN per-pixel acc.: not measured: the recorded value is nan"
    page = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert f"- {told}." in page and "0.750 ± 0.635 (n = 2)" in page


def test_arms_that_nobody_asked_for_are_not_missing(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    names = [{"name": arm, "changes": {}} for arm in ("70x70", "1x1")]
    claims = [f"70x70 > 1x1 on {PIXEL}"]
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None, arms=names, claims=claims)
    mirror(out)
    runs = read_suite(*KEY)
    assert (runs.arms, runs.not_asked) == (("70x70",), ("1x1",))
    assert not any("1x1" in gap for gap in gaps(runs))
    page = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert "- not asked for: 1x1." in page
    assert "| 1x1 " not in page
    assert "undecided" not in page
    assert "not judged, their arms were not asked for: 70x70 > 1x1 on FCN per-pixel acc." in page
    html = (tmp_path / "out" / "procedural-quick" / "patch_size" / "index.html").read_text("utf-8")
    assert 'class="word' not in html and "not judged, their arms were not asked for: 70x70" in html


def test_earlier_runs_under_the_same_name_are_left_out_and_named(
    tmp_path: Path, store: Path
) -> None:
    out = tmp_path / "runs"
    for digest, seed in (("old1", 1), ("old2", 2)):
        recorded.cell(out, digest, seed, {PIXEL: 0.1})
    recorded.suite_record(out, [("70x70", 1, "old1"), ("70x70", 2, "old2")], reference=None)
    mirror(out)
    recorded.begin(out / "cells" / "new1", "new1", 1, training={"steps": 800, "batch": 1})
    journal = recorded.Journal(out / "cells" / "new1")
    recorded.finish_cell(journal, SCORES)
    recorded.suite_record(out, [("70x70", 1, "new1")], reference=None)
    mirror(out)
    runs = read_suite(*KEY)
    assert entry(runs.of_arm("70x70"), PIXEL).interval.mean == 0.8
    (told,) = earlier_runs(runs)
    assert told == (
        "left out, recorded under the same name with other settings or data: 70x70 seeds 1, 2"
    )


def test_a_record_without_cells_is_one_line(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    (artifact,) = store.parent.glob("mlruns/*/*/artifacts/suite.json")
    record = _json(artifact)
    del record["cells"]
    recorded.write_json(artifact, record)
    with pytest.raises(UserError, match=r"suite\.json: cells missing"):
        read_suite(*KEY)


def test_nothing_is_left_out_of_a_plain_suite() -> None:
    runs = suite(*arms({"a": [0.8, 0.9], "b": [0.7, 0.6]}))
    assert earlier_runs(runs) == [] and not_asked(runs) is None
