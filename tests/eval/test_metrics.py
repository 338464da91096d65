import subprocess
import sys

import pytest

from eval.metrics import FAMILIES, METRICS, of_family

NAMES = {
    "fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou",
    "labels.pixel_accuracy", "labels.class_accuracy", "labels.class_iou",
    "lpips", "color.L", "color.a", "color.b", "pixel.l1", "pixel.psnr", "pixel.ssim",
    "hole.l1", "hole.psnr", "hole.ssim", "diversity.lpips", "diversity.variance",
}  # fmt: skip


def test_every_score_is_described():
    assert set(METRICS) == NAMES
    assert {metric.family for metric in METRICS.values()} == set(FAMILIES)
    assert all(metric.range[0] < metric.range[1] for metric in METRICS.values())


def test_less_is_better_for_distances_alone():
    lower = {name for name, metric in METRICS.items() if metric.better == "lower"}
    assert lower == {"lpips", "pixel.l1", "hole.l1"}


def test_families_partition_the_scores():
    assert sorted(name for family in FAMILIES for name in of_family(family)) == sorted(NAMES)
    with pytest.raises(ValueError, match="must be one of"):
        of_family("colour")


def test_the_light_modules_import_nothing_heavy():
    code = (
        "import sys, eval.metrics, eval.fcn_score, eval.color, eval.results, eval.request,"
        " eval.pixel, eval.score, eval.scorer.file;"
        "print([m for m in ('torch', 'skimage', 'torchmetrics', 'lpips') if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
