"""What MLflow holds about a suite, as plain records: all that the reports know."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.plan import SuiteKey
from experiments.record import SuiteRecord, parse_record
from experiments.tracking import store as tracking_store
from experiments.tracking.store import (
    GROUND_TRUTH,
    SCORER,
    Run,
    Store,
    StoreError,
    first_line,
    store_errors,
)
from pix2pix.common.errors import UserError

__all__ = [
    "GROUND_TRUTH",
    "RunRecord",
    "StoreError",
    "SuiteRuns",
    "first_line",
    "list_suites",
    "read_suite",
]

CURVES = ("losses/", "validation/", "seconds_per_step", "learning_rate")
STATUS = {"FINISHED": "done", "FAILED": "failed"}
NOT_SCORES = (*CURVES, "cost.")


@dataclass(frozen=True)
class RunRecord:
    """An arm × seed, or the ground truth (seed None), as MLflow holds it.

    Every method raises StoreError where the store is away or locked.
    """

    arm: str
    seed: int | None
    digest: str
    status: str
    """done, failed, running (begun, not at its end) or missing (MLflow has no such run)."""
    params: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    """{score: why, and how to get it}."""
    image_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """{score: (low, high)}, 95 % over test images: of this one model, and not over seeds. Empty
    for runs that were scored before there were any."""
    cost: dict[str, float] = field(default_factory=dict)
    """training_seconds, seconds, peak_memory_mib, generator_parameters, …"""
    provenance: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    splits: dict[str, int] = field(default_factory=dict)
    """{split: pairs}"""
    error: str | None = None
    remark: str | None = None
    """Why a run that came to its end counts as running."""
    run_id: str | None = None
    _store: Store | None = None
    _artifacts: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end and scored."""
        return self.status == "done"

    @store_errors()
    def curves(self) -> pd.DataFrame:
        """step, term, value: the training losses, `seconds_per_step`, `learning_rate`; of a
        scorer also `validation/class_iou` and the like."""
        rows: list[tuple[int, str, float]] = []
        if self._store and self.run_id:
            client = self._store.client
            for name in client.get_run(self.run_id).data.metrics:
                if name.startswith(CURVES):
                    history = client.get_metric_history(self.run_id, name)
                    term = name.removeprefix("losses/")
                    rows += [(point.step, term, point.value) for point in history]
        frame = pd.DataFrame(sorted(rows), columns=["step", "term", "value"])
        return frame.astype({"step": "int64", "value": "float64"})

    @store_errors()
    def artifacts(self, folder: str) -> tuple[str, ...]:
        """The names of the files in an artifact folder, sorted; empty where there is none."""
        if not (self._store and self.run_id):
            return ()
        if self._artifacts and self._artifacts.is_dir():
            return tuple(sorted(file.name for file in (self._artifacts / folder).glob("*.*")))
        found = self._store.client.list_artifacts(self.run_id, folder)
        return tuple(sorted(Path(file.path).name for file in found if not file.is_dir))

    @store_errors()
    def artifact(self, path: str) -> Path | None:
        """An artifact as a local file, downloaded on demand; None where the run has none."""
        if not (self._store and self.run_id):
            return None
        # A store that was moved still names its old place, so look beside the database first.
        if self._artifacts and (self._artifacts / path).is_file():
            return self._artifacts / path
        folder, _, _ = path.rpartition("/")
        listed = self._store.client.list_artifacts(self.run_id, folder or None)
        if path not in {file.path for file in listed}:
            return None
        return Path(self._store.client.download_artifacts(self.run_id, path))

    def json_artifact(self, name: str) -> Any:
        """A JSON artifact, or None where the run has none; StoreError where it is damaged."""
        path = self.artifact(name)
        try:
            return None if path is None else json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{path}: not JSON: {first_line(error)}") from error


@dataclass(frozen=True)
class SuiteRuns:
    """A suite on one data set in one profile."""

    record: SuiteRecord
    runs: tuple[RunRecord, ...]
    """One for every cell of the record, in its order, also where MLflow has none."""
    ground_truth: RunRecord | None
    """None where the suite has no reference."""
    uri: str
    scorer: RunRecord | None = None
    """The training of the FCN-8s that scored them; None where none was trained."""
    left_out: tuple[RunRecord, ...] = ()
    """Runs of this name that the record does not hold: of earlier settings or data."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that were asked for, in the suite's order: those with a cell in the record."""
        asked = {run.arm for run in self.runs}
        return tuple(arm.name for arm in self.record.arms if arm.name in asked)

    @property
    def not_asked(self) -> tuple[str, ...]:
        """The suite's other arms: `--arms` left them out, so they are not missing."""
        arms = self.arms
        return tuple(arm.name for arm in self.record.arms if arm.name not in arms)

    def of_arm(self, arm: str) -> tuple[RunRecord, ...]:
        """The runs of one arm, by seed."""
        return tuple(run for run in self.runs if run.arm == arm)


@store_errors()
def list_suites() -> list[SuiteKey]:
    """The keys of everything recorded.

    Raises UserError where there is no store, StoreError where it is away or locked.
    """
    store = tracking_store.open_store()
    found = set()
    for experiment_id in store.experiments().values():
        for run in store.runs(experiment_id, {"role": "suite"}):
            tags = run.data.tags
            found.add(SuiteKey(tags["suite"], tags["dataset"], tags["profile"]))
    return sorted(found)


@store_errors()
def read_suite(suite: str, dataset: str, profile: str) -> SuiteRuns:
    """One suite's runs. For each arm and seed only the run with the recorded digest counts.

    Raises UserError, naming what there is, where the store holds no such suite, and StoreError
    where it is away or locked.
    """
    store = tracking_store.open_store()
    experiment_id = store.experiment(suite)
    if experiment_id is None:
        raise UserError(_unknown(store, suite))
    key = {"suite": suite, "dataset": dataset, "profile": profile}
    runs = list(store.runs(experiment_id, key))
    parent = next((run for run in runs if run.data.tags.get("role") == "suite"), None)
    path = None
    if parent is not None:
        path = _record(store, suite, parent, "", None, "").artifact("suite.json")
    if path is None:
        there = [f"{k.dataset} ({k.variant})" for k in list_suites() if k.suite == suite]
        named = ", ".join(there) or "nothing"
        raise UserError(f"suite {suite}: no runs on {dataset} ({profile}); recorded: {named}")
    try:
        record = parse_record(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"suite {suite} on {dataset} ({profile}): its record in MLflow, {path}: {error}; run "
            "the suite again with --report-only to write it anew"
        ) from None
    cells = tuple(
        _find(store, suite, runs, cell.arm, cell.seed, cell.digest) for cell in record.cells
    )
    reference = record.reference
    truth = _find(store, suite, runs, GROUND_TRUTH, None, reference) if reference else None
    scorer = _find(store, suite, runs, SCORER, None, reference) if reference else None
    trained = scorer if scorer and scorer.run_id else None
    held = {run.digest for run in cells}
    others = tuple(
        _record(store, suite, run, *_cell_of(run.data.tags))
        for run in runs
        if run.data.tags.get("role") == "cell" and run.data.tags.get("digest") not in held
    )
    others = tuple(sorted(others, key=lambda run: (run.arm, run.seed or 0, run.digest)))
    return SuiteRuns(record, cells, truth, store.uri, trained, others)


def _cell_of(tags: dict[str, str]) -> tuple[str, int | None, str]:
    seed = tags.get("seed", "")
    return tags.get("arm", "?"), int(seed) if seed.isdigit() else None, tags.get("digest", "?")


def _unknown(store: Store, suite: str) -> str:
    names = sorted(key.suite for key in list_suites())
    if not names:
        return f"{store.uri}: holds no suite; run one first"
    close = get_close_matches(suite, names, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"suite {suite}: nothing recorded; there are {', '.join(dict.fromkeys(names))}{hint}"


def _find(
    store: Store, suite: str, runs: list[Run], arm: str, seed: int | None, digest: str
) -> RunRecord:
    wanted = (arm, "" if seed is None else str(seed), digest)
    matches = [
        run
        for run in runs
        if tuple(run.data.tags.get(tag) for tag in ("arm", "seed", "digest")) == wanted
    ]
    if not matches:
        return RunRecord(arm, seed, digest, "missing")
    run = next((run for run in matches if run.info.status == "FINISHED"), matches[0])
    return _record(store, suite, run, arm, seed, digest)


def _record(
    store: Store, suite: str, run: Run, arm: str, seed: int | None, digest: str
) -> RunRecord:
    tags, metrics = run.data.tags, run.data.metrics
    reasons = _below("not_measured.", tags)
    # MLflow cannot forget a value; one that the newest scores have a reason not to hold is gone.
    unwanted = (*NOT_SCORES, *reasons)
    values = {name: v for name, v in metrics.items() if not name.startswith(unwanted)}
    scores = {name: v for name, v in values.items() if math.isfinite(v)}
    reasons |= {
        name: f"the recorded value is {v}" for name, v in values.items() if name not in scores
    }
    return RunRecord(
        arm=arm,
        seed=seed,
        digest=digest,
        status=STATUS.get(run.info.status, "running"),
        params=dict(run.data.params),
        scores=scores,
        not_measured=reasons,
        image_intervals={
            name: (low, high)
            for name, pair in _below("image_interval.", tags).items()
            for low, high in [json.loads(pair)]
            if name in scores and math.isfinite(low) and math.isfinite(high)
        },
        cost=_below("cost.", metrics),
        provenance=_below("provenance.", tags),
        fingerprint=tags.get("fingerprint"),
        splits={k: int(v) for k, v in _below("data.", tags).items() if v.isdigit()},
        error=tags.get("error"),
        remark=tags.get("remark"),
        run_id=run.info.run_id,
        _store=store,
        _artifacts=store.artifacts / suite / run.info.run_id / "artifacts"
        if store.artifacts
        else None,
    )


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): v for key, v in values.items() if key.startswith(prefix)}
