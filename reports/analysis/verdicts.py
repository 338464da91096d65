"""A verdict on each claim of a suite: reproduced, contradicted, or undecided and what would decide.

docs/statistics.md says what the words rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis.advice import Family, seeds_text, what_would_decide
from reports.analysis.ceiling import broken_ceilings
from reports.analysis.claims import Claim, asked, not_judged, parse_claim
from reports.analysis.pairing import compare
from reports.analysis.rounding import plain, shared_digits
from reports.analysis.runs import LEFT_OUT, Entry, arm_values, decimals, entry, runs_by_arm
from reports.analysis.statistics import ALPHA, Difference, holm

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"


@dataclass(frozen=True)
class Lack:
    """Why a claim cannot be tested at all, and what to do about it."""

    why: str
    advice: str = "measure both arms"


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of a claim, and what it says it by."""

    claim: str
    word: str
    """reproduced, contradicted or undecided."""
    detail: str
    """The means and seeds, or why there is no test."""
    advice: str = ""
    """What would decide it; empty where it is decided."""
    score: str | None = None
    effect: float | None = None
    """Mean difference of the claim's first arm and its second, in the score's unit."""
    digits: int = 3
    """Behind the point, in which the means and the effect are shown."""
    interval: tuple[float, float] | None = None
    """Its 95 % t-interval over seeds, for this claim alone, whichever test decides."""
    test: str = "none"
    p: float | None = None
    p_holm: float | None = None
    n: int = 0
    """Pairs of seeds; unpaired, the seeds of the arm that has fewer."""
    seeds: str = ""
    """The same for people: `5`, `20 and 5`, `5 of 10 and 5` where pairing leaves some out."""
    left_out: int = 0
    """Seeds of both arms that have no partner."""
    paired: bool = False
    standardised: float | None = None
    measure: str = ""
    """What `standardised` is: g_z (paired) or g (Hedges)."""
    exact_p: float | None = None
    smallest_p: float | None = None
    correlation: float | None = None
    """Of the two arms over shared seeds."""
    ceiling: str = ""
    """What speaks against the score itself; empty where its ceiling holds."""


def verdicts(runs: SuiteRuns) -> list[Verdict]:
    """One for every claim of the suite record but those that are not judged, in its order."""
    left = not_judged(runs)
    texts = [text for text in runs.record.claims if text not in left]
    found = [(claim, _evidence(claim, runs)) for claim in map(parse_claim, texts)]
    tested = [
        (claim, evidence) if claim and isinstance(evidence, Difference) else None
        for claim, evidence in found
    ]
    weak = broken_ceilings(runs)
    count = asked(runs)
    judged = []
    for i, (text, one, (word, p_holm)) in enumerate(zip(texts, tested, judge(tested), strict=True)):
        claim, evidence = found[i]
        if one is None:
            judged.append(_untested(text, claim, evidence))
            continue
        others = [t[1].p for j, t in enumerate(tested) if t and j != i]
        family = Family(tuple(p for p in others if p is not None), count)
        judged.append(_tested(text, *one, word, p_holm, family, weak.get(one[0].score, ""), runs))
    return judged


def judge(tested: Sequence[tuple[Claim, Difference] | None]) -> list[tuple[str, float | None]]:
    """(word, p after Holm) of each; None stands for what has no difference.

    The family is every claim of the suite that has a p-value.
    """
    p = {i: t[1].p for i, t in enumerate(tested) if t and t[1].p is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True)) if p else {}
    result = []
    for i, one in enumerate(tested):
        word = UNDECIDED
        if one and i in adjusted and adjusted[i] < ALPHA:
            word = REPRODUCED if one[0].agrees(one[1].effect) else CONTRADICTED
        result.append((word, adjusted.get(i)))
    return result


def _evidence(claim: Claim | None, runs: SuiteRuns) -> Difference | Lack:
    """The difference that a claim is about, or why there is none."""
    orderly = "state the claim as an ordering"
    if claim is None:
        return Lack("not an ordering like `A > B on SCORE`", orderly)
    if claim.score not in METRICS:
        return Lack(f"no score is called {claim.score}", orderly)
    by_arm = runs_by_arm(runs)
    for arm in (claim.first, claim.second):
        if arm not in by_arm:
            return Lack(f"{arm} is not among the arms that were run")
        measured = entry(by_arm[arm], claim.score)
        if measured.interval is None:
            return _lack(arm, measured)
    found = compare(claim.first, claim.second, claim.score, runs)
    assert found is not None
    return found


def _lack(arm: str, measured: Entry) -> Lack:
    """What an arm has in the place of a value."""
    if measured.state == "—":
        return Lack(f"{arm} has no such score")
    if measured.state == "failed":
        return Lack(f"{arm} failed")
    why = f"{arm} is {measured.state}" + (f" ({measured.why})" if measured.why else "")
    if "no labels" in (measured.why or ""):
        return Lack(why, "no training here can decide it: claims need scores that the data set has")
    if measured.state == LEFT_OUT:
        return Lack(why, "train again what was left out, with the data and settings of the rest")
    return Lack(why)


def _untested(text: str, claim: Claim | None, lack: Difference | Lack) -> Verdict:
    assert isinstance(lack, Lack)
    score = claim.score if claim and claim.score in METRICS else None
    return Verdict(text, UNDECIDED, lack.why, lack.advice, score)


def _tested(
    text: str,
    claim: Claim,
    found: Difference,
    word: str,
    p_holm: float | None,
    family: Family,
    ceiling: str,
    runs: SuiteRuns,
) -> Verdict:
    digits = shared_digits(*found.means, decimals(claim.score))
    left = _without_partner(claim, found, runs)
    detail = f"{_means(claim, found, digits, left)}; {seeds_text(found)}; {_way(claim, found)}"
    return Verdict(
        claim=text,
        word=word,
        detail=f"{detail}; {ceiling}" if ceiling else detail,
        advice="" if word != UNDECIDED else what_would_decide(found, family, digits),
        score=claim.score,
        effect=found.effect,
        digits=digits,
        interval=found.interval,
        test=found.test,
        p=found.p,
        p_holm=p_holm,
        n=found.n,
        seeds=_counts(found, left),
        left_out=sum(left),
        paired=found.paired,
        standardised=found.standardised,
        measure=found.measure,
        exact_p=found.exact_p,
        smallest_p=found.smallest_p,
        correlation=found.correlation,
        ceiling=ceiling,
    )


def _means(claim: Claim, found: Difference, digits: int, left: Sequence[int]) -> str:
    """`70x70 0.833 (1 more without a partner), 1x1 0.740`."""
    told = []
    for arm, more, mean in zip((claim.first, claim.second), left, found.means, strict=True):
        alone = f" ({more} more without a partner)" if more else ""
        told.append(f"{arm} {plain(mean, digits)}{alone}")
    return ", ".join(told)


def _without_partner(claim: Claim, found: Difference, runs: SuiteRuns) -> list[int]:
    """How many seeds of each arm the test leaves out."""
    by_arm = runs_by_arm(runs)
    return [
        0 if arm == GROUND_TRUTH else len(arm_values(by_arm[arm], claim.score)) - n
        for arm, n in zip((claim.first, claim.second), found.counts, strict=True)
    ]


def _counts(found: Difference, left: Sequence[int]) -> str:
    """The seeds that a test rests on, of how many."""
    told = [
        f"{n} of {n + more}" if more else str(n) for n, more in zip(found.counts, left, strict=True)
    ]
    return told[0] if told[0] == told[1] else " and ".join(told)


def _way(claim: Claim, found: Difference) -> str:
    if found.effect == 0:
        return "no difference"
    way = "as claimed" if claim.agrees(found.effect) else "against the claim"
    return f"the means are ordered {way}"
