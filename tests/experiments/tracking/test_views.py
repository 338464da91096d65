"""The experiment as MLflow's web interface opens it."""

from __future__ import annotations

import json
from pathlib import Path

import recorded_runs as recorded

from experiments.tracking.mirror import mirror
from experiments.tracking.store import open_store

SCORES = {"lpips": 0.3}


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
