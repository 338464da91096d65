"""A verdict on each claim of a suite: reproduced, contradicted, or undecided and what would decide.

docs/statistics.md says what the words rest on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics import METRICS
from experiments.tracking_reader import GROUND_TRUTH, SuiteRuns
from reports.collect import Entry, arm_values, decimals, entry, runs_by_arm
from reports.statistics import (
    ALPHA,
    FEW,
    MOST_SEEDS,
    POWER,
    Difference,
    difference,
    holm,
    seeds_for_power,
    seeds_that_can_decide,
)

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
ORDER_OF_DATA = ("training.batch", "training.jitter", "training.mirror")
"""Arms that differ in one of these see other data in another order under the same seed."""


@dataclass(frozen=True)
class Claim:
    """`first > second on score`."""

    first: str
    sign: str
    second: str
    score: str

    def agrees(self, effect: float) -> bool:
        """Whether first minus second has the claimed sign."""
        return effect > 0 if self.sign == ">" else effect < 0


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of a claim, and what it says it by."""

    claim: str
    word: str
    """reproduced, contradicted or undecided."""
    effect: float | None
    """Mean difference of the claim's first arm and its second, in the score's unit."""
    interval: tuple[float, float] | None
    """Its 95 % t-interval over seeds, for this claim alone."""
    test: str
    p: float | None
    p_holm: float | None
    n: int
    """Pairs of seeds; unpaired, the seeds of the arm that has fewer."""
    paired: bool
    advice: str
    """What would decide it; empty where it is decided."""
    detail: str
    """The means and seeds, or why there is no test."""
    score: str | None = None
    standardised: float | None = None
    measure: str = ""
    """What `standardised` is: g_z (paired) or g (Hedges)."""
    exact_p: float | None = None
    smallest_p: float | None = None
    correlation: float | None = None
    """Of the two arms over shared seeds."""


def parse_claim(claim: str) -> Claim | None:
    """`70x70 > 1x1 on fcn.class_iou`, as experiments.spec reads it; None where it is none."""
    match = re.fullmatch(r"(.+?) ([<>]) (.+?) on (\S+)", claim)
    return Claim(*match.groups()) if match else None


def not_judged(runs: SuiteRuns) -> list[str]:
    """The claims on arms that were not asked for: nothing is open there, so they get no verdict."""
    texts = runs.record.get("claims") or []
    claims = [(text, parse_claim(text)) for text in texts]
    left = set(runs.not_asked)
    return [text for text, claim in claims if claim and left & {claim.first, claim.second}]


def verdicts(runs: SuiteRuns) -> list[Verdict]:
    """One for every claim of the suite record but those that are not judged, in its order."""
    left = not_judged(runs)
    texts = [text for text in runs.record.get("claims") or [] if text not in left]
    claims = [parse_claim(text) for text in texts]
    evidence = [_evidence(claim, runs) for claim in claims]
    judged = judge(
        [
            (claim, found) if claim and isinstance(found, Difference) else None
            for claim, found in zip(claims, evidence, strict=True)
        ]
    )
    return [
        _verdict(text, claim, found, *result, runs)
        for text, claim, found, result in zip(texts, claims, evidence, judged, strict=True)
    ]


def judge(
    tested: Sequence[tuple[Claim, Difference] | None],
) -> list[tuple[str, float | None, int]]:
    """(word, p after Holm, tests in the family) of each; None stands for what has no difference.

    The family is every claim of the suite that has a p-value.
    """
    p = {i: t[1].p for i, t in enumerate(tested) if t and t[1].p is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True)) if p else {}
    result = []
    for i, one in enumerate(tested):
        word = UNDECIDED
        if one and i in adjusted and adjusted[i] < ALPHA:
            word = REPRODUCED if one[0].agrees(one[1].effect) else CONTRADICTED
        result.append((word, adjusted.get(i), len(p)))
    return result


def compare(first: str, second: str, score: str, runs: SuiteRuns) -> Difference | None:
    """Two arms in one score, paired by the seeds that they share; None where one has no value.

    The ground truth is one number without a seed, so an arm is compared with it as with a constant.
    """
    by_arm = runs_by_arm(runs)
    a, b = (arm_values(by_arm.get(arm, []), score) for arm in (first, second))
    if GROUND_TRUTH in (first, second):
        if first == GROUND_TRUTH:
            a = {seed: next(iter(a.values())) for seed in b} if a else {}
        else:
            b = {seed: next(iter(b.values())) for seed in a} if b else {}
    if not a or not b:
        return None
    shared = [seed for seed in a if seed in b]
    enough = len(shared) > 1 or len(shared) == min(len(a), len(b))
    if enough and _same_order_of_data(first, second, runs):
        return difference([a[seed] for seed in shared], [b[seed] for seed in shared], True)
    return difference(list(a.values()), list(b.values()), False)


def _same_order_of_data(first: str, second: str, runs: SuiteRuns) -> bool:
    changes = {arm["name"]: arm.get("changes") or {} for arm in runs.record["arms"]}
    a, b = (changes.get(arm, {}) for arm in (first, second))
    return all(a.get(key) == b.get(key) for key in ORDER_OF_DATA)


def _evidence(claim: Claim | None, runs: SuiteRuns) -> Difference | str:
    """The difference that a claim is about, or why there is none."""
    if claim is None:
        return "not an ordering like `A > B on SCORE`"
    if claim.score not in METRICS:
        return f"no score is called {claim.score}"
    by_arm = runs_by_arm(runs)
    for arm in (claim.first, claim.second):
        if arm not in by_arm:
            return f"{arm} is not among the arms that were run"
        measured = entry(by_arm[arm], claim.score)
        if measured.interval is None:
            return f"{arm} {_lack(measured)}"
    found = compare(claim.first, claim.second, claim.score, runs)
    assert found is not None
    return found


def _verdict(
    text: str,
    claim: Claim | None,
    found: Difference | str,
    word: str,
    p_holm: float | None,
    tests: int,
    runs: SuiteRuns,
) -> Verdict:
    score = claim.score if claim and claim.score in METRICS else None
    if isinstance(found, str) or claim is None:
        why = str(found)
        advice = "state the claim as an ordering" if score is None else "measure both arms"
        return Verdict(
            text, word, None, None, "none", None, None, 0, False, advice, f"{why}", score
        )
    by_arm = runs_by_arm(runs)
    told = []
    digits = max(decimals(claim.score), digits_apart(*found.means))
    for arm, n, mean in zip((claim.first, claim.second), found.counts, found.means, strict=True):
        left = len(arm_values(by_arm[arm], claim.score)) - n if arm != GROUND_TRUTH else 0
        told.append(
            f"{arm} {mean:.{digits}f}" + (f" ({left} more without a partner)" if left else "")
        )
    seeds = f"{found.n} seed{'s' if found.n > 1 else ''}"
    if not found.paired and found.counts[0] != found.counts[1]:
        seeds = f"{found.counts[0]} and {found.counts[1]} seeds"
    if found.n > 1:
        seeds += " paired" if found.paired else " unpaired"
    way = "as claimed" if claim.agrees(found.effect) else "against the claim"
    way = "no difference" if found.effect == 0 else f"the means are ordered {way}"
    advice = "" if word != UNDECIDED else what_would_decide(found, tests)
    return Verdict(
        text,
        word,
        found.effect,
        found.interval,
        found.test,
        found.p,
        p_holm,
        found.n,
        found.paired,
        advice,
        f"{', '.join(told)}; {seeds}; {way}",
        score,
        found.standardised,
        found.measure,
        found.exact_p,
        found.smallest_p,
        found.correlation,
    )


def what_would_decide(found: Difference, tests: int) -> str:
    """What an undecided claim lacks, in a sentence; `tests` is the size of Holm's family."""
    how = "paired" if found.paired else "unpaired"
    family = f" after Holm over {tests} claims" if tests > 1 else ""
    least = seeds_that_can_decide(max(tests, 1), found.paired)
    if found.n < 2:
        return f"one seed shows no spread; {least} seeds {how} could decide"
    if found.n < FEW and found.smallest_p is not None and found.smallest_p * tests >= ALPHA:
        reach = min(1.0, found.smallest_p * tests)
        return (
            f"cannot reach p < {ALPHA}{family} with {found.n} seeds {how} "
            f"({reach:.2g} at best); {max(least, found.n + 1)} would"
        )
    if found.p is None:
        return (
            "the seeds' values do not vary: either the seeds changed nothing or the score "
            "cannot tell; look at the runs"
        )
    wanted = None
    if found.standardised is not None:
        wanted = seeds_for_power(found.standardised, max(tests, 1), found.paired)
    if wanted is None:
        return (
            f"more than {MOST_SEEDS} seeds: as far as these go, the arms are alike within the "
            "interval"
        )
    return (
        f"about {max(wanted, found.n + 1)} seeds {how} would, with {100 * POWER:.0f} % power, "
        "if the difference is as large as it looks"
    )


def digits_apart(a: float, b: float) -> int:
    """Digits behind the point that show two unlike numbers as unlike, 8 at most."""
    return next((d for d in range(1, 8) if f"{a:.{d}f}" != f"{b:.{d}f}"), 8) if a != b else 1


def _lack(measured: Entry) -> str:
    """The words behind an arm that has no value."""
    if measured.state == "—":
        return "has no such score"
    if measured.state == "failed":
        return "failed"
    return f"is {measured.state}" + (f" ({measured.why})" if measured.why else "")
