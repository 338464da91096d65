"""What the FCN-score's scorer knows: the real photos' own scores class by class, and its training.

A class that the scorer cannot find on real photos tells nothing about translations.
"""

from __future__ import annotations

import math

from experiments.tracking.reader import SuiteRuns
from reports.sections import Section

TITLES = ("per-pixel", "per-class", "class IoU")
SCORER_RULE = "The real photos' own scores by class: what this scorer finds where all is real."


def scorer_section(runs: SuiteRuns) -> Section | None:
    """None where there is no FCN-score or no table of its classes."""
    truth = runs.ground_truth
    if truth is None or not truth.finished or "fcn.class_iou" not in truth.scores:
        return None
    table = truth.json_artifact("per_class.json")
    if table is None:
        return None
    rows = [[name, *map(_number, values)] for name, *values in table["data"]]
    text = f"{SCORER_RULE} {training(runs)}".rstrip()
    return Section("The scorer", text, table["columns"], rows)


YARDSTICK_RULE = (
    "At most 32 real photos, degraded in fixed ways and scored as translations: what this scorer "
    "can tell apart. A loss by blur that is small beside the differences between arms means that "
    "it does not measure sharpness."
)


def yardstick_section(runs: SuiteRuns) -> Section | None:
    """None where the scorer's yardstick was not recorded."""
    truth = runs.ground_truth
    if truth is None or not truth.finished:
        return None
    recorded = (truth.json_artifact("scores.json") or {}).get("settings", {}).get("yardstick")
    if not recorded:
        return None
    names = ("pixel_accuracy", "class_accuracy", "class_iou")
    rows = [[name, *(_number(values[n]) for n in names)] for name, values in recorded.items()]
    return Section("The yardstick", YARDSTICK_RULE, ["photos", *TITLES], rows)


def training(runs: SuiteRuns) -> str:
    """One sentence on how the scorer was trained; "" where nothing is recorded of it."""
    scorer = runs.scorer
    if scorer is None or "batches" not in scorer.cost:
        return ""
    cost, most = scorer.cost, scorer.params.get("scorer.batches", "?")
    sentence = f"Trained for {cost['batches']:.0f} of at most {most} batches"
    if cost.get("kept_batch"):
        sentence += f" (the weights of batch {cost['kept_batch']:.0f} are kept)"
    return f"{sentence} in {cost['training_seconds']:.0f} s; its curves are its own MLflow run."


def _number(value: float | None) -> str:
    """Three digits; a dash where a class has no pixel."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"
