"""Suites of runs written down by hand, without a store."""

from __future__ import annotations

from typing import Any

from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns

PIXEL = "fcn.pixel_accuracy"


def run(arm: str, seed: int | None, value: float | None, **fields: Any) -> RunRecord:
    """A finished run with one score, or none."""
    scores = {} if value is None else {PIXEL: value}
    return RunRecord(arm, seed, f"{arm}-{seed}", **{"status": "done", "scores": scores} | fields)


def suite(*runs: RunRecord, truth: float | None = 0.9, **fields: Any) -> SuiteRuns:
    """Their suite, `patch_size` on camvid, with the arms in the order in which they come."""
    arms = list(dict.fromkeys(r.arm for r in runs))
    record = {
        "suite": "patch_size",
        "dataset": "camvid",
        "profile": "quick",
        "size": [128, 128],
        "arms": [{"name": arm, "changes": {}} for arm in arms],
        "scores": ["fcn"],
    } | fields
    reference = None if truth is None else run(GROUND_TRUTH, None, truth)
    return SuiteRuns(record, runs, reference, "sqlite:///mlflow.db")


def arms(values: dict[str, list[float]], first_seed: int = 1) -> list[RunRecord]:
    """{arm: a value a seed} to runs."""
    return [
        run(arm, seed, value)
        for arm, of in values.items()
        for seed, value in enumerate(of, first_seed)
    ]
