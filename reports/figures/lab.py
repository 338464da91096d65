"""Pooled Lab histograms on a log scale, and the table of their intersections (Figure 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.color import BIN_WIDTHS, HIGHEST, LOWEST, histogram_intersection
from eval.color import CHANNELS as NAMES
from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.runs import GROUND_TRUTH, entry, runs_by_arm
from reports.figures.style import COLUMN_WIDTH, INK, arm_line, few_ticks, wrapped
from reports.pages.tables import cell_text

CHANNELS = {
    name: (int(low), int(high)) for name, low, high in zip(NAMES, LOWEST, HIGHEST, strict=True)
}
"""{channel: its lowest and highest value}; the bins of the counts start at the lowest."""
TABLE_LINE = 0.155
"""Line height of the table in inches."""
HANDLE = 0.35
"""Inches in front of an arm's name."""


@dataclass(frozen=True)
class Layout:
    """The grid of panels and the table's columns for one figure width."""

    panels: tuple[int, int]
    panel_height: float
    """Inches, without the axis labels."""
    column_ends: tuple[float, float, float]
    """Right ends of the table's columns L, a and b, as shares of the width."""
    names_width: float
    """Inches."""
    stacked: bool
    """Whether ± is on the line below its value."""


PAGE = Layout((1, 3), 1.5, (0.52, 0.74, 0.96), 2.4, False)
COLUMN = Layout((3, 1), 0.85, (0.62, 0.8, 0.98), 1.2, True)


def pooled(runs: SuiteRuns) -> dict[str, np.ndarray]:
    """{arm: (3, bins) counts over all its finished seeds}, the ground truth last.

    All get the bins of the run that was scored with the widest ones.
    """
    found = {}
    for arm, seeds in runs_by_arm(runs).items():
        counts = [c for run in seeds if run.finished and (c := _counts(run)) is not None]
        if counts:
            found[arm] = counts
    fewest = min((c.shape[1] for counts in found.values() for c in counts), default=0)
    return {
        arm: np.sum([c.reshape(3, fewest, -1).sum(2) for c in counts], axis=0)
        for arm, counts in found.items()
    }


def _counts(run: RunRecord) -> np.ndarray | None:
    stored = run.json_artifact("histograms.json")
    return None if stored is None else np.asarray(stored["lab"], np.int64)


def counted_width(counts: np.ndarray) -> float:
    """Width in Lab units of the bins of (3, bins) counts."""
    return max(high - low for low, high in CHANNELS.values()) / counts.shape[1]


def density(counts: np.ndarray, channel: str, width: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """(left edges, share of pixels per unit) of a channel in bins of `width` units.

    `counts` is (3, bins). `width` must divide the channel's range and be at least
    `counted_width(counts)`.
    """
    low, high = CHANNELS[channel]
    counted = counted_width(counts)
    row = counts[list(CHANNELS).index(channel), : round((high - low) / counted)].astype(float)
    merged = row.reshape(-1, round(width / counted)).sum(axis=1)
    return np.arange(low, high, width), merged / max(merged.sum(), 1.0) / width


def intersection(p: np.ndarray, q: np.ndarray, channel: str, width: float = 1) -> float:
    """Histogram intersection, 0 to 1, of two (3, bins) counts in bins of `width` units."""
    first, second = (density(counts, channel, width)[1] for counts in (p, q))
    return histogram_intersection(first, second)


def bin_notes(runs: SuiteRuns) -> list[str]:
    """One line per arm: its intersection with the real photos at several bin widths."""
    counts = pooled(runs)
    truth = counts.pop(GROUND_TRUTH, None)
    if truth is None or not counts:
        return []
    known = [width for width in BIN_WIDTHS if width >= counted_width(truth)]
    widths = ", ".join(map(str, known))
    lines = [
        "the paper does not state its bins; ours are one unit wide. Lab ∩ of one histogram pooled "
        f"over all seeds (the table has the mean over seeds), for bins of {widths} units:"
    ]
    for arm, own in counts.items():
        by_channel = []
        for channel in CHANNELS:
            values = (f"{intersection(own, truth, channel, width):.3f}" for width in known)
            by_channel.append(f"{channel} {' / '.join(values)}")
        lines.append(f"{arm}: {'; '.join(by_channel)}")
    return lines


def draw_lab_histograms(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """ln of the share of pixels per unit over L, a and b; all test images and seeds pooled.

    Returns the figure and its caption; None where no arm has a histogram.
    """
    counts = pooled(runs)
    arms = [arm for arm in counts if arm != GROUND_TRUTH]
    if not arms:
        return None
    styles = {arm: arm_line(runs.arms, arm) for arm in arms} | {
        GROUND_TRUTH: {"color": INK, "linestyle": "solid"}
    }
    layout = COLUMN if width <= COLUMN_WIDTH else PAGE
    rows = _rows(runs, list(counts), layout)
    above_height = layout.panels[0] * (layout.panel_height + 0.4)
    below_height = TABLE_LINE * (1.6 + sum(lines(row) for row in rows))
    figure = Figure(figsize=(width, above_height + below_height), layout="constrained")
    # Frames would lie at 0 or -0 depending on rounding, and the files would differ.
    above, below = figure.subfigures(  # type: ignore[misc]
        2, 1, height_ratios=[above_height, below_height], frameon=False
    )
    panels = above.subplots(*layout.panels, sharey=True, squeeze=False).flat
    for axes, channel in zip(panels, CHANNELS, strict=True):
        for arm, own in counts.items():
            edges, share = density(own, channel)
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
        "ln of the share of pixels per Lab unit, all test images and seeds pooled; below, Lab ∩: "
        "the intersection of a run's histogram with the ground truth's, mean over seeds"
    )


def _range_used(counts: list[np.ndarray], channel: str) -> tuple[float, float]:
    low, high = CHANNELS[channel]
    used = np.nonzero(np.sum([density(own, channel)[1] for own in counts], axis=0))[0]
    margin = 0.03 * (used[-1] - used[0] + 1)
    return max(low, low + used[0] - margin), min(high, low + used[-1] + 1 + margin)


@dataclass(frozen=True)
class Row:
    """An arm's row of the table; texts may have several lines."""

    arm: str
    name: str
    values: tuple[str, ...]


def lines(row: Row) -> int:
    """How many lines of type a row needs."""
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
    """Draw the table; x is a share of the width, y counts lines of type."""
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
            place: dict[str, Any] = {"ha": "right", "va": "center", "multialignment": "right"}
            axes.text(x, middle, text, linespacing=1.0, **place)
        y += lines(row)
