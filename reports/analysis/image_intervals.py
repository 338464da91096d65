"""Intervals over test images, which say another thing than intervals over seeds, and stand apart.

Resampled test images tell how much a score of one trained network depends on which images it is
scored on. They say nothing of another training, and no verdict rests on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.rounding import signed
from reports.analysis.runs import GROUND_TRUTH, decimals, finished, table_scores
from reports.pages.tables import title

CAPTION = (
    "How far the 95 % bootstrap interval over test images reaches below and above the score of one "
    "trained network, mean over its arm's seeds: not an interval over seeds. It says how much a "
    "score depends on which images it is taken on, and nothing of another training; no verdict "
    "rests on it. Every one is in image_intervals.csv."
)
COLUMNS = ["arm", "seed", "score", "value", "low", "high"]


def image_intervals(runs: SuiteRuns) -> str | None:
    """CSV, a row an arm × seed × score; None where no run has such an interval."""
    rows = [
        [run.arm, run.seed, score, run.scores[score], *run.image_intervals[score]]
        for run in _scored(runs)
        for score in table_scores(runs)
        if score in run.image_intervals and score in run.scores
    ]
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})
    return frame.to_csv(index=False, lineterminator="\n")


@dataclass(frozen=True)
class ImageIntervals:
    """How far intervals reach below and above scores, by arm and score, as a table of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def distances(runs: SuiteRuns) -> ImageIntervals | None:
    """An arm a row, a score a column, each `−0.135/+0.012`, mean over seeds; None where no run has
    such an interval. A score is seldom in the middle of one."""
    scored = list(_scored(runs))
    scores = [s for s in table_scores(runs) if any(s in run.image_intervals for run in scored)]
    if not scores:
        return None
    rows = []
    for arm in (*runs.arms, GROUND_TRUTH):
        cells = [_distance([run for run in scored if run.arm == arm], score) for score in scores]
        if any(cell != "—" for cell in cells):
            rows.append((arm, *cells))
    return ImageIntervals(("arm", *(title(score, False) for score in scores)), tuple(rows))


def _distance(runs: list[RunRecord], score: str) -> str:
    of = [
        [bound - run.scores[score] for bound in run.image_intervals[score]]
        for run in runs
        if score in run.image_intervals and score in run.scores
    ]
    if not of:
        return "—"
    below, above = (sum(ends) / len(of) for ends in zip(*of, strict=True))
    return f"{signed(below, decimals(score))}/{signed(above, decimals(score))}"


def _scored(runs: SuiteRuns) -> Iterator[RunRecord]:
    yield from finished(runs)
    if runs.ground_truth and runs.ground_truth.finished:
        yield runs.ground_truth
