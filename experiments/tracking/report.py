"""Hangs a written report on its suite's parent run, with its picture in the run's description."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from experiments.tracking import store as tracking_store
from experiments.tracking.address import tracking_uri
from experiments.tracking.notes import suite_note
from experiments.tracking.reader import read_suite
from experiments.tracking.store import store_errors

ARTIFACTS = "report"
PAGE = "index.html"
PICTURE = "arms_by_inputs.png"
SMALL_PICTURE = "arms_by_inputs_small.png"
VERDICTS = "verdicts.csv"
DESCRIPTION_WIDTH = 800
"""Pixels. A description has no way to scale a picture, and its column is about so wide."""


@store_errors()
def attach_report(suite: str, dataset: str, profile: str, folder: Path) -> bool:
    """Log a report's files as artifacts of the parent run; False where the store has no such run.

    Raises StoreError where the store is away or locked, UserError where the run holds no record.
    """
    uri = tracking_uri()
    with tracking_store.writing(uri):
        store = tracking_store.open_store(uri)
        experiment_id = store.experiment(suite)
        key = {"suite": suite, "dataset": dataset, "profile": profile, "role": "suite"}
        parent = next(iter(store.runs(experiment_id, key)), None) if experiment_id else None
        if parent is None:
            return False
        run_id = parent.info.run_id
        store.client.log_artifacts(run_id, str(folder), ARTIFACTS)
        note = suite_note(
            read_suite(suite, dataset, profile).record,
            _verdicts(folder / VERDICTS),
            f"{ARTIFACTS}/{PAGE}",
            _picture(store, run_id, folder / PICTURE),
        )
        store.client.set_tag(run_id, "mlflow.note.content", note)
        return True


def _verdicts(path: Path) -> dict[str, str]:
    """{claim: its verdict} of a report; empty where the suite claims nothing."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["claim"]: row["verdict"] for row in csv.DictReader(file)}


def _picture(store: tracking_store.Store, run_id: str, path: Path) -> str | None:
    """Log a picture that fits a description; its address, or None where the report has none.

    The address is the one that MLflow's own pages ask for, so it shows wherever they are served.
    """
    if not path.is_file():
        return None
    with Image.open(path, formats=("PNG",)) as image:
        small = image.convert("RGB")
    if small.width > DESCRIPTION_WIDTH:
        height = max(1, round(small.height * DESCRIPTION_WIDTH / small.width))
        small = small.resize((DESCRIPTION_WIDTH, height), Image.Resampling.LANCZOS)
    with tempfile.TemporaryDirectory() as folder:
        small.save(Path(folder, SMALL_PICTURE), optimize=True)
        store.client.log_artifact(run_id, str(Path(folder, SMALL_PICTURE)), ARTIFACTS)
    asked = quote(f"{ARTIFACTS}/{SMALL_PICTURE}", safe="")
    return f"get-artifact?path={asked}&run_uuid={run_id}"
