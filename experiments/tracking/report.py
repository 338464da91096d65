"""What MLflow's web interface shows of a suite beside its runs: descriptions, table, report.

`experiment_tags`, `suite_note` and `run_note` give the mirror the descriptions, as Markdown, and a
saved view of the experiment. `attach_report` logs a written report to the suite's own run.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow.entities import Experiment
from PIL import Image

from eval.metrics import METRICS
from experiments.record import SuiteRecord
from experiments.spec import parse_claim
from experiments.tracking import store as tracking_store
from experiments.tracking.process import tracking_uri
from experiments.tracking.run import as_text
from experiments.tracking.store import SCORER, Store, store_errors

ARTIFACTS = "report"
PAGE = "index.html"
PICTURE = "arms_by_inputs.png"
SMALL_PICTURE = "arms_by_inputs_small.png"
VERDICTS = "verdicts.csv"
DESCRIPTION_WIDTH = 800
"""Pixels: about the width of a run's description, which cannot scale a picture."""
VIEW_NAME = "Scores by arm and seed"
VIEW_KEY = "scores"
"""In the address of the saved view: `…/runs?viewStateShareKey=scores`."""


@store_errors()
def attach_report(record: SuiteRecord, folder: Path) -> None:
    """Log a report's files as artifacts of the suite's own run, and its picture and verdicts in
    the description of that run. StoreError if the store is away or locked."""
    uri = tracking_uri()
    with tracking_store.writing(uri):
        store = tracking_store.open_store(uri)
        experiment_id = store.experiment(record.suite)
        assert experiment_id is not None
        key = {"suite": record.suite, "dataset": record.dataset, "profile": record.variant}
        run_id = store.runs(experiment_id, key | {"role": "suite"})[0].info.run_id
        store.client.log_artifacts(run_id, str(folder), ARTIFACTS)
        note = suite_note(
            record,
            _verdicts(folder / VERDICTS),
            f"{ARTIFACTS}/{PAGE}",
            _log_picture(store, run_id, folder / PICTURE),
        )
        store.client.set_tag(run_id, "mlflow.note.content", note)


def _verdicts(path: Path) -> dict[str, str]:
    """{claim: its verdict} of a report; empty if the suite makes no claims."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["claim"]: row["verdict"] for row in csv.DictReader(file)}


def _log_picture(store: Store, run_id: str, path: Path) -> str | None:
    """Log a report's picture at the width of a description; returns its address.

    None if the report has no picture. The address is relative, as MLflow's own pages use it, so
    it works wherever MLflow is served.
    """
    if not path.is_file():
        return None
    with Image.open(path, formats=("PNG",)) as image:
        small = image.convert("RGB")
    small.thumbnail((DESCRIPTION_WIDTH, small.height), Image.Resampling.LANCZOS)
    with tempfile.TemporaryDirectory() as folder:
        small.save(Path(folder, SMALL_PICTURE), optimize=True)
        store.client.log_artifact(run_id, str(Path(folder, SMALL_PICTURE)), ARTIFACTS)
    artifact = quote(f"{ARTIFACTS}/{SMALL_PICTURE}", safe="")
    return f"get-artifact?path={artifact}&run_uuid={run_id}"


def suite_note(
    record: SuiteRecord,
    verdicts: Mapping[str, str] | None = None,
    report: str | None = None,
    picture: str | None = None,
) -> str:
    """The description of a suite's own run: question, findings, data, arms, claims.

    Once a report is attached, `verdicts` is {claim: verdict}, `report` the artifact to open and
    `picture` the address of an image. Findings come first, because MLflow folds long descriptions.
    """
    verdicts = verdicts or {}
    lines = [f"## {record.title}", "", record.question, ""]
    if verdicts:
        counts = Counter(verdicts.values())
        summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        claims = "claim" if len(verdicts) == 1 else "claims"
        lines += [f"**{summary}** of {len(verdicts)} {claims}.", ""]
    if report:
        lines += [f"The whole report: tab *Artifacts*, `{report}`.", ""]
    if picture:
        lines += [f"![arms by inputs]({picture})", ""]
    facts = [f"data set {record.dataset}", record.direction, f"{record.variant} profile"]
    facts.append(f"{record.size[0]}×{record.size[1]} pixels")
    if record.steps:  # arms of different lengths have no common number
        facts.append(f"{record.steps} steps")
    lines += [", ".join(facts) + ".", "", "| arm | changes |", "|---|---|"]
    lines += [f"| {arm.name} | {_changes(arm.changes)} |" for arm in record.arms]
    if record.claims:
        lines += ["", "Claims:", ""]
        for claim in record.claims:
            verdict = verdicts.get(claim)
            lines.append(f"- {claim}: **{verdict}**" if verdict else f"- {claim}")
    return "\n".join(lines)


def run_note(arm: str, seed: int | None, record: SuiteRecord) -> str:
    """The description of a child run. The ground truth and the scorer have no seed."""
    if arm == SCORER and seed is None:
        return (
            "The FCN-8s that measures this suite's FCN-scores, trained on the real photos. "
            "`validation/…`: photos held out of its training; `fcn.…` and per_class.json: the real "
            "test photos, the ceiling of every arm."
        )
    if seed is None:
        return "The scores of the real photos: the ceiling of every arm."
    return f"Arm **{arm}**, seed {seed}: {_changes(record.changes.get(arm))}."


def _changes(changes: Mapping[str, Any] | None) -> str:
    """What an arm changes, as Markdown."""
    return ", ".join(f"`{k}` = {as_text(v)}" for k, v in (changes or {}).items()) or "the base"


def experiment_tags(experiment: Experiment, record: SuiteRecord) -> dict[str, str]:
    """The description and the saved view that an experiment lacks; a user's own are kept."""
    # MLflow's list of experiments shows no Markdown.
    end = "" if record.title.endswith(("?", ".", "!")) else "."
    tags = {"mlflow.note.content": f"{record.title}{end} {record.question}".strip()}
    scores = headline_scores(record)
    if scores:
        created = experiment.creation_time or 0
        view = {"name": VIEW_NAME, "createdAt": created, "updatedAt": created}
        view["state"] = json.dumps(_table(scores))
        tags[f"mlflow.sharedViewState.{VIEW_KEY}"] = json.dumps(view)
    return {name: value for name, value in tags.items() if name not in experiment.tags}


def headline_scores(record: SuiteRecord) -> list[str]:
    """The scores that the claims and the paper's numbers are about, the first claim's first."""
    claimed = [parse_claim(claim)[3] for claim in record.claims]
    printed = [score for row in record.published_rows.values() for score in row]
    return [score for score in dict.fromkeys([*claimed, *printed]) if score in METRICS]


def _table(scores: list[str]) -> dict[str, Any]:
    """The runs of all arms as one flat table, the best by the first score on top.

    These are the fields that MLflow 3 stores for a view that is saved by hand (menu Views); fields
    that are missing here are as in a new table.
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
