"""What the FCN-score's scorer knows: the real photos' own scores class by class, and its training.

A class that the scorer cannot find on real photos tells nothing about translations.
"""

from __future__ import annotations

import math
import statistics

from eval.metrics import of_family
from experiments.tracking.reader import SuiteRuns
from reports.analysis import Analysis
from reports.analysis.comparisons import parse_claim
from reports.analysis.formatting import decimals, plain, signed, title
from reports.analysis.verdicts import Verdict
from reports.pages import verdict_text
from reports.sections import Section

TITLES = ("per-pixel", "per-class", "class IoU")
FIRST = "first scorer"
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


OTHERS_RULE = (
    "All scorers score the same images; the first one decides, the others show how much hangs on "
    "it. Each cell is the difference of the claim's two arms under that scorer and, with several "
    "seeds, the word that it would give, by the same tests and the same correction. The last two "
    "columns are standard deviations: of that difference over scorers, and over the seeds of the "
    "training under the first scorer. Scorers have different scales, so the former only says "
    "how far the answer moves with the scorer; it is no error bar."
)


def other_scorers_section(analysis: Analysis) -> Section | None:
    """What the other scorers say about each claim on an FCN-score; None where there are none."""
    others = analysis.by_other_scorers
    claims = [v for v in analysis.verdicts if v.effect is not None and _is_fcn(v)]
    if not others or not claims:
        return None
    by_claim = {name: {v.claim: v for v in other.verdicts} for name, other in others.items()}
    rows, kept = [], 0
    for verdict in claims:
        same = [found.get(verdict.claim) for found in by_claim.values()]
        effects = [v.effect for v in (verdict, *same) if v and v.effect is not None]
        kept += all(v is not None and v.word == verdict.word for v in same)
        rows.append(
            [
                verdict_text.claim_words(verdict.claim),
                *(_effect(v) for v in (verdict, *same)),
                f"{statistics.stdev(effects):.3f}" if len(effects) > 1 else "–",
                _over_seeds(analysis, verdict),
            ]
        )
    lines = []
    if any(verdict_text.word(v) for v in claims):
        lines.append(f"{kept} of {len(claims)} claims keep their word under every scorer")
    photos = [(name, one.runs.ground_truth) for name, one in {FIRST: analysis, **others}.items()]
    own = [
        f"{name} " + "/".join(f"{truth.scores[score]:.3f}" for score in of_family("fcn"))
        for name, truth in photos
        if truth and set(of_family("fcn")) <= truth.scores.keys()
    ]
    lines.append(f"the real photos' own {', '.join(TITLES)}: {'; '.join(own)}")
    head = ["claim", FIRST, *others, "over scorers", "over seeds"]
    return Section("Other scorers", OTHERS_RULE, head, rows, lines)


BATCHES_RULE = (
    "The same generators, their test images translated in batches of {}, as they were trained: "
    "BatchNorm then uses the statistics of the whole batch. Means over seeds, and in brackets how "
    "far they lie above those of images translated one at a time, which the tables above show and "
    "the verdicts rest on."
)


def batches_section(analysis: Analysis) -> Section | None:
    """Scores of images translated in batches; None where no training used any."""
    if not analysis.by_test_batch:
        return None
    rows, lines = [], []
    several = len(analysis.by_test_batch) > 1
    for size, batched in analysis.by_test_batch.items():
        for arm in analysis.runs.arms:
            cells = [_beside(batched, analysis, arm, score) for score in analysis.scores]
            if set(cells) != {"–"}:  # trained in batches of this size
                rows.append([f"{arm}, in batches of {size}" if several else arm, *cells])
        lines += _other_words(analysis, batched, ("one at a time", "in batches"))
    sizes = " or ".join(map(str, analysis.by_test_batch))
    head = ["arm", *(title(score) for score in analysis.scores)]
    return Section("In batches", BATCHES_RULE.format(sizes), head, rows, lines)


FULL_SIZE_RULE = (
    "The same translations against the data set's own label maps at their own size, each pixel "
    "standing for all that it covers. Means over seeds, and in brackets how far they lie above "
    "those at the size of the training, which the tables above show and the verdicts rest on."
)


def full_size_section(analysis: Analysis) -> Section | None:
    """Label scores at the labels' own size; None where they were not measured."""
    full = analysis.at_full_size
    if full is None:
        return None
    measured = [score for score in analysis.scores if score.startswith("labels.")]
    rows = [
        [arm, *(_beside(full, analysis, arm, score) for score in measured)]
        for arm in analysis.runs.arms
    ]
    lines = _other_words(analysis, full, ("at the size of the training", "at the labels' own"))
    head = ["arm", *(title(score) for score in measured)]
    return Section("At the labels' own size", FULL_SIZE_RULE, head, rows, lines)


def _other_words(usual: Analysis, other_way: Analysis, ways: tuple[str, str]) -> list[str]:
    """The claims that get another word when they are scored in another way, a line each."""
    return [
        f"{verdict_text.claim_words(one.claim)}: {one.word} {ways[0]}, {other.word} {ways[1]}"
        for one, other in zip(usual.verdicts, other_way.verdicts, strict=True)
        if verdict_text.word(one) != verdict_text.word(other)
    ]


def _beside(other_way: Analysis, usual: Analysis, arm: str, score: str) -> str:
    """`0.632 (+0.015)`"""
    mean, other = other_way.entry(arm, score).mean, usual.entry(arm, score).mean
    if mean is None or other is None:
        return "–"
    return f"{plain(mean, decimals(score))} ({signed(mean - other, decimals(score))})"


def _is_fcn(verdict: Verdict) -> bool:
    return (verdict.score or "").startswith("fcn.")


def _effect(verdict: Verdict | None) -> str:
    if verdict is None or verdict.effect is None:
        return "–"
    word = verdict_text.word(verdict)
    return signed(verdict.effect, 3) + (f" {word}" if word else "")


def _over_seeds(analysis: Analysis, verdict: Verdict) -> str:
    """The standard deviation of a claim's difference over the seeds that both arms have."""
    claim = parse_claim(verdict.claim)
    assert claim is not None
    a, b = (analysis.values(arm, claim.score) for arm in (claim.first, claim.second))
    differences = [a[seed] - b[seed] for seed in a if seed in b]
    return f"{statistics.stdev(differences):.3f}" if len(differences) > 1 else "–"


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
