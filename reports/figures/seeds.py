"""Every seed as a dot, a panel a score."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis.comparisons import parse_claim
from reports.analysis.formatting import title
from reports.analysis.runs import arm_values, table_scores
from reports.figures.style import (
    COLUMN_WIDTH,
    GREY,
    INK,
    TALLEST,
    few_ticks,
    inches_of,
    line_styles,
    wrapped,
)

PANEL_WIDTH = 1.2
"""Inches at the least, arms' names apart."""
NAMES_WIDTH = 0.3
"""Share of the figure that arms' names may take."""
LEGEND = 0.3
"""Inches."""
MOST_IN_A_COLUMN = 6
ROW = 0.19
"""Inches of an arm's row."""
SPREAD = 0.36
"""Dots of an arm share this much of its row, so that equal ones do not hide each other."""
LINE_OF_TRUTH = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (4, 2))}
OWN_SCORE = ("fcn", "labels")
"""Families in which the real photos' score says something: they are scored against labels, not
against themselves."""


def draw_seeds(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """A strip plot: arms as rows, scores as panels, the mean as a tick, ground truth a line."""
    values = {
        score: {arm: list(arm_values(runs.of_arm(arm), score).values()) for arm in runs.arms}
        for score in table_scores(runs)
    }
    measured = [score for score, of in values.items() if any(of.values())]
    if not measured:
        return None
    shown = measured if width > COLUMN_WIDTH else main_scores(runs, measured)
    labels = [wrapped(arm, NAMES_WIDTH * width) for arm in runs.arms]
    names_width, line = (max(of) for of in zip(*map(inches_of, labels), strict=True))
    columns = min(max(1, int((width - names_width) / PANEL_WIDTH)), len(shown), 3)
    heads = [wrapped(title(score), (width - names_width) / columns - 0.1) for score in shown]
    high = 0.4 + max(inches_of(head)[1] for head in heads) + max(ROW, line + 0.05) * len(labels)
    if width <= COLUMN_WIDTH:
        shown = shown[: columns * max(1, int((TALLEST - LEGEND) / high))]
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(width, LEGEND + rows * high), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    truth = runs.ground_truth if runs.ground_truth and runs.ground_truth.finished else None
    lines = False
    for axes, score, head in zip(panels.flat, shown, heads, strict=False):
        _dots(axes, values[score])
        if truth and score in truth.scores and METRICS[score].family in OWN_SCORE:
            axes.axvline(truth.scores[score], **LINE_OF_TRUTH)
            lines = True
        axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
        axes.set_xlabel(head)
        axes.margins(x=0.08)
        axes.tick_params(axis="y", length=0)
        few_ticks(axes.xaxis, 4 if width / columns > 2 else 3)
        if not _several(values[score]):
            few_ticks(axes.xaxis, 2)
            axes.set_xlim(*whole_range(score, [x for of in values[score].values() for x in of]))
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    several = [_several(values[score]) for score in shown]
    return figure, _legend(figure, any(several), lines, not all(several))


def _legend(figure: Figure, means: bool, lines: bool, lone: bool) -> str:
    """What marks stand for, beside the panels and in the words of a caption; `lone`: some panel
    has one seed an arm."""
    marks = {"a seed": {"marker": "o", "color": GREY, "markersize": 3.2, "mew": 0}}
    told = ["every seed a dot"]
    if means:
        marks["mean"] = {"marker": "|", "color": INK, "markersize": 7}
        told.append("the tick is the mean")
    if lines:
        marks[GROUND_TRUTH] = LINE_OF_TRUTH
        told.append("the dashed line is the ground truth's own score")
    handles = [Line2D([], [], **{"linestyle": "none"} | mark) for mark in marks.values()]
    figure.legend(handles, marks, loc="outside upper left", ncols=3, columnspacing=1.2)
    if lone:
        told.append(
            "with one seed an arm nobody knows how far seeds lie apart: the axes show a score's "
            "whole range, and no order is proven"
        )
    return "; ".join(told)


def main_scores(runs: SuiteRuns, measured: list[str]) -> list[str]:
    """The scores that fit into a column: those that the suite's claims are on and the paper prints,
    else the first ones."""
    claims = (parse_claim(text) for text in runs.record.claims)
    rows = runs.record.published_rows.values()
    wanted = {claim.score for claim in claims if claim} | {s for row in rows for s in row}
    return ([s for s in measured if s in wanted] or measured)[:MOST_IN_A_COLUMN]


def whole_range(score: str, values: list[float]) -> tuple[float, float]:
    """The axis on which lone seeds exaggerate nothing: from 0 to 1, further only where a value lies
    beyond; scores with a unit end a little above the highest value."""
    high = 1.1 * max(values) if METRICS[score].unit else max(1.0, *values)
    return min(0.0, *values), high


def _dots(axes: Axes, values: dict[str, list[float]]) -> None:
    """Every seed, and the mean where an arm has several."""
    styles = line_styles(list(values))
    for y, (arm, dots) in enumerate(values.items()):
        for i, value in enumerate(dots):
            offset = SPREAD * ((i + 0.5) / len(dots) - 0.5)
            colour = styles[arm]["color"]
            dot = {"markersize": 3.2, "color": colour, "alpha": 0.85, "mew": 0, "clip_on": False}
            axes.plot(value, y + offset, "o", **dot)
        if len(dots) > 1:
            mean = sum(dots) / len(dots)
            axes.plot([mean] * 2, [y - 0.32, y + 0.32], color=INK, linewidth=1.0)


def _several(values: dict[str, list[float]]) -> bool:
    """Whether some arm has more than one seed."""
    return any(len(dots) > 1 for dots in values.values())
