"""Suites of runs written down by hand, without a store."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from experiments.record import parse_record
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
        "title": "patch_size",
        "variant": "quick",
        "direction": "labels->photo",
        "commit": "0123abc",
        "fingerprint": "ab12" * 16,
        "size": [128, 128],
        "arms": [{"name": arm, "changes": {}} for arm in arms],
        "cells": [],
        "scores": ["fcn"],
    } | fields
    reference = None if truth is None else run(GROUND_TRUTH, None, truth)
    return SuiteRuns(parse_record(json.dumps(record)), runs, reference)


def claiming(runs: SuiteRuns, *claims: str) -> SuiteRuns:
    """The same runs, of a suite that makes these claims alone."""
    return replace(runs, record=runs.record.model_copy(update={"claims": claims}))


def arms(values: dict[str, list[float]], first_seed: int = 1) -> list[RunRecord]:
    """{arm: a value a seed} to runs."""
    return [
        run(arm, seed, value)
        for arm, of in values.items()
        for seed, value in enumerate(of, first_seed)
    ]
