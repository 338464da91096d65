"""A server that did what it was asked, and whose answer was lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow.tracking import MlflowClient

from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from experiments.tracking.store import open_store

KEY = ("patch_size", "procedural", "quick")


def test_runs_made_twice_are_one_again_and_hold_everything(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, create = tmp_path / "runs", MlflowClient.create_run
    recorded.cell(out, "aaa", 1, {"pixel.l1": 0.1}, {})
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)

    def ask_again(self: MlflowClient, *arguments, **options):
        create(self, *arguments, **options)  # nobody hears of this one
        return create(self, *arguments, **options)

    monkeypatch.setattr(MlflowClient, "create_run", ask_again)
    mirror(out)
    opened = open_store(f"sqlite:///{store}")
    (experiment,) = [e for name, e in opened.experiments().items() if name == KEY[0]]
    runs = {run.data.tags["role"]: run for run in opened.runs(experiment, {})}
    assert len(list(opened.runs(experiment, {}))) == 2, "a suite's own run and its cell's"
    assert runs["cell"].data.tags["mlflow.parentRunId"] == runs["suite"].info.run_id
    (run,) = read_suite(*KEY).runs
    assert run.status == "done" and run.scores == {"pixel.l1": 0.1}
