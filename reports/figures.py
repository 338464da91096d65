"""Every figure of a report that its runs allow: {name: caption}."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.tracking_reader import SuiteRuns
from reports.figure_classes import draw_classes
from reports.figure_curves import draw_curves
from reports.figure_grid import draw_grid
from reports.figure_lab import draw_lab_histograms
from reports.figure_seeds import draw_seeds
from reports.style import paper_style, save

NAMES = ("arms_by_inputs", "seeds", "classes", "lab_histograms", "curves")
DRAWN = ("seeds", "classes", "lab_histograms", "curves")
"""Those that are lines and text: the page holds them as SVG."""


def draw_all(runs: SuiteRuns, scores: Sequence[str], folder: Path) -> dict[str, str]:
    """Draw as NAME.png, NAME.pdf and, where it is lines and text, NAME.svg into `folder`.

    An older figure that has no data now goes.
    """
    captions: dict[str, str] = {}
    with paper_style():
        drawings = (
            lambda: draw_grid(runs),
            lambda: draw_seeds(runs, scores),
            lambda: draw_classes(runs),
            lambda: draw_lab_histograms(runs),
            lambda: draw_curves(runs),
        )
        for name, draw in zip(NAMES, drawings, strict=True):
            drawn = draw()
            if drawn is None:
                for suffix in (".png", ".pdf", ".svg"):
                    (folder / f"{name}{suffix}").unlink(missing_ok=True)
                continue
            figure, captions[name] = drawn
            save(figure, folder, name, as_svg=name in DRAWN)
    return captions
