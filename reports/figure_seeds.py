"""Every seed as a dot, a panel a score."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.metrics import METRICS
from experiments.tracking_reader import SuiteRuns
from reports.collect import entry
from reports.style import GREY, INK, PAGE_WIDTH, few_ticks, line_styles
from reports.tables import title

COLUMNS = 3
SPREAD = 0.36
"""Dots of an arm share this much of its row, so that equal ones do not hide each other."""
OWN_SCORE = ("fcn", "labels")
"""Families in which the real photos' score says something: they are scored against labels, not
against themselves."""


def draw_seeds(runs: SuiteRuns, scores: Sequence[str]) -> tuple[Figure, str] | None:
    """A strip plot: arms as rows, scores as panels, the mean as a tick, ground truth a line."""
    arms = list(runs.arms)
    values = {
        score: {
            arm: [
                (run.seed, run.scores[score])
                for run in runs.of_arm(arm)
                if run.status == "done" and score in run.scores
            ]
            for arm in arms
        }
        for score in scores
    }
    measured = [score for score in scores if any(values[score].values())]
    if not measured:
        return None
    columns = min(COLUMNS, len(measured))
    rows = -(-len(measured) // columns)
    height = 0.3 + rows * (0.5 + 0.19 * len(arms))
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    truth = runs.ground_truth if runs.ground_truth and runs.ground_truth.status == "done" else None
    lines = means = False
    for axes, score in zip(panels.flat, measured, strict=False):
        for y, arm in enumerate(arms):
            dots = values[score][arm]
            colour = line_styles(arms)[arm]["color"]
            for i, (_, value) in enumerate(dots):
                offset = SPREAD * ((i + 0.5) / len(dots) - 0.5)
                axes.plot(value, y + offset, "o", markersize=3.2, color=colour, alpha=0.85, mew=0)
            interval = entry(list(runs.of_arm(arm)), score).interval
            if interval and interval.n > 1:
                axes.plot([interval.mean] * 2, [y - 0.32, y + 0.32], color=INK, linewidth=1.0)
                means = True
        if truth and score in truth.scores and METRICS[score].family in OWN_SCORE:
            axes.axvline(truth.scores[score], color=GREY, linewidth=0.9, linestyle=(0, (4, 2)))
            lines = True
        axes.set(yticks=range(len(arms)), yticklabels=arms, ylim=(len(arms) - 0.5, -0.5))
        axes.set_xlabel(title(score))
        axes.margins(x=0.08)
        axes.tick_params(axis="y", length=0)
        few_ticks(axes.xaxis, 4)
    for axes in panels.flat[len(measured) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], marker="o", color=GREY, linestyle="none", markersize=3.2, mew=0)]
    names = ["a seed"]
    if means:
        handles.append(Line2D([], [], marker="|", color=INK, linestyle="none", markersize=7))
        names.append("mean")
    if lines:
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 2))))
        names.append("real photos")
    figure.legend(handles, names, loc="outside upper left", ncols=3)
    return figure, "every seed; the tick is the mean, the dashed line the real photos' own score"
