"""Draw every figure for which a report has data."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure

from experiments.tracking.reader import SuiteRuns
from reports.figures.classes import draw_classes
from reports.figures.curves import draw_curves
from reports.figures.grid import draw_grid
from reports.figures.lab import draw_lab_histograms
from reports.figures.seeds import draw_seeds
from reports.figures.style import COLUMN_WIDTH, FONT, IN_COLUMN, PAGE_WIDTH, paper_style, save

FIGURES = {
    "arms_by_inputs": draw_grid,
    "seeds": draw_seeds,
    "classes": draw_classes,
    "lab_histograms": draw_lab_histograms,
    "curves": draw_curves,
}
DRAWN = ("seeds", "classes", "lab_histograms", "curves")
"""Figures of lines and text, which the HTML page shows as SVG."""


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
    with _one_line_for_missing_letters() as missing:
        for name, figure, captions[name] in drawings(runs, PAGE_WIDTH):
            save(figure, folder, name, "png", "pdf", *(["svg"] if name in DRAWN else []))
            missing(name)
        for name, figure, _ in drawings(runs, COLUMN_WIDTH):
            save(figure, folder, f"{name}{IN_COLUMN}", "pdf")
            missing(name)
    for name in FIGURES.keys() - captions.keys():
        for ending in (".png", ".pdf", ".svg", f"{IN_COLUMN}.pdf"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)
    return captions


@contextmanager
def _one_line_for_missing_letters() -> Iterator[Callable[[str], None]]:
    """Collect matplotlib's warnings about missing letters, and print one line instead.

    Gives a function to be called with the name of each figure that was drawn. Other warnings are
    passed on.
    """
    letters_by_figure: dict[str, set[str]] = {}
    others: list[warnings.WarningMessage] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def drawn(name: str) -> None:
            while caught:
                warning = caught.pop()
                glyph = re.match(r"Glyph (\d+) .*missing from", str(warning.message))
                if glyph:
                    letters_by_figure.setdefault(name, set()).add(chr(int(glyph[1])))
                else:
                    others.append(warning)

        yield drawn
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if letters_by_figure:
        letters = "".join(sorted(set().union(*letters_by_figure.values())))
        where = f"boxes in the PNG and PDF files of {', '.join(letters_by_figure)}"
        print(f"figures: {FONT} has no {letters}: {where}", file=sys.stderr)
