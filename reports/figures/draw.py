"""Draw every figure for which a report has data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from experiments.tracking.reader import SuiteRuns
from reports.figures.classes import draw_classes
from reports.figures.curves import draw_curves
from reports.figures.grid import draw_grid
from reports.figures.lab import draw_lab_histograms
from reports.figures.seeds import draw_seeds
from reports.figures.style import COLUMN_WIDTH, IN_COLUMN, PAGE_WIDTH, paper_style, save

FIGURES = {
    "arms_by_inputs": draw_grid,
    "seeds": draw_seeds,
    "classes": draw_classes,
    "lab_histograms": draw_lab_histograms,
    "curves": draw_curves,
}
DRAWN = {
    "seeds": "Scores by arm, every seed a dot",
    "classes": "IoU of every class",
    "lab_histograms": "Colour distributions",
    "curves": "Training losses",
}
"""{figure of lines and text, which the HTML page shows as SVG: its title there}"""


def drawings(runs: SuiteRuns, width: float) -> Iterator[tuple[str, Figure, str]]:
    """(name, figure of `width` inches, caption) of every figure that has data."""
    with paper_style():
        for name, draw in FIGURES.items():
            drawn = draw(runs, width)
            if drawn is not None:
                yield name, *drawn


def draw_all(runs: SuiteRuns, folder: Path) -> dict[str, str]:
    """Write the figures into `folder` and return {name: caption of the page-width figure}.

    At page width NAME.png, NAME.pdf and, for the figures in DRAWN, NAME.svg; at column width
    NAME_column.pdf. Files of figures that have no data any more are deleted.
    """
    captions: dict[str, str] = {}
    for name, figure, captions[name] in drawings(runs, PAGE_WIDTH):
        save(figure, folder, name, "png", "pdf", *(["svg"] if name in DRAWN else []))
    for name, figure, _ in drawings(runs, COLUMN_WIDTH):
        save(figure, folder, f"{name}{IN_COLUMN}", "pdf")
    for name in FIGURES.keys() - captions.keys():
        for ending in (".png", ".pdf", ".svg", f"{IN_COLUMN}.pdf"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)
    return captions
