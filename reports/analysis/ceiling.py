"""Warns where the real photos' own FCN-scores leave no room to tell arms apart."""

from __future__ import annotations

from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import GROUND_TRUTH, entry, runs_by_arm
from reports.pages.tables import title

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
    warnings = [
        f"the real photos reach only {value:.3f} in {title(score, False)}: this scorer is too weak "
        "for this data set to tell arms apart"
        for score, value in _low(runs).items()
    ]
    warnings += [
        f"in {title(score, False)} even the lowest arm ({arm}, {mean:.3f}) does not lie {ROOM:.2f} "
        f"below the real photos ({value:.3f}): arms cannot be told apart by it"
        for score, (arm, mean, value) in _close(runs).items()
    ]
    return warnings


def broken_ceilings(runs: SuiteRuns) -> dict[str, str]:
    """{score: what a verdict on it has to add} for the scores whose ceiling breaks RULE."""
    said = {
        score: [f"the real photos reach only {value:.3f}"] for score, value in _low(runs).items()
    }
    for score, (_, mean, value) in _close(runs).items():
        above = "every arm's score lies above the real photos'"
        near = f"even the lowest arm does not lie {ROOM:.2f} below the real photos"
        said.setdefault(score, []).append(above if mean > value else near)
    return {
        score: f"but {' and '.join(of)}: read with the note on the scorer"
        for score, of in said.items()
    }


def _low(runs: SuiteRuns) -> dict[str, float]:
    """{score: the real photos' own} where that is below LOWEST."""
    own = _own_scores(runs)
    return {score: own[score] for score in LOWEST if score in own and own[score] < LOWEST[score]}


def _close(runs: SuiteRuns) -> dict[str, tuple[str, float, float]]:
    """{score: (lowest arm, its mean, the real photos' own)} where these leave no ROOM."""
    arms = {arm: of for arm, of in runs_by_arm(runs).items() if arm != GROUND_TRUTH}
    found = {}
    for score, value in _own_scores(runs).items():
        intervals = {arm: entry(of, score).interval for arm, of in arms.items()}
        means = {arm: interval.mean for arm, interval in intervals.items() if interval}
        if means and value - min(means.values()) < ROOM:
            low = min(means, key=lambda arm: means[arm])
            found[score] = (low, means[low], value)
    return found


def _own_scores(runs: SuiteRuns) -> dict[str, float]:
    """The real photos' FCN-scores."""
    truth = runs.ground_truth
    if truth is None or not truth.finished:
        return {}
    return {score: value for score, value in truth.scores.items() if score.startswith("fcn.")}
