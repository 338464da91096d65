"""Intervals over test images, which say another thing than intervals over seeds, and stand apart.

Resampled test images tell how much a score of one trained network depends on which images it is
scored on. They say nothing of another training, and no verdict rests on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from experiments.tracking_reader import RunRecord, SuiteRuns
from reports.collect import GROUND_TRUTH, decimals, finished, table_scores
from reports.tables import title

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


def interval_lines(runs: SuiteRuns) -> list[str]:
    """A line an arm: for each score, half the width of its interval, mean over seeds."""
    scored = list(_scored(runs))
    scores = [s for s in table_scores(runs) if any(s in run.image_intervals for run in scored)]
    if not scores:
        return []
    lines = [
        "half-widths of 95 % bootstrap intervals over test images, one trained network each, mean "
        "over seeds: how much a score depends on which images it is taken on, not on the training; "
        "image_intervals.csv has every one"
    ]
    for arm in (*runs.arms, GROUND_TRUTH):
        said = []
        for score in scores:
            of = [
                r.image_intervals[score]
                for r in scored
                if r.arm == arm and score in r.image_intervals
            ]
            if of:
                half = sum(high - low for low, high in of) / len(of) / 2
                said.append(f"{title(score, False)} {half:.{decimals(score)}f}")
        if said:
            lines.append(f"{arm}: {', '.join(said)}")
    return lines


def _scored(runs: SuiteRuns) -> Iterator[RunRecord]:
    yield from finished(runs)
    if runs.ground_truth and runs.ground_truth.status == "done":
        yield runs.ground_truth
