"""What must not be averaged over, said in words: data versions, settings, arms, older stores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow import MlflowClient
from suites import PIXEL, arms, run, suite

from experiments.tracking.mirror import mirror
from experiments.tracking.reader import SuiteRuns, read_suite
from pix2pix.common.errors import UserError
from reports.analysis.consistency import consistent
from reports.analysis.earlier import left_out
from reports.analysis.runs import entry, read
from reports.analysis.verdicts import verdicts
from reports.pages.notes import gaps, not_asked
from reports.write import write_report

KEY = ("patch_size", "procedural", "quick")
SCORES = {PIXEL: 0.8, "pixel.psnr": 15.0}


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_runs_of_another_data_version_are_no_part_of_a_mean() -> None:
    old, new = "0123456789abcdef", "fedcba9876543210"
    runs = suite(
        run("a", 1, 0.8, fingerprint=new),
        run("a", 2, 0.2, fingerprint=old),
        fingerprint=new,
    )
    checked = consistent(runs)
    assert entry(checked.of_arm("a"), PIXEL).interval.mean == 0.8
    assert gaps(checked)[0] == (
        "left out, of another data version (fingerprint 0123456789ab…, not fedcba987654…): a seed 2"
    )
    truth = replace(runs.ground_truth, fingerprint=old)
    checked = consistent(replace(runs, ground_truth=truth))
    assert checked.ground_truth.status == "running"
    assert "left out, of another data version (fingerprint" in gaps(checked)[-1]
    assert gaps(checked)[-1].endswith(": the ground-truth row")


def test_seeds_of_mixed_settings_have_no_mean() -> None:
    params = {"training.steps": "400", "training.batch": "1", "seed": "1"}
    runs = suite(
        run("a", 1, 0.8, params=params),
        run("a", 2, 0.6, params=params | {"training.steps": "800", "seed": "2"}),
        run("b", 1, 0.7, params=params),
    )
    checked = consistent(runs)
    assert entry(checked.of_arm("a"), PIXEL).interval is None
    assert entry(checked.of_arm("b"), PIXEL).interval.mean == 0.7
    assert "left out, of mixed settings (training.steps is 400 or 800): a seeds 1, 2" in gaps(
        checked
    )


def test_a_precision_that_an_earlier_version_did_not_record_is_float32() -> None:
    params = {"training.steps": "400"}
    told = params | {"training.precision": "float32"}
    runs = suite(run("a", 1, 0.8, params=params), run("a", 2, 0.6, params=told))
    assert entry(consistent(runs).of_arm("a"), PIXEL).interval.mean == 0.7
    low = params | {"training.precision": "bfloat16"}
    for other in ("a", "b"):
        runs = suite(run("a", 1, 0.8, params=params), run(other, 2, 0.6, params=low))
        assert "of mixed settings (training.precision is " in gaps(consistent(runs))[0]


def test_an_arm_may_differ_only_in_what_it_changes() -> None:
    params = {"training.batch": "1", "size": "[16, 16]", "objective.l1": "100.0"}
    other = params | {"training.batch": "10", "objective.l1": "0.0"}
    runs = suite(
        run("a", 1, 0.8, params=params), run("b", 1, 0.8, params=params),
        run("c", 1, 0.7, params=other),
    )  # fmt: skip
    assert gaps(consistent(runs))[0] == (
        "left out, of mixed settings (training.batch is 10, in the other arms 1): c seed 1"
    )


def test_where_one_arm_stands_against_one_nobody_can_say_which_was_meant() -> None:
    params = {"training.batch": "1"}
    runs = suite(
        run("a", 1, 0.8, params=params),
        run("b", 1, 0.7, params={"training.batch": "10"}),
        claims=[f"a > b on {PIXEL}"],
    )
    checked = consistent(runs)
    assert gaps(checked)[0] == (
        "left out, of mixed settings (training.batch is 1 in a, 10 in b: nobody can say which was "
        "meant): a seed 1, b seed 1"
    )
    assert entry(checked.of_arm("a"), PIXEL).state == "left out"
    (verdict,) = verdicts(checked)
    assert verdict.detail.startswith("a is left out (of mixed settings (training.batch is 1 in a")
    assert verdict.advice.startswith("train again what was left out")


def test_runs_that_are_left_out_are_not_called_running(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None, fingerprint="f" * 64)
    mirror(out)
    with pytest.raises(UserError, match=r"no finished cell: 70x70 seed 1 left out$"):
        write_report(*KEY, tmp_path / "out")
    page = (tmp_path / "out" / "procedural-quick" / "patch_size" / "table.md").read_text("utf-8")
    assert "left out, of another data version (fingerprint ab12ab12ab12…, not ffff" in page
    assert "missing: 70x70" not in page and "begun" not in page


def test_a_value_that_is_no_number_is_not_measured(tmp_path: Path, store: Path) -> None:
    """As of a run whose score MLflow holds as not a number."""
    out = tmp_path / "runs"
    for seed, value in ((1, 0.9), (2, 0.7), (3, 0.8)):
        recorded.cell(out, f"d{seed}", seed, {PIXEL: value, "pixel.psnr": 15.0})
    cells = [("70x70", seed, f"d{seed}") for seed in (1, 2, 3)]
    recorded.suite_record(out, cells, reference=None)
    mirror(out)
    damaged = next(run for run in read(*KEY).runs if run.seed == 1)
    MlflowClient(f"sqlite:///{store}").log_metric(damaged.run_id, PIXEL, float("nan"), step=9)
    runs = read(*KEY)
    measured = entry(runs.of_arm("70x70"), PIXEL)
    assert (measured.interval.n, measured.interval.mean) == (2, pytest.approx(0.75))
    told = "FCN per-pixel acc.: not measured: the value that is recorded is nan"
    page = (write_report(*KEY, tmp_path / "out") / "table.md").read_text(encoding="utf-8")
    assert f"- {told}." in page and "0.750 ± 0.635 (n = 2)" in page


def test_arms_that_nobody_asked_for_are_not_missing(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    names = [{"name": arm, "changes": {}} for arm in ("70x70", "1x1")]
    claims = [f"70x70 > 1x1 on {PIXEL}"]
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None, arms=names, claims=claims)
    mirror(out)
    runs = read(*KEY)
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
    runs = read(*KEY)
    assert entry(runs.of_arm("70x70"), PIXEL).interval.mean == 0.8
    (told,) = left_out(runs)
    assert told.startswith("left out, recorded under the same name with ")
    assert "training.steps 400, not 800" in told and told.endswith(": 70x70 seeds 1, 2")
    other = replace(runs.left_out[0], fingerprint="0123456789abcdef")
    (told,) = left_out(replace(runs, left_out=(other,)))
    assert "with other data (fingerprint 0123456789ab…): 70x70 seed 1" in told


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
    assert consistent(runs) == runs
    assert left_out(runs) == [] and not_asked(runs) is None
    assert isinstance(runs, SuiteRuns)
