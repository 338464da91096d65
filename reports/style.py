"""One look for every figure: sizes in inches of a two-column page, type, colours, files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pix2pix.atomic import replacing

PAGE_WIDTH = 6.9
DPI = 200
INK = "#222222"
GREY = "#8a8a8a"
# Okabe and Ito's palette, without its yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00")
DASHES = ("solid", (0, (4, 1.5)), (0, (1.2, 1.2)))

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pix2pix-ablations",  # the same ids for the same figure
    "pdf.fonttype": 42,  # TrueType, as publishers ask for
    "axes.formatter.useoffset": False,  # `0.006` must not mean 13.626
    "text.parse_math": False,  # a dollar in an arm's name is a dollar
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw within this, so that nobody's matplotlibrc shows."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def line_styles(arms: Sequence[str]) -> dict[str, dict]:
    """{arm: colour and dash}: colours first, then the same colours dashed."""
    return {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % 3]}
        for i, arm in enumerate(arms)
    }


def few_ticks(axis: matplotlib.axis.Axis, most: int = 4) -> None:
    """At most so many round ticks, so that they never touch."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def save(figure: Figure, folder: Path, name: str, as_svg: bool = False) -> None:
    """NAME.png for reading, NAME.pdf for papers, the same bytes for the same figure.

    `as_svg` adds NAME.svg with text as text, for web pages.
    """
    kinds = {"png": {"dpi": DPI, "metadata": {"Software": None}}}
    kinds["pdf"] = {"dpi": 300, "metadata": {"CreationDate": None}}
    if as_svg:
        kinds["svg"] = {"metadata": {"Date": None}, "transparent": True}
    for kind, options in kinds.items():
        content = io.BytesIO()
        figure.savefig(content, format=kind, **options)
        with replacing(folder / f"{name}.{kind}") as file:
            file.write(content.getvalue())
