"""Lab histograms in log scale with the table of intersections (Figure 7 of the paper)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tracking_reader import SuiteRuns
from reports.collect import GROUND_TRUTH, entry, runs_by_arm
from reports.histograms import CHANNELS, density, pooled
from reports.style import INK, PAGE_WIDTH, few_ticks, line_styles
from reports.tables import cell_text

PLOT_HEIGHT = 1.75
LINE_HEIGHT = 0.155
COLUMN_AT = (0.52, 0.74, 0.96)
"""Where the table's three columns end, as shares of its width."""


def draw_lab_histograms(runs: SuiteRuns) -> tuple[Figure, str] | None:
    """ln of the share of pixels a unit over L, a and b; all test images and seeds pooled."""
    counts = pooled(runs)
    arms = [arm for arm in counts if arm != GROUND_TRUTH]
    if not arms:
        return None
    styles = line_styles(runs.arms) | {GROUND_TRUTH: {"color": INK, "linestyle": "solid"}}
    lines = len(counts) + 1
    height = PLOT_HEIGHT + LINE_HEIGHT * lines + 0.35
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[PLOT_HEIGHT + 0.2, LINE_HEIGHT * lines])
    panels = above.subplots(1, 3, sharey=True)
    for axes, channel in zip(panels, CHANNELS, strict=True):
        for arm, of in counts.items():
            edges, share = density(of, channel)
            with np.errstate(divide="ignore"):
                logs = np.where(share > 0, np.log(share), np.nan)
            width = 1.4 if arm == GROUND_TRUTH else 0.9
            axes.plot(edges + 0.5, logs, linewidth=width, **styles[arm])
        axes.set_xlabel(f"{channel} (CIELAB, D65)")
        axes.set_xlim(*_range_used(list(counts.values()), channel))
        few_ticks(axes.xaxis, 5)
    panels[0].set_ylabel("ln(share of pixels per unit)")
    few_ticks(panels[0].yaxis, 5)
    _table(below.subplots(), runs, list(counts), styles)
    return figure, "ln of the share of pixels a Lab unit, all test images; intersections below"


def _range_used(counts: list[np.ndarray], channel: str) -> tuple[float, float]:
    low, high = CHANNELS[channel]
    used = np.nonzero(sum(density(of, channel)[1] for of in counts))[0]
    margin = 0.03 * (used[-1] - used[0] + 1)
    return max(low, low + used[0] - margin), min(high, low + used[-1] + 1 + margin)


def _table(axes: Axes, runs: SuiteRuns, arms: list[str], styles: dict[str, dict]) -> None:
    axes.set(xlim=(0, 1), ylim=(len(arms) + 0.6, -0.6))
    axes.set_axis_off()
    axes.text(0.06, 0, "intersection with ground truth", va="center")
    for x, channel in zip(COLUMN_AT, CHANNELS, strict=True):
        axes.text(x, 0, channel, ha="right", va="center")
    axes.axhline(0.55, xmin=0, xmax=COLUMN_AT[-1] + 0.01, color=INK, linewidth=0.5)
    by_arm = runs_by_arm(runs)
    for y, arm in enumerate(arms, 1):
        axes.plot([0.005, 0.045], [y, y], linewidth=1.6, **styles[arm])
        axes.text(0.06, y, arm, va="center")
        finished = sum(run.status == "done" for run in by_arm[arm])
        for x, channel in zip(COLUMN_AT, CHANNELS, strict=True):
            score = f"color.{channel}"
            text = cell_text(entry(by_arm[arm], score), score, finished)
            axes.text(x, y, text, ha="right", va="center")
