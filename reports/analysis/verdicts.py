"""A verdict on each claim of a suite: reproduced, contradicted, or undecided with advice.

docs/statistics.md explains what the words rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics import METRICS
from eval.statistics import (
    ALPHA,
    FEW,
    MOST_SEEDS,
    POWER,
    Difference,
    holm,
    seeds_for_power,
    smallest_p,
)
from experiments.tracking.reader import GROUND_TRUTH
from reports.analysis.ceiling import broken_ceilings
from reports.analysis.comparisons import Claim, Evidence, not_judged, parse_claim
from reports.analysis.formatting import decimals, interval_text, plain, shared_digits
from reports.analysis.runs import LEFT_OUT, Entry

WORDS = REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NO_SPREAD = {
    "same": "both arms have the same value in every seed: are they the same training?",
    "constant": "the values do not vary over seeds: either the seeds changed nothing or the score "
    "cannot tell; look at the runs",
    "shifted": "the difference is the same in every seed, so no test has a spread to compare it "
    "with; look at the runs",
}
"""{Difference.no_spread: what it means}"""


@dataclass(frozen=True)
class NoTest:
    """Why a claim cannot be tested at all, and what to do about it."""

    why: str
    advice: str = "measure both arms"


@dataclass(frozen=True)
class Family:
    """The claims of a suite that Holm's correction counts beside the one in question."""

    others: tuple[float, ...]
    """Their p-values."""
    asked: int
    """All claims that can be tested once their arms have several seeds."""

    @property
    def size(self) -> int:
        """How many claims have a p-value."""
        return len(self.others) + 1

    def after_holm(self, p: float) -> float:
        """What p becomes, the others as they are."""
        return holm([p, *self.others])[0]


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about a claim, and the numbers behind it."""

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
    """Decimals with which the means and the effect are shown."""
    interval: tuple[float, float] | None = None
    """The effect's 95 % t-interval over seeds, for this claim alone, whichever test decides."""
    test: str = "none"
    p: float | None = None
    p_holm: float | None = None
    n: int = 0
    """Pairs of seeds; unpaired, the seeds of the arm with fewer."""
    seeds: str = ""
    """`n` in words: `5`, `20 and 5`, `5 of 10 and 5` where pairing leaves some out."""
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


def verdicts(evidence: Evidence) -> tuple[Verdict, ...]:
    """One verdict per claim of the suite record, in its order; none on arms not asked for."""
    skipped = not_judged(evidence.runs)
    texts = [text for text in evidence.runs.record.claims if text not in skipped]
    found = [(claim, _evidence(claim, evidence)) for claim in map(parse_claim, texts)]
    tested = [
        (claim, result) if claim and isinstance(result, Difference) else None
        for claim, result in found
    ]
    judged = []
    for i, (text, (word, p_holm)) in enumerate(zip(texts, judge(tested), strict=True)):
        claim, result = found[i]
        if isinstance(result, NoTest):
            score = claim.score if claim and claim.score in METRICS else None
            judged.append(Verdict(text, UNDECIDED, result.why, result.advice, score))
            continue
        assert claim is not None
        others = (other[1].p for j, other in enumerate(tested) if other and j != i)
        family = Family(tuple(p for p in others if p is not None), evidence.testable_claims)
        judged.append(_tested(text, claim, result, (word, p_holm), family, evidence))
    return tuple(judged)


def judge(tested: Sequence[tuple[Claim, Difference] | None]) -> list[tuple[str, float | None]]:
    """(word, p after Holm) of each claim; None stands for a claim without a difference.

    The family is every claim of the suite that has a p-value.
    """
    p = {i: pair[1].p for i, pair in enumerate(tested) if pair}
    known = {i: value for i, value in p.items() if value is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True)) if known else {}
    result = []
    for i, pair in enumerate(tested):
        word = UNDECIDED
        if pair and i in adjusted and adjusted[i] < ALPHA:
            word = REPRODUCED if pair[0].agrees(pair[1].effect) else CONTRADICTED
        result.append((word, adjusted.get(i)))
    return result


def _evidence(claim: Claim | None, evidence: Evidence) -> Difference | NoTest:
    """The difference that a claim is about, or why there is none."""
    advice = "state the claim as an ordering"
    if claim is None:
        return NoTest("not an ordering like `A > B on SCORE`", advice)
    if claim.score not in METRICS:
        return NoTest(f"no score is called {claim.score}", advice)
    for arm in (claim.first, claim.second):
        if arm not in evidence.by_arm:
            return NoTest(f"{arm} is not among the arms that were run")
        entry = evidence.entry(arm, claim.score)
        if entry.interval is None:
            return _no_value(arm, entry)
    found = evidence.difference(claim.first, claim.second, claim.score)
    assert found is not None  # both arms have values
    return found


def _no_value(arm: str, entry: Entry) -> NoTest:
    """Why an arm without a value cannot be compared."""
    if entry.state == "—":
        return NoTest(f"{arm} has no such score")
    if entry.state == "failed":
        return NoTest(f"{arm} failed")
    why = f"{arm} is {entry.state}" + (f" ({entry.why})" if entry.why else "")
    if "no labels" in (entry.why or ""):
        return NoTest(
            why, "no training here can decide it: claims need scores that the data set has"
        )
    if entry.state == LEFT_OUT:
        return NoTest(why, "run the suite again to score what was left out")
    return NoTest(why)


def _tested(
    text: str,
    claim: Claim,
    found: Difference,
    judged: tuple[str, float | None],
    family: Family,
    evidence: Evidence,
) -> Verdict:
    """The verdict on a claim that has a difference; `judged`: its (word, p after Holm)."""
    word, p_holm = judged
    digits = shared_digits(*found.means, decimals(claim.score))
    ceiling = broken_ceilings(evidence).get(claim.score, "")
    unpaired = _without_partner(claim, found, evidence)
    parts = [_means(claim, found, digits, unpaired), seeds_text(found), _direction(claim, found)]
    return Verdict(
        claim=text,
        word=word,
        detail="; ".join([*parts, ceiling] if ceiling else parts),
        advice="" if word != UNDECIDED else what_would_decide(found, family, digits),
        score=claim.score,
        effect=found.effect,
        digits=digits,
        interval=found.interval,
        test=found.test,
        p=found.p,
        p_holm=p_holm,
        n=found.n,
        seeds=_counts(found, unpaired),
        left_out=sum(unpaired),
        paired=found.paired,
        standardised=found.standardised,
        measure=found.measure,
        exact_p=found.exact_p,
        smallest_p=found.smallest_p,
        correlation=found.correlation,
        ceiling=ceiling,
    )


def _means(claim: Claim, found: Difference, digits: int, unpaired: Sequence[int]) -> str:
    """`70x70 0.833 (1 more without a partner), 1x1 0.740`."""
    parts = []
    for arm, more, mean in zip((claim.first, claim.second), unpaired, found.means, strict=True):
        note = f" ({more} more without a partner)" if more else ""
        parts.append(f"{arm} {plain(mean, digits)}{note}")
    return ", ".join(parts)


def _without_partner(claim: Claim, found: Difference, evidence: Evidence) -> list[int]:
    """How many seeds of each arm the test leaves out."""
    return [
        0 if arm == GROUND_TRUTH else len(evidence.values(arm, claim.score)) - n
        for arm, n in zip((claim.first, claim.second), found.counts, strict=True)
    ]


def _counts(found: Difference, unpaired: Sequence[int]) -> str:
    """The seeds that a test rests on, and of how many."""
    first, second = (
        f"{n} of {n + more}" if more else str(n)
        for n, more in zip(found.counts, unpaired, strict=True)
    )
    return first if first == second else f"{first} and {second}"


def _direction(claim: Claim, found: Difference) -> str:
    if found.effect == 0:
        return "no difference"
    direction = "as claimed" if claim.agrees(found.effect) else "against the claim"
    return f"the means are ordered {direction}"


def what_would_decide(found: Difference, family: Family, digits: int) -> str:
    """What an undecided claim needs; `digits`: the decimals of the score's differences."""
    if found.n < 2:
        return f"one seed shows no spread; {_seeds(_fewest(found, family))} {_could(found)}"
    if found.no_spread:
        return NO_SPREAD[found.no_spread]
    if found.n < FEW and found.smallest_p is not None:
        best = family.after_holm(found.smallest_p)
        if best >= ALPHA:
            over = f" after Holm over {family.size} claims" if family.size > 1 else ""
            return (
                f"cannot reach p < {ALPHA}{over} with {seeds_text(found)} ({best:.3g} at best); "
                f"{_fewest(found, family)} could"
            )
    wanted = seeds_for_power(found.standardised or 0.0, family.size, found.paired)
    if wanted is None:
        needed = f"more than {MOST_SEEDS} seeds would be needed if the difference is as small as it"
        possible = interval_text(found.interval, digits) if found.interval else None
        return f"{needed} looks" + (f"; these leave {possible} possible" if possible else "")
    return (
        f"about {_seeds(max(wanted, found.n + 1))} {_could(found)}, with {100 * POWER:.0f} % power "
        "if the difference is as large as it looks"
    )


def seeds_text(found: Difference) -> str:
    """`5 seeds paired`, `4 and 20 seeds unpaired (2 seeds in common)`."""
    a, b = found.counts
    text = _seeds(a) if a == b else f"{a} and {_seeds(b)}"
    if found.n > 1 and found.design:
        text += f" {found.design}"
    if found.in_common:
        text += f" ({_seeds(found.in_common)} in common)"
    return text


def _fewest(found: Difference, family: Family) -> int:
    """The fewest seeds per arm, more than there are, with which a test can reach ALPHA after Holm.

    With one seed there is no p yet: then every testable claim is counted.
    """

    def after_holm(p: float) -> float:
        return p * family.asked if found.n < 2 else family.after_holm(p)

    counts = range(found.n + 1, FEW)
    enough = (n for n in counts if after_holm(smallest_p(n, n, found.paired)) < ALPHA)
    return next(enough, FEW)


def _could(found: Difference) -> str:
    return f"{found.design} could decide".strip()


def _seeds(n: int) -> str:
    return f"{n} seed{'s' if n != 1 else ''}"
