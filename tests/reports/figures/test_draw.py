"""Figures at both widths: type that can be read, nothing over another or cut off; honest axes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from suites import PIXEL, arms, run, suite

from experiments.plan import SuiteKey
from experiments.tracking.reader import SuiteRuns, list_suites, read_suite
from pix2pix.common.errors import UserError
from reports.figures.curves import draw_curves
from reports.figures.draw import FIGURES, draw_all, drawings
from reports.figures.seeds import draw_seeds, main_scores, whole_range
from reports.figures.style import (
    COLUMN_WIDTH,
    PAGE_WIDTH,
    inches_of,
    legend_columns,
    paper_style,
    wrapped,
)
from reports.pages.content import gather
from reports.write import write_pages

LONG = ("encoder-decoder (L1)", "encoder-decoder (L1+cGAN)", "U-Net (L1)", "U-Net (L1+cGAN)", "x")
SPACE = 4.0
"""Pixels at 100 an inch between numbers, or they read as one."""
OVERLAP = 1.0
"""Pixels at 100 a inch: line spacing lets boxes of lines meet."""


@pytest.fixture(scope="module")
def runs(miniature) -> SuiteRuns:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", miniature)
        return read_suite(*list_suites()[0])


def renamed(runs: SuiteRuns, names: tuple[str, ...]) -> SuiteRuns:
    new = dict(zip(runs.arms, names, strict=True))
    kept = tuple(replace(run, arm=new[run.arm]) for run in runs.runs)
    arms = tuple(arm.model_copy(update={"name": new[arm.name]}) for arm in runs.record.arms)
    return replace(runs, runs=kept, record=runs.record.model_copy(update={"arms": arms}))


def texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Every text that is drawn."""
    drawn = []
    draw = Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)
        return draw(self, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", record)
    figure.set_dpi(100)
    FigureCanvasAgg(figure).draw()
    monkeypatch.undo()
    return list(dict.fromkeys(drawn))


@pytest.mark.parametrize("width", [COLUMN_WIDTH, PAGE_WIDTH])
@pytest.mark.parametrize("names", [None, LONG], ids=["short", "long"])
def test_type_is_read_and_nothing_is_cut_or_covered(
    runs: SuiteRuns, width: float, names: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    with paper_style():
        for name, figure, _ in drawings(renamed(runs, names) if names else runs, width):
            seen.append(name)
            assert figure.get_figwidth() <= width + 1e-9 and figure.get_figheight() <= 8.875
            boxes = {}
            for text in texts(figure, monkeypatch):
                assert 7 <= text.get_fontsize() <= 8, (name, text)
                box = boxes[text] = text.get_window_extent()
                assert box.x0 >= -1 and box.x1 <= 100 * figure.get_figwidth() + 1, (name, text)
                assert box.y0 >= -1 and box.y1 <= 100 * figure.get_figheight() + 1, (name, text)
            level = [text for text in boxes if text.get_rotation() in (0, 90)]
            assert len(level) > 5
            for a, b in combinations(level, 2):
                wide = min(boxes[a].x1, boxes[b].x1) - max(boxes[a].x0, boxes[b].x0)
                high = min(boxes[a].y1, boxes[b].y1) - max(boxes[a].y0, boxes[b].y0)
                assert min(wide, high) <= OVERLAP, (name, a, b)
    assert seen == list(FIGURES)


def test_runs_that_were_left_out_have_no_curve(runs: SuiteRuns) -> None:
    def lines(runs: SuiteRuns) -> int:
        figure, _ = draw_curves(runs, PAGE_WIDTH)
        return sum(len(axes.lines) for axes in figure.axes)

    first, *others = runs.runs
    out = replace(first, status="running", remark="of other data")
    assert lines(replace(runs, runs=(out, *others))) < lines(runs)
    begun = replace(first, status="running")
    assert lines(replace(runs, runs=(begun, *others))) == lines(runs)


@pytest.mark.parametrize("width", [COLUMN_WIDTH, PAGE_WIDTH])
@pytest.mark.parametrize("spread", [1e-5, 1e-3, 0.1])
def test_numbers_below_a_panel_never_touch(
    width: float, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou", "color.L", "pixel.psnr")
    cells = [
        run(arm, seed, None, scores={n: 0.76543 + level + spread * seed for n in names})
        for arm, level in (("a", 0.0), ("b", 5 * spread))
        for seed in (1, 2, 3)
    ]
    shown = suite(*cells, truth=None, scores=["fcn", "color", "pixel"])
    with paper_style():
        figure, _ = draw_seeds(shown, width)
        numbers = [t for t in texts(figure, monkeypatch) if re.fullmatch(r"[\d.]+", t.get_text())]
        boxes = [text.get_window_extent() for text in numbers]
    assert len(boxes) > 4
    for a, b in combinations(boxes, 2):
        level = min(a.y1, b.y1) - max(a.y0, b.y0) > 0
        assert not level or max(a.x0, b.x0) - min(a.x1, b.x1) > SPACE, (a, b)


def test_a_column_has_fewer_inputs_and_the_scores_that_matter(runs: SuiteRuns) -> None:
    def panels(width: float) -> dict[str, int]:
        return {
            name: sum(axes.axison or bool(axes.images) for axes in figure.axes)
            for name, figure, _ in drawings(runs, width)
        }

    page, column = panels(PAGE_WIDTH), panels(COLUMN_WIDTH)
    assert (page["arms_by_inputs"], column["arms_by_inputs"]) == (4 * 7, 3 * 7)
    assert (page["seeds"], column["seeds"]) == (9, 3)
    scores = ["fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou"]
    measured = [*scores, "color.L", "pixel.l1"]
    assert main_scores(runs, measured) == scores  # claims and the paper's table
    assert main_scores(suite(*arms({"a": [0.5]})), measured) == measured


@pytest.mark.parametrize("width", [COLUMN_WIDTH, PAGE_WIDTH])
def test_lone_seeds_stand_on_the_whole_range(width: float) -> None:
    alone = suite(*arms({"a": [0.501], "b": [0.503]}), truth=0.6)
    figure, caption = draw_seeds(alone, width)
    assert figure.axes[0].get_xlim() == (0.0, 1.0)
    assert "no order is proven" in caption and "mean" not in caption
    several = suite(*arms({"a": [0.501, 0.502], "b": [0.503]}), truth=None)
    figure, caption = draw_seeds(several, width)
    low, high = figure.axes[0].get_xlim()
    assert 0.49 < low < high < 0.51
    assert caption == "every seed a dot; the tick is the mean"


def test_whole_ranges() -> None:
    assert whole_range(PIXEL, [0.2, 0.3]) == (0.0, 1.0)
    assert whole_range("lpips", [0.5, 1.2]) == (0.0, 1.2)
    assert whole_range("pixel.ssim", [-0.1, 0.2]) == (-0.1, 1.0)
    assert whole_range("pixel.psnr", [10.0, 20.0]) == (0.0, pytest.approx(22.0))


def test_words_are_wrapped_and_counted() -> None:
    assert wrapped("FCN per-pixel acc. ↑", 1.0) == "FCN per-pixel\nacc.\u00a0↑"
    width, height = inches_of("four\nfive5")
    assert width == pytest.approx(5 / 15) and height == 0.25
    assert legend_columns(["a", "b", "c", "d", "e"], 2.2) == 3  # four fit; rows of three and two
    assert legend_columns(["a name as long as this"], 1.0) == 1


def test_where_every_cell_failed_there_are_curves_but_no_scores(runs, tmp_path):
    cells = tuple(replace(run, status="failed", scores={}) for run in runs.runs)
    failed = replace(runs, runs=cells)
    assert draw_seeds(failed, PAGE_WIDTH) is None
    drawn = draw_all(failed, tmp_path)
    assert "curves" in drawn and "seeds" not in drawn
    with pytest.raises(UserError, match="no finished cell: L1 seed 1 failed"):
        write_pages(SuiteKey("s", "d", "v"), gather(failed), tmp_path)
