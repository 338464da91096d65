"""Which arm is best in a score, and how the order of the arms compares with the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from eval.metrics import METRICS
from eval.statistics import ALPHA, holm
from reports.analysis.comparisons import Evidence
from reports.analysis.formatting import plain

ROUNDED = 12
"""Decimals beyond which means differ only by rounding."""
RULE = (
    "Bold: the best arm is better than every other arm in that score (the largest p of its "
    f"tests against them, after Holm over the table's scores, is below {ALPHA})"
)


def best_arms(evidence: Evidence, scores: Sequence[str]) -> dict[str, str]:
    """{score: arm} for the columns whose best arm may stand in bold.

    A column has none where an arm that was asked for has no value: the best is not known then. Nor
    has one of arms with several tasks, of which one is easier than another.
    """
    if evidence.runs.record.several_tasks:
        return {}
    arms = evidence.runs.arms
    found: dict[str, tuple[str, float]] = {}
    for score in scores:
        means = {arm: evidence.entry(arm, score).mean for arm in arms}
        known = {arm: mean for arm, mean in means.items() if mean is not None}
        if len(known) < 2 or len(known) < len(arms):
            continue
        better = max if METRICS[score].better == "higher" else min
        best = better(known, key=lambda arm: known[arm])
        p = [_p(best, arm, score, evidence) for arm in arms if arm != best]
        if None not in p:
            found[score] = (best, max(value for value in p if value is not None))
    adjusted = holm([p for _, p in found.values()]) if found else []
    return {
        score: best
        for (score, (best, _)), p in zip(found.items(), adjusted, strict=True)
        if p < ALPHA
    }


def _p(best: str, arm: str, score: str, evidence: Evidence) -> float | None:
    """The p-value of the best arm's lead over another arm.

    It is 1 where the compared seeds put the other arm ahead: the lead is by all seeds, while the
    test may be by the shared ones. None where there is no test.
    """
    found = evidence.difference(best, arm, score)
    if found is None or found.p is None:
        return None
    ahead = found.effect > 0 if METRICS[score].better == "higher" else found.effect < 0
    return found.p if ahead else 1.0


@dataclass(frozen=True)
class RankOrder:
    """Arms from best to worst in one score, here and in another table."""

    score: str
    ours: tuple[tuple[str, ...], ...]
    theirs: tuple[tuple[str, ...], ...]
    """Arms of equal value stand together."""
    swapped: tuple[tuple[str, str], ...]
    """Pairs that the other table has the other way round: (better here, better there)."""
    tau: float | None
    """Kendall's τ-b of the two orders; None for fewer than three arms and where all are equal."""

    @property
    def agreement(self) -> str:
        """`the other way round: A and B`, or that the order is the same."""
        if self.swapped:
            return "the other way round: " + ", ".join(f"{a} and {b}" for a, b in self.swapped)
        if len(self.ours) == 1 < len(self.theirs):
            return "no order here: all arms are equal"
        same = [set(group) for group in self.ours] == [set(group) for group in self.theirs]
        return "the same order" + ("" if same else " but for ties")


def rank_order(score: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> RankOrder:
    """Compare the order of the arms that both {arm: value} have."""
    sign = -1 if METRICS[score].better == "higher" else 1
    x, y = (
        {arm: round(values[arm], ROUNDED) for arm in ours if arm in theirs}
        for values in (ours, theirs)
    )
    arms = sorted(x, key=lambda arm: sign * x[arm])
    swapped = tuple(
        (a, b) for a, b in combinations(arms, 2) if x[a] != x[b] and sign * y[a] > sign * y[b]
    )
    tau = None
    if len(arms) > 2 and len(set(x.values())) > 1 and len(set(y.values())) > 1:
        tau = float(stats.kendalltau([x[arm] for arm in arms], [y[arm] for arm in arms]).statistic)
    return RankOrder(score, _groups(arms, x, sign), _groups(arms, y, sign), swapped, tau)


def _groups(
    arms: Sequence[str], values: Mapping[str, float], sign: int
) -> tuple[tuple[str, ...], ...]:
    """Arms from best to worst, those of one value together."""
    levels = sorted({values[arm] for arm in arms}, key=lambda value: sign * value)
    return tuple(tuple(arm for arm in arms if values[arm] == level) for level in levels)


def paper_orders(evidence: Evidence) -> list[RankOrder]:
    """Our order of the means beside the paper's, for each score with two or more such arms."""
    rows = evidence.runs.record.published_rows
    orders = []
    for score in METRICS:
        arms = [arm for arm in evidence.runs.arms if score in rows.get(arm, {})]
        means = {arm: evidence.entry(arm, score).mean for arm in arms}
        ours = {arm: mean for arm, mean in means.items() if mean is not None}
        if len(ours) > 1:
            orders.append(rank_order(score, ours, {arm: rows[arm][score] for arm in arms}))
    return orders


def chain(groups: Sequence[Sequence[str]]) -> str:
    """`A > B = C`."""
    return " > ".join(" = ".join(group) for group in groups)


def tau_text(tau: float) -> str:
    """`τ = −0.82`."""
    return f"τ = {plain(tau, 2)}"


def in_words(order: RankOrder) -> str:
    """`here A > B > C; paper A > C = B; the other way round: …; τ = 0.67`."""
    text = f"here {chain(order.ours)}; paper {chain(order.theirs)}; {order.agreement}"
    return text + (f"; Kendall's {tau_text(order.tau)}" if order.tau is not None else "")
