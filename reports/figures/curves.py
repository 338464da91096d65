"""Training losses by step: one panel per loss term, one colour per arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import LEFT_OUT, standing
from reports.figures.style import (
    COLUMN_WIDTH,
    add_legend,
    arm_colours,
    arm_dashes,
    arm_line,
    few_ticks,
    legend_columns,
    wrapped,
)

MOST_POINTS = 80
"""Points per curve; neighbouring records are averaged where there are more."""
TITLES = {
    "g_gan": "generator, GAN term",
    "g_l1": "generator, L1 term",
    "g_l2": "generator, L2 term",
    "g_perceptual": "generator, feature term",
    "g_style": "generator, style term",
    "g_cycle": "generators, forward cycle",
    "g_cycle_back": "generators, backward cycle",
    "g_identity": "generators, identity",
    "d_real": "discriminator, real",
    "d_fake": "discriminator, translations",
    "g_gan_back": "generator back, GAN term",
    "d_real_back": "discriminator back, real",
    "d_fake_back": "discriminator back, translations",
}
NOT_LOSSES = ("seconds_per_step", "learning_rate")


def draw_curves(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """A thin line per seed and, where an arm has several seeds, a bold line for their mean.

    Returns the figure and its caption; None where no loss is recorded.
    """
    curves = loss_curves(runs)
    if curves.empty:
        return None
    order = {term: place for place, term in enumerate(TITLES)}
    terms = sorted(curves.term.unique(), key=lambda term: (order.get(term, len(order)), term))
    arms = [arm for arm in runs.arms if arm in set(curves.arm)]
    columns = min(2 if len(terms) in (2, 4) or width <= COLUMN_WIDTH else 3, len(terms))
    rows = -(-len(terms) // columns)
    legend = legend_columns(arms, width)
    panel = 1.6 if width > COLUMN_WIDTH else 1.3
    height = 0.15 + 0.15 * -(-len(arms) // legend) + panel * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for i, axes in enumerate(panels.flat):
        if i >= len(terms):
            axes.set_axis_off()
            continue
        _draw_term(axes, curves[curves.term == terms[i]], runs.arms)
        title = TITLES.get(terms[i], terms[i])
        axes.set_title(wrapped(title, width / columns - 0.4), loc="left")
        lowest = i + columns >= len(terms)
        axes.set(xlabel="training step" if lowest else "", ylabel="" if i % columns else "loss")
        axes.tick_params(labelbottom=lowest)
        few_ticks(axes.xaxis, 3)
        few_ticks(axes.yaxis, 4)
    add_legend(figure, {arm: arm_line(runs.arms, arm) for arm in arms}, legend)
    caption = "training losses by step"
    if curves.groupby("arm").seed.nunique().max() > 1:
        caption += "; thin: one seed each, bold: mean of the finished seeds"
    return figure, caption


def loss_curves(runs: SuiteRuns) -> pd.DataFrame:
    """Columns arm, seed, done, term, step, value: at most MOST_POINTS rows per curve.

    Runs that are left out of the tables have no curve; unfinished ones have.
    """
    frames = [
        run.curves().assign(arm=run.arm, seed=run.seed, done=run.finished)
        for run in runs.runs
        if standing(run) != LEFT_OUT
    ]
    frames = [frame[~frame.term.isin(NOT_LOSSES)] for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=["arm", "seed", "done", "term", "step", "value"])
    curves = pd.concat(frames, ignore_index=True).sort_values("step")
    keys = ["arm", "seed", "done", "term"]
    place = curves.groupby(keys).cumcount()
    length = curves.groupby(keys).step.transform("size")
    group = place // np.ceil(length / MOST_POINTS).astype(int)
    return (
        curves.groupby([*keys, group.rename("group")], sort=False)
        .agg(step=("step", "max"), value=("value", "mean"))
        .reset_index()
    )


def _draw_term(axes: Axes, curves: pd.DataFrame, arms: tuple[str, ...]) -> None:
    """One loss term of all arms."""
    seeds = curves.groupby("arm").seed.transform("nunique")
    look = {
        "x": "step",
        "y": "value",
        "hue": "arm",
        "hue_order": arms,
        "palette": arm_colours(arms),
        "style": "arm",
        "style_order": arms,
        "dashes": arm_dashes(arms),
        "legend": False,
        "estimator": None,
        "ax": axes,
    }
    # A step that one of the seeds lacks would bend the mean.
    several = curves[(seeds > 1) & curves.done]
    means = several.groupby(["arm", "step"]).value.agg(["mean", "size"]).reset_index()
    whole = means["size"] == means.arm.map(several.groupby("arm").seed.nunique())
    for frame, line in (
        (curves[seeds == 1], {}),
        (curves[seeds > 1], {"units": "seed", "linewidth": 0.4, "alpha": 0.45}),
        (means[whole].rename(columns={"mean": "value"}), {}),
    ):
        if len(frame):
            sns.lineplot(frame, **look, **line)
