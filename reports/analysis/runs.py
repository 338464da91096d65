"""What tracking reads back, as one tidy pandas frame and as one entry a table cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from reports.analysis.statistics import Interval, t_interval

NOT_OF_ITSELF = ("lpips", "pixel")
"""Families that say nothing of a photo and itself: the ground truth has no value by nature."""
LEFT_OUT = "left out"
"""The state of runs that came to their end but must not be averaged over."""
COLUMNS = ["suite", "dataset", "profile", "arm", "seed", "score", "value"]


@dataclass(frozen=True)
class Entry:
    """One arm in one score: an interval over its finished seeds, or why there is none."""

    interval: Interval | None
    state: str
    """measured, not measured, failed, left out, missing, or — where a score says nothing of real
    photos."""
    planned: int
    """How many seeds the suite asked for."""
    why: str | None = None
    """Why it was not measured, or was left out."""


def finished(runs: SuiteRuns) -> list[RunRecord]:
    """The arms' runs that reached their end."""
    return [run for run in runs.runs if run.finished]


def tidy(runs: SuiteRuns) -> pd.DataFrame:
    """One row an arm × seed × score of everything finished; the ground truth has no seed."""
    record = runs.record
    key = [record.suite, record.dataset, record.variant]
    truth = [runs.ground_truth] if runs.ground_truth else []
    rows = [
        [*key, run.arm, run.seed, score, run.scores[score]]
        for run in [*finished(runs), *(run for run in truth if run.finished)]
        for score in METRICS
        if score in run.scores
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"seed": "Int64", "value": "float64"})


def table_scores(runs: SuiteRuns) -> list[str]:
    """The scores that are columns: of the suite's families, with a value or a reason for none."""
    families = runs.record.scores
    named = {name for run in runs.runs for name in (*run.scores, *run.not_measured)}

    def shown(name: str, family: str) -> bool:
        # A reason may be given for the whole family; with no word on any of it, all is missing.
        silent = not any(other.split(".")[0] == family for other in named)
        return name in named or family in named or silent

    return [
        n for n, metric in METRICS.items() if metric.family in families and shown(n, metric.family)
    ]


def entry(runs: Sequence[RunRecord], score: str) -> Entry:
    """The entry of one arm's runs, one a seed; only finished ones count."""
    values = arm_values(runs, score)
    if values:
        return Entry(t_interval(list(values.values())), "measured", len(runs))
    reasons = [reason(run, score) for run in runs if run.finished]
    why = next((one for one in reasons if one), None)
    if why:
        return Entry(None, "not measured", len(runs), why)
    if runs and all(run.arm == GROUND_TRUTH and run.finished for run in runs):
        by_nature = METRICS[score].family in NOT_OF_ITSELF
        return Entry(None, "—" if by_nature else "not measured", len(runs))
    remark = next((run.remark for run in runs if standing(run) == LEFT_OUT), None)
    return Entry(None, arm_state(runs), len(runs), remark)


def standing(run: RunRecord) -> str:
    """A run's status, but LEFT_OUT where it came to its end and yet must not count."""
    return LEFT_OUT if run.status == "running" and run.remark else run.status


def arm_state(runs: Sequence[RunRecord]) -> str:
    """Why an arm has nothing to show: failed, left out or missing."""
    states = {standing(run) for run in runs}
    return next((state for state in ("failed", LEFT_OUT) if state in states), "missing")


def arm_values(runs: Sequence[RunRecord], score: str) -> dict[int | None, float]:
    """{seed: value} of an arm's finished runs; the ground truth's seed is None."""
    return {r.seed: r.scores[score] for r in runs if r.finished and score in r.scores}


def decimals(score: str) -> int:
    """Digits behind the point."""
    return 2 if METRICS[score].unit == "dB" else 3


def reason(run: RunRecord, score: str) -> str | None:
    """Why a run has no value for a score, where it says so for the score or its family."""
    return run.not_measured.get(score) or run.not_measured.get(METRICS[score].family)


def runs_by_arm(runs: SuiteRuns) -> dict[str, list[RunRecord]]:
    """{arm: its runs, one a seed}, in the suite's order, the ground truth last."""
    by_arm = {arm: list(runs.of_arm(arm)) for arm in runs.arms}
    if runs.ground_truth:
        by_arm[GROUND_TRUTH] = [runs.ground_truth]
    return by_arm
