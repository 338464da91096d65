"""The recorded runs by arm: a tidy frame, one entry per arm and score, intervals over images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from eval.metrics import METRICS
from eval.statistics import Interval, t_interval
from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from reports.analysis.formatting import decimals, signed, title
from reports.sections import Section

NOT_OF_ITSELF = ("lpips", "pixel", "hole", "diversity")
"""Score families that are undefined for a photo and itself: the ground truth has no value."""
LEFT_OUT = "left out"
"""The state of runs that ended but must not be averaged over."""
COLUMNS = ["suite", "dataset", "profile", "arm", "seed", "score", "value"]
IMAGE_COLUMNS = ["arm", "seed", "score", "value", "low", "high"]
IMAGE_CAPTION = (
    "How far the 95 % bootstrap interval over test images reaches below and above the score of one "
    "trained network, averaged over its arm's seeds. It shows how much a score depends on which "
    "images it is taken on. It is not an interval over seeds: it says nothing about another "
    "training, and no verdict rests on it. All of them are in image_intervals.csv."
)


@dataclass(frozen=True)
class Entry:
    """One arm in one score: an interval over its finished seeds, or why there is none."""

    interval: Interval | None
    state: str
    """measured, not measured, failed, left out, missing, or — where a score is undefined for real
    photos."""
    why: str | None = None
    """Why it was not measured, or was left out."""

    @property
    def mean(self) -> float | None:
        """The mean over seeds; None where there is no value."""
        return self.interval.mean if self.interval else None


def finished(runs: SuiteRuns) -> list[RunRecord]:
    """The finished runs of the arms."""
    return [run for run in runs.runs if run.finished]


def tidy(runs: SuiteRuns) -> pd.DataFrame:
    """One row per arm, seed and score of every finished run, those of other scorers last; the
    ground truth has no seed."""
    record = runs.record
    rows = [
        [record.suite, record.dataset, record.variant, run.arm, run.seed, score, run.scores[score]]
        for run in _scored(runs)
        for score in [*METRICS, *sorted(run.scores.keys() - METRICS)]
        if score in run.scores
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"seed": "Int64", "value": "float64"})


def table_scores(runs: SuiteRuns) -> list[str]:
    """The scores that are columns: of the suite's families, with a value or a reason for none."""
    families = runs.record.scores
    named = {name for run in runs.runs for name in (*run.scores, *run.not_measured)}

    def shown(name: str, family: str) -> bool:
        # A reason may be given for the whole family; a family without any word is all missing.
        silent = not any(other.split(".")[0] == family for other in named)
        return name in named or family in named or silent

    return [
        n for n, metric in METRICS.items() if metric.family in families and shown(n, metric.family)
    ]


def entry(runs: Sequence[RunRecord], score: str) -> Entry:
    """The entry of one arm's runs, one per seed; only finished runs count."""
    values = arm_values(runs, score)
    if values:
        return Entry(t_interval(list(values.values())), "measured")
    reasons = [reason(run, score) for run in runs if run.finished]
    why = next((text for text in reasons if text), None)
    if why:
        return Entry(None, "not measured", why)
    if runs and all(run.arm == GROUND_TRUTH and run.finished for run in runs):
        undefined = METRICS[score].family in NOT_OF_ITSELF
        return Entry(None, "—" if undefined else "not measured")
    remark = next((run.remark for run in runs if standing(run) == LEFT_OUT), None)
    return Entry(None, arm_state(runs), remark)


def standing(run: RunRecord) -> str:
    """A run's status, but LEFT_OUT where it ended and yet must not count."""
    return LEFT_OUT if run.status == "running" and run.remark else run.status


def arm_state(runs: Sequence[RunRecord]) -> str:
    """Why an arm has no value: failed, left out or missing."""
    states = {standing(run) for run in runs}
    return next((state for state in ("failed", LEFT_OUT) if state in states), "missing")


def arm_values(runs: Sequence[RunRecord], score: str) -> dict[int | None, float]:
    """{seed: value} of an arm's finished runs; the ground truth's seed is None."""
    return {r.seed: r.scores[score] for r in runs if r.finished and score in r.scores}


def reason(run: RunRecord, score: str) -> str | None:
    """Why a run has no value for a score, where it gives a reason for the score or its family."""
    return run.not_measured.get(score) or run.not_measured.get(METRICS[score].family)


def runs_by_arm(runs: SuiteRuns) -> dict[str, list[RunRecord]]:
    """{arm: its runs, one per seed}, in the suite's order, the ground truth last."""
    by_arm = {arm: list(runs.of_arm(arm)) for arm in runs.arms}
    if runs.ground_truth:
        by_arm[GROUND_TRUTH] = [runs.ground_truth]
    return by_arm


def image_intervals(runs: SuiteRuns) -> pd.DataFrame | None:
    """The intervals over test images, one row per arm, seed and score; None without any."""
    rows = [
        [run.arm, run.seed, score, run.scores[score], *run.image_intervals[score]]
        for run in _scored(runs)
        for score in table_scores(runs)
        if score in run.image_intervals and score in run.scores
    ]
    if not rows:
        return None
    return pd.DataFrame(rows, columns=IMAGE_COLUMNS).astype({"seed": "Int64"})


def image_distances(runs: SuiteRuns) -> Section | None:
    """One row per arm and one column per score, each `−0.135/+0.012`, averaged over seeds; None
    without any. A score is seldom in the middle of its interval."""
    frame = image_intervals(runs)
    if frame is None:
        return None
    for side in ("low", "high"):
        frame[side] -= frame.value
    means = frame.groupby(["arm", "score"])[["low", "high"]].mean().reset_index()
    means["text"] = [
        f"{signed(low, decimals(score))}/{signed(high, decimals(score))}"
        for score, low, high in zip(means.score, means.low, means.high, strict=True)
    ]
    scores = [score for score in table_scores(runs) if score in set(means.score)]
    table = means.pivot(index="arm", columns="score", values="text")
    table = table.reindex(index=frame.arm.unique(), columns=scores).fillna("—")
    head = ["arm", *(title(score, False) for score in scores)]
    text = f"{IMAGE_CAPTION} {_drawn_whole(runs)}".rstrip()
    return Section("Over test images", text, head, table.reset_index().to_numpy().tolist())


def _drawn_whole(runs: SuiteRuns) -> str:
    """A sentence on film clips, where the bootstrap draws them whole; else nothing."""
    run = next(run for run in _scored(runs) if run.image_intervals)
    settings = (run.json_artifact("scores.json") or {}).get("settings", {})
    *_, drawn = settings.get("bootstrap", {}).get("method", "").partition(" over ")
    return f"It draws {drawn}, since frames of one film are alike." if "clips" in drawn else ""


def _scored(runs: SuiteRuns) -> Iterator[RunRecord]:
    """Every finished run, the ground truth last."""
    yield from finished(runs)
    if runs.ground_truth and runs.ground_truth.finished:
        yield runs.ground_truth
