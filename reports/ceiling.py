"""Warns where the real photos' own FCN-scores leave no room to tell arms apart."""

from __future__ import annotations

from experiments.tracking_reader import SuiteRuns
from reports.collect import GROUND_TRUTH, entry, runs_by_arm
from reports.tables import title

LOWEST = {"fcn.pixel_accuracy": 0.70, "fcn.class_iou": 0.15}
"""Below, the scorer does not know its classes; the paper's own ceiling is 0.80/0.26/0.21."""
ROOM = 0.02
"""The ceiling minus the lowest arm, in every FCN-score; less, and the score says nothing."""
RULE = (
    "rule: the real photos must reach "
    + " and ".join(f"{lowest:.2f} in {title(score, False)}" for score, lowest in LOWEST.items())
    + f", and the lowest arm's mean must lie {ROOM:.2f} or more below them in each FCN-score"
)


def ceiling_warnings(runs: SuiteRuns) -> list[str]:
    """One sentence for each way in which the FCN ceiling breaks RULE; empty where it holds."""
    truth = runs.ground_truth
    if truth is None or truth.status != "done":
        return []
    warnings = []
    for score, lowest in LOWEST.items():
        value = truth.scores.get(score)
        if value is not None and value < lowest:
            warnings.append(
                f"the real photos reach only {value:.3f} in {title(score, False)}: this scorer is "
                "too weak for this data set to tell arms apart"
            )
    arms = {arm: of for arm, of in runs_by_arm(runs).items() if arm != GROUND_TRUTH}
    for score, value in truth.scores.items():
        if not score.startswith("fcn."):
            continue
        intervals = {arm: entry(of, score).interval for arm, of in arms.items()}
        means = {arm: interval.mean for arm, interval in intervals.items() if interval}
        if means and value - min(means.values()) < ROOM:
            low = min(means, key=lambda arm: means[arm])
            warnings.append(
                f"in {title(score, False)} even the lowest arm ({low}, {means[low]:.3f}) does not "
                f"lie {ROOM:.2f} below the real photos ({value:.3f}): arms cannot be told apart by "
                "it"
            )
    return warnings
