"""The checklist, BibTeX and intervals over images, from records written down by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from suites import PIXEL, arms, run, suite

from experiments.study import make_study
from reports.analysis import Analysis
from reports.analysis.runs import image_distances, image_intervals
from reports.pages.checklist import checklist, command
from reports.pages.citation import bibtex
from reports.pages.content import gather
from reports.pages.html import suite_page
from reports.pages.markdown_page import markdown_page
from run_ablations import parse_options, parser

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
        variant="quick+training.batch=1",
        deviations=["First layers of 32 filters; the paper's have 64."],
    )
    text = checklist(runs, Analysis(runs).verdicts)
    for line in (
        "- none over seeds: one seed per arm gives no interval",
        "- a: changes nothing",
        "- L1: changes objective.gan none",
        "- overridden: training.batch 1",
        "- all arms: training.jitter 1.0, training.batch 1",
        "- pairs: train 367, val 101, test 101; 128×128 pixels, labels->photo",
        f"- commit 0123abc, fingerprint of the decoded pixels {'ab12' * 16}",
    ):
        assert line in text.splitlines(), line
    assert command(runs) == (
        "python run_ablations.py --suite patch_size --dataset camvid --data-root DIR "
        "--profile quick --seeds 1,2 --arms a,L1 --set training.batch=1"
    )


def test_one_seed_is_named_as_the_command_line_reads_it() -> None:
    runs = suite(run("U-Net (L1)", 7, 0.8), arms=[{"name": n} for n in ("U-Net (L1)", "x")])
    assert command(runs).endswith("--seeds 7, --arms 'U-Net (L1)'")


def test_the_command_is_read_as_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a shell, then by the command line itself, which plans these cells again."""
    (tmp_path / "mine.yaml").write_text("title: t\narms: {'a&b': {}, '$x;y \"z\"': {}, c: {}}\n")
    (tmp_path / "SETS.yaml").write_text(
        f"my_set: {{layout: folders, path: {tmp_path}, "
        "sides: {photo: {folder: p}, labels: {folder: l}}}\n"
    )
    names = ("a&b", '$x;y "z"')
    runs = suite(
        *(run(arm, 1, 0.5) for arm in names),
        suite="mine",
        dataset="my_set",
        own=["suite", "dataset"],
        overrides={"training.mirror": False, "size": [64, 128]},
        variant="smoke+size=-64--128-+training.mirror=False",
        arms=[{"name": arm, "changes": {}} for arm in (*names, "c")],
    )
    python, program, *words = shlex.split(command(runs))
    assert (python, program) == ("python", "run_ablations.py")
    monkeypatch.chdir(tmp_path)
    options = parse_options(parser().parse_args(words))
    assert options.arms == names and options.seeds == (1,)
    (plan,) = make_study(options).plans
    assert plan.size == (64, 128) and plan.overrides["training.mirror"] is False
    assert plan.entry.name == "my_set" and plan.suite.name == "mine"
    told = "mine.yaml is the suite's own file; SETS.yaml is the file that describes the data set"
    assert told in checklist(runs, [])
    embedded = suite(run("a", 1, 0.5), dataset="procedural", own=[])
    assert "--data-root" not in command(embedded)
    assert "comes with the package" not in checklist(embedded, [])


def test_bibtex_names_the_commit() -> None:
    text = bibtex(suite(run("a", 1, 0.5), commit="0123abc"))
    assert text.count("@") == 2 and "commit 0123abc" in text and "1611.07004" in text


def test_intervals_over_images_stand_apart_and_say_so(tmp_path: Path) -> None:
    none = suite(*arms({"a": [0.8, 0.9]}))
    assert image_intervals(none) is None and image_distances(none) is None
    runs = suite(
        run("a", 1, 0.80, image_intervals={PIXEL: (0.78, 0.83)}),
        run("a", 2, 0.82, image_intervals={PIXEL: (0.81, 0.84)}),
        run("b", 1, 0.70),
    )
    assert image_intervals(runs).to_csv(index=False).splitlines() == [
        "arm,seed,score,value,low,high",
        "a,1,fcn.pixel_accuracy,0.8,0.78,0.83",
        "a,2,fcn.pixel_accuracy,0.82,0.81,0.84",
    ]
    table = image_distances(runs)
    assert table and table.head == ["arm", "FCN per-pixel acc."]
    assert table.rows == [["a", "−0.015/+0.025"]]  # (0.02 + 0.01) / 2 and (0.03 + 0.02) / 2
    for page in (markdown_page(gather(runs), {}), suite_page(gather(runs), {}, tmp_path)):
        assert "Over test images" in page and "not an interval over seeds" in page
        assert "−0.015/+0.025" in page and "± 0.0" not in page.partition("Over test images")[2]
    assert "are in image_intervals.csv" in checklist(runs, [])
