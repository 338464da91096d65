"""What MLflow's web interface shows of a suite's experiment: its question, and a ready table."""

from __future__ import annotations

import json
from typing import Any

from mlflow.entities import Experiment

from eval.metrics import METRICS
from experiments.record import SuiteRecord
from experiments.tracking.notes import experiment_note

VIEW_NAME = "Scores by arm and seed"
VIEW_KEY = "scores"
"""In the address: `…/runs?viewStateShareKey=scores`."""


def experiment_tags(experiment: Experiment, record: SuiteRecord) -> dict[str, str]:
    """The description and the saved view that an experiment lacks; what a user changed stays."""
    tags = {"mlflow.note.content": experiment_note(record)}
    scores = headline_scores(record)
    if scores:
        created = experiment.creation_time or 0
        view = {"name": VIEW_NAME, "createdAt": created, "updatedAt": created}
        view["state"] = json.dumps(_table(scores))
        tags[f"mlflow.sharedViewState.{VIEW_KEY}"] = json.dumps(view)
    return {key: value for key, value in tags.items() if key not in experiment.tags}


def headline_scores(record: SuiteRecord) -> list[str]:
    """The scores that the paper has numbers of or makes claims on, the first claim's first."""
    claimed = [claim.rpartition(" on ")[2] for claim in record.claims]
    rows = record.published_rows.values()
    printed = [score for row in rows for score in row]
    return [score for score in dict.fromkeys([*claimed, *printed]) if score in METRICS]


def _table(scores: list[str]) -> dict[str, Any]:
    """The runs of arms as one flat table, the best in the first score on top.

    The fields that MLflow 3 keeps of a view which is saved by hand (its menu Views); those that are
    not named here are as in a new table.
    """
    columns = ["tags.`dataset`", "tags.`profile`", "tags.`arm`", "tags.`seed`"]
    columns += [f"metrics.`{score}`" for score in scores]
    return {
        "searchFilter": 'tags.role = "cell" and tags.current = "yes"',
        "orderByKey": f"metrics.`{scores[0]}`",
        "orderByAsc": METRICS[scores[0]].better == "lower",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
    }
