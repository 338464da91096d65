"""What MLflow holds about a suite, as plain records: all that the reports know."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.plan import SuiteKey
from experiments.record import SuiteRecord, parse_record
from experiments.spec import GROUND_TRUTH
from experiments.tracking import store as tracking_store
from experiments.tracking.store import SCORER, Run, Store, StoreError, first_line, store_errors
from pix2pix.common.errors import UserError

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
        folder, _, name = path.rpartition("/")
        if not (self._store and self.run_id) or name not in self.artifacts(folder):
            return None
        # A store that was moved still names its old place, so look beside the database first.
        if self._artifacts and (self._artifacts / path).is_file():
            return self._artifacts / path
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
    key = {"suite": suite, "dataset": dataset, "profile": profile}
    found = store.runs(experiment_id, key) if experiment_id else []
    runs = [_record(store, suite, run) for run in found]
    parent = next((run for run in runs if not run.digest), None)
    path = parent.artifact("suite.json") if parent else None
    if path is None:
        there = [f"{k.suite} on {k.dataset} ({k.variant})" for k in list_suites()]
        named = ", ".join(there) or "nothing; run a suite first"
        raise UserError(f"suite {suite}: no runs on {dataset} ({profile}); recorded: {named}")
    try:
        record = parse_record(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"suite {suite} on {dataset} ({profile}): its record in MLflow, {path}: {error}; run "
            "the suite again with --report-only to write it anew"
        ) from None
    cells = tuple(_find(runs, cell.arm, cell.seed, cell.digest) for cell in record.cells)
    truth = scorer = None
    if record.reference:
        truth = _find(runs, GROUND_TRUTH, None, record.reference)
        scorer = _find(runs, SCORER, None, record.reference)
    held = {run.digest for run in cells}
    others = [run for run in runs if run.seed is not None and run.digest not in held]
    others.sort(key=lambda run: (run.arm, run.seed or 0, run.digest))
    trained = scorer if scorer and scorer.run_id else None
    return SuiteRuns(record, cells, truth, trained, tuple(others))


def _find(runs: list[RunRecord], arm: str, seed: int | None, digest: str) -> RunRecord:
    """The run of an arm with a seed, a finished one if there are several; `missing` if none."""
    same = [run for run in runs if (run.arm, run.seed, run.digest) == (arm, seed, digest)]
    finished = [run for run in same if run.finished]
    return (finished or same or [RunRecord(arm, seed, digest, "missing")])[0]


def _record(store: Store, suite: str, run: Run) -> RunRecord:
    tags, metrics = run.data.tags, run.data.metrics
    seed = tags.get("seed", "")
    reasons = _below("not_measured.", tags)
    # MLflow cannot forget a value; one that the newest scores have a reason not to hold is gone.
    unwanted = (*NOT_SCORES, *reasons)
    values = {name: v for name, v in metrics.items() if not name.startswith(unwanted)}
    scores = {name: v for name, v in values.items() if math.isfinite(v)}
    reasons |= {
        name: f"the recorded value is {v}" for name, v in values.items() if name not in scores
    }
    intervals = _below("image_interval.", tags).items()
    folder = store.artifacts / suite / run.info.run_id / "artifacts" if store.artifacts else None
    return RunRecord(
        arm=tags.get("arm", ""),
        seed=int(seed) if seed else None,
        digest=tags.get("digest", ""),
        status=STATUS.get(run.info.status, "running"),
        params=dict(run.data.params),
        scores=scores,
        not_measured=reasons,
        image_intervals={name: tuple(json.loads(v)) for name, v in intervals if name in scores},
        cost=_below("cost.", metrics),
        provenance=_below("provenance.", tags),
        fingerprint=tags.get("fingerprint"),
        splits={split: int(count) for split, count in _below("data.", tags).items()},
        error=tags.get("error"),
        remark=tags.get("remark"),
        run_id=run.info.run_id,
        _store=store,
        _artifacts=folder,
    )


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): v for key, v in values.items() if key.startswith(prefix)}
