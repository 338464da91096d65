"""Training losses by step, a panel a term, an arm a colour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import LEFT_OUT, standing
from reports.figures.style import (
    COLUMN_WIDTH,
    colours_of,
    dashes_of,
    few_ticks,
    legend_columns,
    line_styles,
    wrapped,
)

MOST_POINTS = 80
"""Points a curve; where there are more records, neighbours are averaged."""
TITLES = {
    "g_gan": "generator, GAN term",
    "g_l1": "generator, L1 term",
    "g_l2": "generator, L2 term",
    "d_real": "discriminator, real pairs",
    "d_fake": "discriminator, translations",
}
NOT_LOSSES = ("seconds_per_step", "learning_rate")


def draw_curves(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """A thin line every seed, a bold one their mean where there are several."""
    frames = [
        run.curves().assign(arm=run.arm, seed=run.seed, done=run.finished)
        for run in runs.runs
        if standing(run) != LEFT_OUT
    ]
    frames = [frame[~frame.term.isin(NOT_LOSSES)] for frame in frames if len(frame)]
    if not frames:
        return None
    curves = pd.concat(frames, ignore_index=True)
    order = {term: place for place, term in enumerate(TITLES)}
    terms = sorted(curves.term.unique(), key=lambda term: (order.get(term, len(order)), term))
    styles = line_styles(runs.arms)
    arms = [arm for arm in runs.arms if arm in set(curves.arm)]
    most = 2 if len(terms) in (2, 4) or width <= COLUMN_WIDTH else 3
    columns = min(most, len(terms))
    rows = -(-len(terms) // columns)
    legend = legend_columns(arms, width)
    high = 1.6 if width > COLUMN_WIDTH else 1.3
    height = 0.15 + 0.15 * -(-len(arms) // legend) + high * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    curves = curves.groupby(["term", "arm", "seed", "done"]).apply(_thinned).reset_index()
    look = {"x": "step", "y": "value", "hue": "arm", "style": "arm", "legend": False}
    look |= {"hue_order": runs.arms, "style_order": runs.arms, "palette": colours_of(runs.arms)}
    look["dashes"] = dashes_of(runs.arms)
    for axes, term in zip(panels.flat, terms, strict=False):
        own = curves[curves.term == term]
        seeds = own.groupby("arm").seed.transform("nunique")
        # A seed that stopped early would cut the mean off, or bend it where it stops.
        done = own[own.done & (seeds > 1)]
        finished = done.groupby("arm").seed.transform("nunique")
        shared = done[done.groupby(["arm", "step"]).seed.transform("nunique") == finished]
        every = {"units": "seed", "estimator": None}
        for lines, how in (
            (own[seeds == 1], every),
            (own[seeds > 1], every | {"linewidth": 0.4, "alpha": 0.45}),
            (shared, {"errorbar": None}),
        ):
            if len(lines):
                seaborn.lineplot(lines, **look, **how, ax=axes)
        axes.set(xlabel="", ylabel="")
        axes.set_title(wrapped(TITLES.get(term, term), width / columns - 0.4), loc="left")
        few_ticks(axes.xaxis, 3)
        few_ticks(axes.yaxis, 4)
    for axes in panels.flat[len(terms) :]:
        axes.set_axis_off()
    for i, axes in enumerate(panels.flat[: len(terms)]):
        if i + columns >= len(terms):
            axes.set_xlabel("training step")
            axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("loss")
    handles = [Line2D([], [], **styles[arm]) for arm in arms]
    figure.legend(handles, arms, loc="outside upper left", ncols=legend, columnspacing=1.2)
    caption = "training losses by step"
    if curves.groupby("arm").seed.nunique().max() > 1:
        caption += "; thin: every seed, bold: the mean of the finished ones"
    return figure, caption


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS records of a run's term, neighbours averaged: step and value."""
    curve = curve[["step", "value"]].sort_values("step")
    size = -(-len(curve) // MOST_POINTS)
    return curve.groupby(np.arange(len(curve)) // size).agg({"step": "max", "value": "mean"})
