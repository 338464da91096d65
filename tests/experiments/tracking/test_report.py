"""Descriptions, the saved table and the attached report, in a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path

import recorded_runs as recorded
from PIL import Image

from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from experiments.tracking.report import attach_report
from experiments.tracking.store import open_store

KEY = ("patch_size", "procedural", "quick")
SCORES = {"lpips": 0.3}


def test_an_attached_report_is_in_the_description(tmp_path: Path, store: Path) -> None:
    out, report = tmp_path / "runs", tmp_path / "report"
    recorded.cell(out, "aaa", 1, SCORES)
    claims = ["70x70 > 1x1 on lpips", "a, b > c on lpips"]
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None, claims=claims)
    mirror(out)
    report.mkdir()
    (report / "index.html").write_text("<p>")
    (report / "verdicts.csv").write_text(
        f'claim,verdict,n\n{claims[0]},undecided,1\n"{claims[1]}",reproduced,5\n'
    )
    Image.new("RGB", (1600, 400)).save(report / "arms_by_inputs.png")
    for _ in range(2):  # the second time nothing is added twice
        attach_report(read_suite(*KEY).record, report)
    opened = open_store()
    (parent,) = opened.runs(opened.experiment("patch_size"), {"role": "suite"})
    note = parent.data.tags["mlflow.note.content"]
    assert note.count("**1 undecided, 1 reproduced** of 2 claims.") == 1
    assert note.count(f"- {claims[0]}: **undecided**") == 1
    assert note.index("get-artifact?path=report%2Farms_by_inputs_small.png") < note.index("| arm |")
    names = {file.path for file in opened.client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/index.html", "report/arms_by_inputs_small.png"} <= names
    folder = store.parent / "mlruns" / "patch_size" / parent.info.run_id / "artifacts" / "report"
    with Image.open(folder / "arms_by_inputs_small.png") as small:
        assert small.size == (800, 200)


def test_an_experiment_has_its_question_and_a_ready_table(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    cells = [("70x70", 1, "aaa")]
    recorded.suite_record(out, cells, reference=None, claims=["70x70 < 1x1 on lpips"])
    mirror(out)
    client = open_store().client
    experiment = client.get_experiment(open_store().experiment("patch_size"))
    assert "receptive field" in experiment.tags["mlflow.note.content"]
    view = json.loads(experiment.tags["mlflow.sharedViewState.scores"])
    table = json.loads(view["state"])
    assert (table["orderByKey"], table["orderByAsc"]) == ("metrics.`lpips`", True)
    assert "metrics.`lpips`" in table["selectedColumns"]
    found = client.search_runs([experiment.experiment_id], table["searchFilter"])
    assert [run.info.run_name for run in found] == ["70x70 seed 1"]
    for key, value in (("arm", "70x70"), ("seed", "1"), ("profile", "quick")):
        asked = f'tags.{key} = "{value}" and tags.role = "cell"'
        assert len(client.search_runs([experiment.experiment_id], asked)) == 1
    # A description that a user wrote stays, also when the record changes.
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine")
    recorded.suite_record(out, cells, reference=None, claims=[])
    mirror(out)
    again = client.get_experiment(experiment.experiment_id)
    assert again.tags["mlflow.note.content"] == "mine"
