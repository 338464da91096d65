"""Lab histograms in log scale with the table of intersections (Figure 7 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import GROUND_TRUTH, entry, runs_by_arm
from reports.figures.histograms import CHANNELS, density, pooled
from reports.figures.style import COLUMN_WIDTH, INK, few_ticks, line_styles, wrapped
from reports.pages.tables import cell_text

TABLE_LINE = 0.155
"""Inches from line to line of the table."""
HANDLE = 0.35
"""Inches before an arm's name."""


@dataclass(frozen=True)
class Layout:
    """Of one width: how panels stand, and where the table's three columns end, as shares of it."""

    panels: tuple[int, int]
    panel_height: float
    """Inches, axis labels apart."""
    column_ends: tuple[float, float, float]
    names_width: float
    """Inches."""
    stacked: bool
    """Whether ± stands below its value."""


PAGE = Layout((1, 3), 1.5, (0.52, 0.74, 0.96), 2.4, False)
COLUMN = Layout((3, 1), 0.85, (0.62, 0.8, 0.98), 1.2, True)


def draw_lab_histograms(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """ln of the share of pixels a unit over L, a and b; all test images and seeds pooled."""
    counts = pooled(runs)
    arms = [arm for arm in counts if arm != GROUND_TRUTH]
    if not arms:
        return None
    styles = line_styles(runs.arms) | {GROUND_TRUTH: {"color": INK, "linestyle": "solid"}}
    layout = COLUMN if width <= COLUMN_WIDTH else PAGE
    rows = _rows(runs, list(counts), layout)
    above_height = layout.panels[0] * (layout.panel_height + 0.4)
    below_height = TABLE_LINE * (1.6 + sum(lines(row) for row in rows))
    figure = Figure(figsize=(width, above_height + below_height), layout="constrained")
    # Without frames: theirs lie at 0 or at -0, as rounding has it.
    above, below = figure.subfigures(
        2, 1, height_ratios=[above_height, below_height], frameon=False
    )
    panels = above.subplots(*layout.panels, sharey=True, squeeze=False).flat
    for axes, channel in zip(panels, CHANNELS, strict=True):
        for arm, of in counts.items():
            edges, share = density(of, channel)
            with np.errstate(divide="ignore"):
                logs = np.where(share > 0, np.log(share), np.nan)
            thick = 1.4 if arm == GROUND_TRUTH else 0.9
            axes.plot(edges + 0.5, logs, linewidth=thick, **styles[arm])
        axes.set_xlabel(f"{channel} (CIELAB, D65)")
        axes.set_xlim(*_range_used(list(counts.values()), channel))
        few_ticks(axes.xaxis, 5)
        few_ticks(axes.yaxis, 4)
    above.supylabel("ln(share of pixels per unit)", fontsize=matplotlib.rcParams["axes.labelsize"])
    _table(below.subplots(), rows, layout, width, styles)
    return figure, (
        "ln of the share of pixels a Lab unit, all test images and seeds pooled; below, Lab ∩: how "
        "much of its histogram a run shares with the ground truth, mean over seeds"
    )


def _range_used(counts: list[np.ndarray], channel: str) -> tuple[float, float]:
    low, high = CHANNELS[channel]
    used = np.nonzero(sum(density(of, channel)[1] for of in counts))[0]
    margin = 0.03 * (used[-1] - used[0] + 1)
    return max(low, low + used[0] - margin), min(high, low + used[-1] + 1 + margin)


@dataclass(frozen=True)
class Row:
    """An arm's line of the table, in lines of type."""

    arm: str
    name: str
    values: tuple[str, str, str]


def lines(row: Row) -> int:
    """How many lines of type a row takes."""
    return max(text.count("\n") + 1 for text in (row.name, *row.values))


def _rows(runs: SuiteRuns, arms: list[str], layout: Layout) -> list[Row]:
    by_arm = runs_by_arm(runs)
    rows = []
    for arm in arms:
        done = sum(run.finished for run in by_arm[arm])
        scores = [f"color.{channel}" for channel in CHANNELS]
        texts = (cell_text(entry(by_arm[arm], score), score, done) for score in scores)
        values = tuple(t.replace(" ± ", "\n± ") if layout.stacked else t for t in texts)
        rows.append(Row(arm, wrapped(arm, layout.names_width), values))
    return rows


def _table(
    axes: Axes, rows: list[Row], layout: Layout, width: float, styles: dict[str, dict]
) -> None:
    """In a data space of shares of the width by lines of type."""
    axes.set(xlim=(0, 1), ylim=(1.1 + sum(lines(row) for row in rows), -0.6))
    axes.set_axis_off()
    name = HANDLE / width
    axes.text(name, 0, "Lab ∩ of", va="center")
    for x, channel in zip(layout.column_ends, CHANNELS, strict=True):
        axes.text(x, 0, channel, ha="right", va="center")
    axes.axhline(0.55, xmin=0, xmax=layout.column_ends[-1] + 0.01, color=INK, linewidth=0.5)
    y = 0.6
    for row in rows:
        middle = y + lines(row) / 2
        axes.plot([0.005, 0.75 * name], [middle, middle], linewidth=1.6, **styles[row.arm])
        axes.text(name, middle, row.name, va="center", linespacing=1.0)
        for x, text in zip(layout.column_ends, row.values, strict=True):
            place = {"ha": "right", "va": "center", "multialignment": "right"}
            axes.text(x, middle, text, linespacing=1.0, **place)
        y += lines(row)
