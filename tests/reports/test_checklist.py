"""The checklist, BibTeX and intervals over images, from records written down by hand."""

from __future__ import annotations

from pathlib import Path

from suites import PIXEL, arms, run, suite

from reports.checklist import checklist, command
from reports.citation import bibtex
from reports.content import gather
from reports.html_page import suite_page
from reports.image_intervals import half_widths, image_intervals
from reports.markdown_page import markdown_page
from reports.verdicts import verdicts

RUN = {
    "params": {"training.jitter": "1.0", "training.batch": "1", "seed": "1"},
    "cost": {
        "training_seconds": 120.0,
        "seconds": 1800.0,
        "peak_memory_mib": 900.4,
        "generator_parameters": 54413955.0,
        "discriminator_parameters": 0.0,
    },
    "provenance": {"device": "cpu", "device_name": "AMD EPYC", "versions.torch": "2.11.0"},
    "splits": {"train": 367, "val": 101, "test": 101},
}


def test_every_item_comes_from_the_records() -> None:
    names = [{"name": "a", "changes": {}}, {"name": "L1", "changes": {"objective.gan": "none"}}]
    names.append({"name": "not run", "changes": {}})
    runs = suite(
        run("a", 1, 0.8, **RUN),
        run("a", 2, None, status="failed", error="no disk space"),
        run("L1", 1, 0.7, **RUN),
        arms=names,
        claims=[f"a > L1 on {PIXEL}", "a > not run on fcn.class_iou"],
        overrides={"training.batch": 1},
        profile="quick+training.batch=1",
        deviations=["First layers of 32 filters; the paper's have 64."],
    )
    text = checklist(runs, verdicts(runs))
    for line in (
        "- undecided: 1 (a > L1 on FCN per-pixel acc.).",
        "- not judged, their arms were not asked for: 1 (a > not run on FCN class IoU).",
        "- none over seeds: with one seed an arm there is no interval.",
        "- 2 arms, seeds 1, 2: 2 of 3 trainings finished.",
        "- failed: a seed 2: no disk space.",
        "- not asked for: not run.",
        "- processor or GPU: AMD EPYC.",
        "- cores: not recorded.",
        "- versions: torch 2.11.0.",
        "- a: 2.0 minutes a training, peak memory 900 MiB.",
        "- in all, scoring included: 60.0 minutes of one device.",
        "- L1: generator 54,413,955, changes objective.gan none.",
        "- settings of all arms: training.jitter 1.0, training.batch 1.",
        "- pairs: train 367, val 101, test 101.",
        "- random mirroring: not recorded.",
        "- intervals over test images: not recorded.",
        "- First layers of 32 filters; the paper's have 64.",
        "- commit: not recorded.",
    ):
        assert line in text.splitlines(), line
    assert command(runs) == (
        "python run_ablations.py --suite patch_size --dataset camvid --profile quick --seeds 1,2 "
        "--arms a,L1 --set training.batch=1"
    )


def test_one_seed_is_named_as_the_command_line_reads_it() -> None:
    runs = suite(run("U-Net (L1)", 7, 0.8), arms=[{"name": n} for n in ("U-Net (L1)", "x")])
    assert command(runs).endswith('--seeds 7, --arms "U-Net (L1)"')


def test_bibtex_names_the_commit() -> None:
    text = bibtex(suite(run("a", 1, 0.5), commit="0123abc"))
    assert text.count("@") == 2 and "commit 0123abc" in text and "1611.07004" in text


def test_intervals_over_images_stand_apart_and_say_so(tmp_path: Path) -> None:
    none = suite(*arms({"a": [0.8, 0.9]}))
    assert image_intervals(none) is None and half_widths(none) is None
    runs = suite(
        run("a", 1, 0.80, image_intervals={PIXEL: (0.78, 0.83)}),
        run("a", 2, 0.82, image_intervals={PIXEL: (0.81, 0.84)}),
        run("b", 1, 0.70),
    )
    assert image_intervals(runs).splitlines() == [
        "arm,seed,score,value,low,high",
        "a,1,fcn.pixel_accuracy,0.8,0.78,0.83",
        "a,2,fcn.pixel_accuracy,0.82,0.81,0.84",
    ]
    table = half_widths(runs)
    assert table and table.columns == ("arm", "FCN per-pixel acc.")
    assert table.rows == (("a", "± 0.020"),)  # half of (0.05 + 0.03) / 2
    for page in (markdown_page(gather(runs), {}), suite_page(gather(runs), {}, tmp_path)):
        assert "Over test images" in page and "Here ± is not over seeds" in page
        assert "± 0.020" in page
    assert "in image_intervals.csv" in checklist(runs, [])
