"""Warns where the real photos' own FCN-scores leave no room to tell arms apart."""

from __future__ import annotations

from eval.metrics import of_family
from reports.analysis.comparisons import Evidence
from reports.analysis.formatting import title
from reports.analysis.runs import GROUND_TRUTH

LOWEST = {"fcn.pixel_accuracy": 0.70, "fcn.class_iou": 0.15}
"""Below these the scorer does not know its classes; the paper's own ceiling is 0.80/0.26/0.21."""
ROOM = 0.02
"""The least distance from the ceiling to the lowest arm, in every FCN-score."""
RULE = (
    "rule: the real photos must reach "
    + " and ".join(f"{lowest:.2f} in {title(score, False)}" for score, lowest in LOWEST.items())
    + f", and the lowest arm's mean must lie {ROOM:.2f} or more below them in each FCN-score"
)


def ceiling_warnings(evidence: Evidence) -> list[str]:
    """One sentence for each way in which the FCN ceiling breaks RULE; empty where it holds."""
    warnings = [
        f"the real photos reach only {value:.3f} in {title(score, False)}: this scorer is too weak "
        "for this data set to tell arms apart"
        for score, value in _low(evidence).items()
    ]
    warnings += [
        f"in {title(score, False)} even the lowest arm ({arm}, {mean:.3f}) does not lie {ROOM:.2f} "
        f"below the real photos ({value:.3f}): this score cannot tell arms apart"
        for score, (arm, mean, value) in _close(evidence).items()
    ]
    return warnings


def broken_ceilings(evidence: Evidence) -> dict[str, str]:
    """{score: what a verdict on it has to add} for the scores whose ceiling breaks RULE."""
    reasons = {
        score: [f"the real photos reach only {value:.3f}"]
        for score, value in _low(evidence).items()
    }
    for score, (_, mean, value) in _close(evidence).items():
        above = "every arm's score lies above the real photos'"
        near = f"even the lowest arm does not lie {ROOM:.2f} below the real photos"
        reasons.setdefault(score, []).append(above if mean > value else near)
    return {
        score: f"but {' and '.join(sentences)}: see the note on the ceiling"
        for score, sentences in reasons.items()
    }


def _low(evidence: Evidence) -> dict[str, float]:
    """{score: the real photos' own} where that is below LOWEST."""
    own = _own_scores(evidence)
    return {score: own[score] for score in LOWEST if score in own and own[score] < LOWEST[score]}


def _close(evidence: Evidence) -> dict[str, tuple[str, float, float]]:
    """{score: (lowest arm, its mean, the real photos' own)} where these leave no ROOM."""
    found = {}
    for score, value in _own_scores(evidence).items():
        entries = {a: evidence.entry(a, score) for a in evidence.by_arm if a != GROUND_TRUTH}
        means = {arm: entry.mean for arm, entry in entries.items() if entry.mean is not None}
        if means and value - min(means.values()) < ROOM:
            low = min(means, key=lambda arm: means[arm])
            found[score] = (low, means[low], value)
    return found


def _own_scores(evidence: Evidence) -> dict[str, float]:
    """The real photos' FCN-scores."""
    truth = evidence.runs.ground_truth
    if truth is None or not truth.finished:
        return {}
    return {score: truth.scores[score] for score in of_family("fcn") if score in truth.scores}
