"""Hangs a written report on its suite's parent run, with its picture in the run's description."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from experiments import tracking_store
from experiments.tracking_address import tracking_uri
from experiments.tracking_store import store_errors

ARTIFACTS = "report"
PICTURE = "arms_by_inputs.png"
MARK = "\n\n---\n"
"""What follows in a description is the report's, and is replaced by the next one's."""


@store_errors()
def attach_report(suite: str, dataset: str, profile: str, folder: Path) -> bool:
    """Log a report's files as artifacts of the parent run; False where the store has no such run.

    Raises StoreError where the store is away or locked.
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
        note = parent.data.tags.get("mlflow.note.content", "").partition(MARK)[0]
        note += f"{MARK}Artifacts, `{ARTIFACTS}/index.html`: the whole report."
        if (folder / PICTURE).is_file():
            # As MLflow's own pages ask for an artifact, so that it shows wherever they are served.
            path = quote(f"{ARTIFACTS}/{PICTURE}", safe="")
            note += f"\n\n![arms by inputs](get-artifact?path={path}&run_uuid={run_id})"
        store.client.set_tag(run_id, "mlflow.note.content", note)
        return True
