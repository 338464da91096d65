"""Tables, notes and the ceiling from runs written down by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from suites import PIXEL, claiming, run, suite

from eval.metrics import of_family
from experiments.plan import make_plan
from experiments.record import of_settings
from experiments.spec import load_suite
from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from pix2pix.data.registry import load_registry
from reports.analysis import Analysis
from reports.analysis.cost import cost_table, duration
from reports.pages.content import gather
from reports.pages.html import suite_page
from reports.pages.markdown_page import markdown_page
from reports.pages.notes import (
    gaps,
    interval_note,
    not_measured,
    paper_note,
    provenance,
)
from reports.pages.tables import make_table, markdown, table_frame

WHY = "no backbone: put alexnet.pth into the hub cache"


def row(text: str, arm: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {arm} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_mean_and_interval_of_three_seeds_beside_the_paper() -> None:
    published = {"source": "Table 3 (Cityscapes, 256×256)", "rows": {"70x70": {PIXEL: 0.6}}}
    published["rows"][GROUND_TRUTH] = {PIXEL: 0.8}
    runs = suite(
        *(run("70x70", seed, v) for seed, v in ((1, 0.80), (2, 0.82), (3, 0.87))),
        published=published,
    )
    text = markdown(make_table(Analysis(runs)))
    assert row(text, "70x70") == ["70x70", "3", "0.830 ± 0.090", "0.60"]
    assert row(text, GROUND_TRUTH) == [GROUND_TRUTH, "", "0.900", "0.80"]
    assert text.splitlines()[-1].startswith(f"| {GROUND_TRUTH}")
    assert paper_note(runs).endswith(
        ": another data set than camvid, another size than 128×128 and another scorer than "
        "ours, so compare orders, not values."
    )
    told, source = "so compare orders, not values.", "paper: Table 3 (Cityscapes, 256×256)"
    for name in ("cityscapes", "cityscapes_gtfine"):
        same = suite(run("70x70", 1, 0.5), published=published, dataset=name, size=[256, 256])
        assert paper_note(same) == f"{source}: another scorer than ours, {told}"
    for steps, differs in ((None, ""), (4000, "other settings than ours, ")):
        plan = make_plan(
            load_suite("color"),
            load_registry()["cityscapes"],
            "paper",
            overrides={"training.steps": steps} if steps else {},
        )
        record = {
            "other_settings": of_settings(plan),
            "dataset": "cityscapes",
            "size": [256, 256],
        }
        color = {"source": "Figure 7 (Cityscapes, 256×256)", "rows": {"L1": {"color.L": 0.8}}}
        note = paper_note(suite(run("L1", 1, 0.5), published=color, **record))
        assert note.endswith(f"{differs}{told}" if differs else "256×256).")
    own = suite(run("70x70", 1, 0.5), published=published, dataset="city", size=[256, 256])
    assert "another data set than city" in str(paper_note(own))


def test_a_report_says_how_many_images_it_rests_on() -> None:
    runs = suite(run("a", 1, 0.8), run("b", 1, 0.7), pairs={"train": 8, "val": 1, "test": 1})
    page = markdown_page(gather(runs), {})
    assert "8 pairs to train on and 1 to test" in page
    runs = suite(run("a", 1, 0.8), pairs={"train": 8, "val": 1, "test": 1}, unpaired=True)
    page = markdown_page(gather(runs), {})
    assert "8 images of the longer side to train on and 1 to test" in page
    assert "every score rests on one test image" in page.lower()
    for known in ({"train": 400, "val": 0, "test": 106}, {}):
        runs = suite(run("a", 1, 0.8), run("b", 1, 0.7), pairs=known)
        assert "score is of" not in markdown_page(gather(runs), {})


def test_one_seed_has_no_interval_and_says_so() -> None:
    runs = suite(run("70x70", 1, 0.8))
    assert row(markdown(make_table(Analysis(runs))), "70x70")[1:] == ["1", "0.800"]
    assert "n = 1" in interval_note(runs)
    assert "n = 1" not in interval_note(suite(run("a", 1, 0.8), run("a", 2, 0.8)))


def test_gaps_are_shown_and_named() -> None:
    runs = suite(
        run("a", 1, 0.80),
        run("a", 2, 0.82),
        run("a", 3, None, status="failed", error="step 7: g_l1 is not a number"),
        run("b", 1, None, status="failed", error="no disk space"),
        run("c", 1, None, status="missing"),
        run("d", 1, None, status="running"),
        truth=None,
    )
    text = markdown(make_table(Analysis(runs)))
    # mean 0.81, s = 0.0141421, t(1) = 12.7062: ± 0.12706
    assert row(text, "a") == ["a", "2 of 3", "0.810 ± 0.127"]
    assert row(text, "b") == ["b", "0 of 1", "failed"]
    assert row(text, "c") == ["c", "0 of 1", "missing"]
    assert row(text, "d") == ["d", "0 of 1", "missing"]
    assert gaps(runs) == [
        "failed: a seed 3: step 7: g_l1 is not a number",
        "failed: b seed 1: no disk space",
        "begun, not finished: d seed 1",
        "missing: c seed 1",
        "missing: the ground-truth row, the suite has no reference",
    ]


def test_not_measured_tells_how_to_get_it_once() -> None:
    runs = suite(
        run("a", 1, 0.8, not_measured={"lpips": WHY}),
        run("a", 2, 0.8, not_measured={"lpips": WHY}),
        scores=["fcn", "lpips"],
    )
    assert row(markdown(make_table(Analysis(runs))), "a")[3] == "not measured"
    assert not_measured(runs) == [f"LPIPS: not measured: {WHY}"]


def test_the_unit_of_a_time_goes_by_its_size() -> None:
    seconds = (0.31, 119.0, 120.0, 7199.0, 7200.0, 0.0)
    assert [duration(value) for value in seconds] == [
        "0.3 seconds", "119.0 seconds", "2.0 minutes", "120.0 minutes", "2.0 hours", "0.0 seconds",
    ]  # fmt: skip
    cost = {"seconds": 600.0, "training_seconds": 300.0}
    table = cost_table(suite(run("a", 1, 0.8, cost=cost), run("b", 1, 0.8, cost={"seconds": 60.0})))
    assert table.head[3] == "minutes per cell"
    assert [row[3] for row in table.rows] == ["10.00", "1.00"]
    assert table.text.endswith(
        "Time in all, runs added up: 11.0 minutes on unknown (all finished cells; without the"
        " scorer's training)."
    )


def test_cells_that_share_a_training_do_not_shorten_its_time() -> None:
    whole = {"seconds": 600.0, "training_seconds": 300.0}
    own, taken = run("a", 1, 0.8, cost=whole), run("a", 2, 0.8, cost={"seconds": 60.0})
    table = cost_table(suite(own, taken))
    assert [table.rows[0][column] for column in (1, 3, 4)] == ["1", "10.00", "50 %"]
    assert "of another cell's training are not among them" in table.text


def test_a_score_has_one_name_on_a_page(tmp_path: Path) -> None:
    """Keys of scores stand on a page only where it says what files call them."""
    published = {"source": "Table 3", "rows": {"a": {PIXEL: 0.6}, "b": {PIXEL: 0.5}}}
    claims = [f"a > b on {PIXEL}"]
    why = {"lpips": WHY, "pixel.ssim": "too small"}
    values = {"a": 0.6, "b": 0.5}
    cells = [
        run(arm, seed, value + seed / 100, not_measured=why)
        for arm, value in values.items()
        for seed in (1, 2)
    ]
    asked = {"scores": ["fcn", "lpips", "pixel"], "published": published, "claims": claims}
    runs = suite(*cells, truth=0.61, **asked)
    page = markdown_page(gather(runs), {})
    named, _, rest = page.partition("## Score names in files")
    assert "FCN per-pixel acc.: fcn.pixel_accuracy" in rest
    html, _, rest = suite_page(gather(runs), {}, tmp_path).partition('id="score-names-in-files"')
    assert "FCN per-pixel acc.: fcn.pixel_accuracy" in rest
    for text in (named, html):
        assert "FCN per-pixel acc." in text and "Ceiling" in text
        keys = r"\b(fcn|labels|color|pixel)\.[a-zA-Z]|\blpips\b"
        assert not re.search(f"{keys}|per-pixel accuracy", text)


def test_a_family_that_does_not_apply_is_not_measured() -> None:
    reasons = dict.fromkeys(of_family("fcn"), "the data set has no labels")
    measured = {"status": "done", "scores": {"pixel.l1": 0.1}, "not_measured": reasons}
    runs = suite(
        run("a", 1, None, **measured),
        run("b", 1, None, **measured),
        truth=None,
        scores=["fcn", "pixel"],
        published={"source": "Table 3", "rows": {"a": dict.fromkeys(of_family("fcn"), 0.5)}},
    )
    truth = RunRecord(GROUND_TRUTH, None, "ref", "done", scores={"color.L": 1.0})
    runs = SuiteRuns(runs.record, runs.runs, truth)
    text = markdown(make_table(Analysis(runs)))
    assert row(text, "a")[2:] == ["not measured"] * 3 + ["0.100"] + ["0.50"] * 3
    assert row(text, GROUND_TRUTH)[2:6] == ["not measured"] * 3 + ["—"]
    assert not_measured(runs) == ["FCN-scores: not measured: the data set has no labels"]
    assert Analysis(runs).ceiling_warnings == ()
    claims = ["a > b on fcn.class_iou", f"{GROUND_TRUTH} < a on pixel.l1"]
    told = [
        (verdict.word, verdict.detail) for verdict in Analysis(claiming(runs, *claims)).verdicts
    ]
    assert told == [
        ("undecided", "a is not measured (the data set has no labels)"),
        ("undecided", "ground truth has no such score"),
    ]


def test_a_part_of_a_family_is_named_by_score() -> None:
    why = {"pixel.ssim": "an image of 8x8 pixels is below 11"}
    runs = suite(run("a", 1, 0.8, not_measured=why), scores=["fcn", "pixel"])
    assert not_measured(runs) == [f"SSIM: not measured: {why['pixel.ssim']}"]


def test_scores_of_another_reference_are_left_out_and_say_why() -> None:
    remark = "scored against another reference"
    runs = suite(run("a", 1, 0.8), run("b", 1, None, status="running", remark=remark), truth=None)
    assert row(markdown(make_table(Analysis(runs))), "b") == ["b", "0 of 1", "left out"]
    assert gaps(runs)[0] == f"left out, {remark}: b seed 1"


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ({"steps": 4000, "epochs": None}, "profile quick, 128×128 pixels, 4,000 steps."),
        ({"steps": None, "epochs": 200}, "profile quick, 128×128 pixels, 200 epochs."),
        ({"steps": None, "epochs": None}, "profile quick, 128×128 pixels."),
    ],
)
def test_the_headline_has_a_length_where_all_arms_have_the_same(lengths: dict, told: str) -> None:
    runs = suite(run("a", 1, 0.8), run("b", 1, 0.7), direction="labels->photo", **lengths)
    headline = markdown_page(gather(runs), {}).splitlines()[4]
    told = told.removesuffix(".")
    assert headline == f"data set camvid, labels→photo, {told}, 1 seed per arm."


def test_a_score_that_some_seeds_lack_names_its_own_n() -> None:
    more = {"status": "done", "scores": {PIXEL: 0.8, "lpips": 0.25}}
    runs = suite(run("a", 1, 0.8), run("a", 2, None, **more), scores=["fcn", "lpips"], truth=None)
    assert row(markdown(make_table(Analysis(runs))), "a") == [
        "a",
        "2",
        "0.800 ± 0.000",
        "0.250 (n = 1)",
    ]
    assert not_measured(runs) == ["LPIPS: no value and no reason recorded: a seed 1"]
    below = suite(run("a", 1, None, scores={"pixel.ssim": -0.012}), scores=["pixel"], truth=None)
    assert row(markdown(make_table(Analysis(below))), "a")[-1] == "−0.012"


def test_csv_keeps_full_precision_and_states() -> None:
    runs = suite(run("a", 1, 1 / 3), run("b", 1, None, status="failed"))
    frame = table_frame(make_table(Analysis(runs)))
    assert [*frame.arm] == ["a", "b", GROUND_TRUTH]
    assert frame[PIXEL][0] == 1 / 3
    assert math.isnan(frame[PIXEL][1]) and frame[f"{PIXEL} state"][1] == "failed"


def test_wide_tables_are_split_where_the_paper_ends() -> None:
    families = ["fcn", "lpips", "color", "pixel"]
    published = {"source": "T", "rows": {"a": {PIXEL: 0.66}}}
    nothing = run("a", 1, None, status="missing")
    table = make_table(Analysis(suite(nothing, scores=families, published=published)))
    (ours, papers), (rest, none) = table.blocks()
    assert ours == papers == (PIXEL,)
    assert none == ()
    assert len(rest) == 9
    assert PIXEL not in rest


def test_the_ceiling_warns_when_low_and_when_close() -> None:
    assert Analysis(suite(run("a", 1, 0.80), truth=0.85)).ceiling_warnings == ()
    (low,) = Analysis(suite(run("a", 1, 0.3), truth=0.69)).ceiling_warnings
    assert "only 0.690 in FCN per-pixel acc." in low
    (close,) = Analysis(suite(run("a", 1, 0.84), run("b", 1, 0.86), truth=0.85)).ceiling_warnings
    assert "even the lowest arm (a, 0.840)" in close
    assert Analysis(suite(run("a", 1, 0.84), truth=None)).ceiling_warnings == ()


def test_provenance_counts_out_what_differs() -> None:
    devices = ({"device": "cpu"}, {"device": "cuda:0"}, {"device": "cpu"})
    runs = suite(
        *(
            run("a", seed, 0.5, provenance=device, fingerprint=print_)
            for seed, (device, print_) in enumerate(zip(devices, "xxy", strict=True))
        ),
        truth=None,
        fingerprint="x",
    )
    lines = provenance(runs)
    assert "device: cpu (2 runs); cuda:0 (1 run)" in lines
    assert "data fingerprints of the runs differ: x, y" in lines
