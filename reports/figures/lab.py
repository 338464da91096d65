"""Pooled Lab histograms on a log scale (Figure 7)."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from eval.color import BIN_WIDTHS, CHANNELS, HIGHEST, LOWEST, intersections, merged
from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import GROUND_TRUTH, runs_by_arm
from reports.figures.style import COLUMN_WIDTH, INK, add_legend, arm_line, few_ticks, legend_columns


def pooled(runs: SuiteRuns) -> dict[str, np.ndarray]:
    """{arm: (3, BINS) counts over all its finished seeds}, the ground truth last."""
    found = {}
    for arm, seeds in runs_by_arm(runs).items():
        stored = [run.json_artifact("histograms.json") for run in seeds if run.finished]
        counts = [np.asarray(one["lab"], np.int64) for one in stored if one is not None]
        if counts:
            found[arm] = np.sum(counts, axis=0)
    return found


def bin_notes(runs: SuiteRuns) -> list[str]:
    """One line per arm: its intersection with the real photos at several bin widths."""
    counts = pooled(runs)
    truth = counts.pop(GROUND_TRUTH, None)
    if truth is None or not counts:
        return []
    lines = [
        "the paper does not state its bins; ours are one unit wide. Lab ∩ of one histogram pooled "
        "over all seeds (the table has the mean over seeds), for bins of "
        f"{', '.join(map(str, BIN_WIDTHS))} units:"
    ]
    for arm, own in counts.items():
        found = [intersections(own, truth, width) for width in BIN_WIDTHS]
        by_channel = [
            f"{channel} {' / '.join(f'{values[channel]:.3f}' for values in found)}"
            for channel in CHANNELS
        ]
        lines.append(f"{arm}: {'; '.join(by_channel)}")
    return lines


def draw_lab_histograms(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """ln of the share of pixels per unit over L, a and b; all test images and seeds pooled.

    Returns the figure and its caption; None where no arm has a histogram.
    """
    counts = pooled(runs)
    lines = {arm: arm_line(runs.arms, arm) for arm in counts if arm != GROUND_TRUTH}
    if not lines:
        return None
    lines[GROUND_TRUTH] = {"color": INK, "linestyle": "solid", "linewidth": 1.4}
    narrow = width <= COLUMN_WIDTH
    columns = legend_columns(list(counts), width)
    height = 3 * 1.25 if narrow else 1.9
    height += 0.15 + 0.15 * -(-len(counts) // columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    shape = (3, 1) if narrow else (1, 3)
    panels = figure.subplots(*shape, sharey=True, squeeze=False).flat
    for c, (axes, channel) in enumerate(zip(panels, CHANNELS, strict=True)):
        used = []
        for arm, own in counts.items():
            row = merged(own)[c, : HIGHEST[c] - LOWEST[c]].astype(float)
            row[row == 0] = np.nan  # no line where there is no pixel
            units = LOWEST[c] + 0.5 + np.arange(row.size)
            axes.plot(units, np.log(row / np.nansum(row)), **{"linewidth": 0.9} | lines[arm])
            used += [*units[np.isfinite(row)][[0, -1]]]
        margin = 0.03 * (max(used) - min(used) + 1) + 0.5
        low, high = min(used) - margin, max(used) + margin
        axes.set_xlim(max(LOWEST[c], low), min(HIGHEST[c], high))
        axes.set_xlabel(f"{channel} (CIELAB, D65)")
        few_ticks(axes.xaxis, 5)
        few_ticks(axes.yaxis, 4)
    figure.supylabel("ln(share of pixels per unit)", fontsize=matplotlib.rcParams["axes.labelsize"])
    add_legend(figure, {arm: lines[arm] for arm in counts}, columns)
    return figure, "ln of the share of pixels per Lab unit, all test images and seeds pooled"
