"""Every seed as a dot, one panel per score."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis.comparisons import parse_claim
from reports.analysis.formatting import title
from reports.analysis.runs import table_scores, tidy
from reports.figures.style import (
    COLUMN_WIDTH,
    GREY,
    INK,
    TALLEST,
    add_legend,
    arm_colours,
    few_ticks,
    inches_of,
    wrapped,
)

PANEL_WIDTH = 1.2
"""Least width of a panel in inches, without the names of the arms."""
NAMES_WIDTH = 0.3
"""Share of the figure's width that the names of the arms may take."""
LEGEND = 0.3
"""Height of the legend in inches."""
MOST_IN_A_COLUMN = 6
"""Panels at column width."""
ROW = 0.19
"""Height of an arm's row in inches."""
SPREAD = 0.36
"""Share of a row over which an arm's dots are spread, so that equal values stay visible."""
TRUTH_LINE = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (4, 2))}
DOT = {"size": 3.2, "alpha": 0.85, "linewidth": 0, "clip_on": False}
OWN_SCORE = ("fcn", "labels")
"""Metric groups in which the real photos have a meaningful score: they are scored against labels,
not against themselves."""


def draw_seeds(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """A strip plot: arms as rows, scores as panels, a tick for the mean, a line for the truth.

    Returns the figure and its caption; None where no arm has a score.
    """
    frame = seed_values(runs)
    measured = [score for score in table_scores(runs) if score in set(frame.score)]
    if not measured:
        return None
    shown = measured if width > COLUMN_WIDTH else main_scores(runs, measured)
    labels = [wrapped(arm, NAMES_WIDTH * width) for arm in runs.arms]
    names_width, line = (max(size) for size in zip(*map(inches_of, labels), strict=True))
    columns = min(max(1, int((width - names_width) / PANEL_WIDTH)), len(shown), 3)
    heads = [wrapped(title(score), (width - names_width) / columns - 0.1) for score in shown]
    high = 0.4 + max(inches_of(head)[1] for head in heads) + max(ROW, line + 0.05) * len(labels)
    if width <= COLUMN_WIDTH:
        shown = shown[: columns * max(1, int((TALLEST - LEGEND) / high))]
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(width, LEGEND + rows * high), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    known = runs.ground_truth.scores if runs.ground_truth and runs.ground_truth.finished else {}
    truth = {s: known[s] for s, m in METRICS.items() if m.family in OWN_SCORE and s in known}
    for axes, score, head in zip(panels.flat, shown, heads, strict=False):
        values = frame[frame.score == score]
        _draw_score(axes, values, runs.arms)
        if score in truth:
            axes.axvline(truth[score], **TRUTH_LINE)
        axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
        axes.set(xlabel=head, ylabel="")
        axes.margins(x=0.08)
        axes.tick_params(axis="y", length=0)
        few_ticks(axes.xaxis, 4 if width / columns > 2 else 3)
        if not values.several.any():
            few_ticks(axes.xaxis, 2)
            extra = [truth[score]] if score in truth else []
            axes.set_xlim(*whole_range(score, [*values.value, *extra]))
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    drawn = frame[frame.score.isin(shown)]
    return figure, _legend(figure, drawn, with_truth=any(score in truth for score in shown))


def seed_values(runs: SuiteRuns) -> pd.DataFrame:
    """The tidy frame without the ground truth, and where the dots go.

    Adds `arm_row`, `row` (arm_row plus the dot's offset) and `several` (the arm has several seeds
    in this score).
    """
    frame = tidy(runs)
    frame = frame[frame.arm != GROUND_TRUTH].reset_index(drop=True)
    by_arm = frame.groupby(["score", "arm"])
    count = by_arm.value.transform("size")
    arm_row = frame.arm.map({arm: i for i, arm in enumerate(runs.arms)}).astype(float)
    offset = SPREAD * ((by_arm.cumcount() + 0.5) / count - 0.5)
    return frame.assign(arm_row=arm_row, row=arm_row + offset, several=count > 1)


def main_scores(runs: SuiteRuns, measured: list[str]) -> list[str]:
    """The scores for a figure at column width: those of the claims and of the paper's table.

    The first ones where there are none of these.
    """
    claims = (parse_claim(text) for text in runs.record.claims)
    rows = runs.record.published_rows.values()
    wanted = {claim.score for claim in claims if claim} | {score for row in rows for score in row}
    return ([score for score in measured if score in wanted] or measured)[:MOST_IN_A_COLUMN]


def whole_range(score: str, values: list[float]) -> tuple[float, float]:
    """The x-axis for single seeds, on which no difference looks large: 0 to 1, or further.

    Scores with a unit end 10 % above the highest value.
    """
    high = 1.1 * max(values) if METRICS[score].unit else max(1.0, *values)
    return min(0.0, *values), high


def _draw_score(axes: Axes, values: pd.DataFrame, arms: tuple[str, ...]) -> None:
    """A dot per seed, and a tick at the mean of each arm that has several."""
    place = {"x": "value", "orient": "y", "native_scale": True, "ax": axes}
    colours = {"hue": "arm", "palette": arm_colours(arms), "legend": False}
    sns.stripplot(values, y="row", jitter=False, **place, **colours, **DOT)
    mean = {"marker": "|", "color": INK, "markersize": 9, "markeredgewidth": 1.0}
    several = values[values.several]
    if len(several):
        sns.pointplot(several, y="arm_row", errorbar=None, linestyle="none", **place, **mean)


def _legend(figure: Figure, values: pd.DataFrame, with_truth: bool) -> str:
    """Add the legend of the marks that were drawn; returns the caption."""
    marks: dict[str, dict[str, Any]] = {"seed": {"marker": "o", "color": GREY, "markersize": 3.5}}
    sentences = ["every seed a dot"]
    if values.several.any():
        marks["mean"] = {"marker": "|", "color": INK, "markersize": 7}
        sentences.append("the tick is the mean")
    if with_truth:
        marks[GROUND_TRUTH] = TRUTH_LINE
        sentences.append("the dashed line is the ground truth's own score")
    add_legend(figure, {k: {"linestyle": "none"} | mark for k, mark in marks.items()}, 3)
    if not values.groupby("score").several.any().all():
        sentences.append(
            "one seed per arm does not show how much seeds differ: the axes show the whole range "
            "of the score, and no order is proven"
        )
    return "; ".join(sentences)
