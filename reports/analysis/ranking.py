"""Which arm leads a column, whether the seeds bear that out, and where the order is the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from eval.metrics import METRICS
from experiments.tracking.reader import SuiteRuns
from reports.analysis.pairing import compare
from reports.analysis.rounding import plain
from reports.analysis.runs import entry
from reports.analysis.statistics import ALPHA, holm

ROUNDED = 12
"""Digits behind the point beyond which means differ by rounding alone."""
RULE = (
    "Bold: the leading arm is better than every other arm in that score (the largest p of its "
    f"tests against them, after Holm over the table's scores, is below {ALPHA})"
)


def leaders(runs: SuiteRuns, scores: Sequence[str]) -> dict[str, str]:
    """{score: arm} for the columns whose leading arm may stand in bold.

    A column has none where an arm that was asked for has no value: the best is not known then.
    """
    found: dict[str, tuple[str, float]] = {}
    for score in scores:
        means = {arm: entry(runs.of_arm(arm), score).interval for arm in runs.arms}
        if len(means) < 2 or None in means.values():
            continue
        better = max if METRICS[score].better == "higher" else min
        lead = better(means, key=lambda arm: means[arm].mean)
        p = [_p(lead, arm, score, runs) for arm in means if arm != lead]
        if None not in p:
            found[score] = (lead, max(p))
    adjusted = holm([p for _, p in found.values()]) if found else []
    return {
        score: lead
        for (score, (lead, _)), p in zip(found.items(), adjusted, strict=True)
        if p < ALPHA
    }


def _p(lead: str, arm: str, score: str, runs: SuiteRuns) -> float | None:
    """Of the lead over an arm; 1 where the seeds that are compared say that the arm is ahead (the
    lead is by all seeds, the test may be by the shared ones)."""
    found = compare(lead, arm, score, runs)
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
        same = [set(group) for group in self.ours] == [set(group) for group in self.theirs]
        return "the same order" + ("" if same else " but for ties")


def rank_order(score: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> RankOrder:
    """Compare the order of the arms that both {arm: value} have."""
    sign = -1 if METRICS[score].better == "higher" else 1
    x, y = (
        {arm: round(of[arm], ROUNDED) for arm in ours if arm in theirs} for of in (ours, theirs)
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


def paper_orders(runs: SuiteRuns) -> list[RankOrder]:
    """Our order of the means beside the paper's, for each score with three or more such arms."""
    rows = runs.record.published_rows
    orders = []
    for score in METRICS:
        theirs = {arm: rows[arm][score] for arm in runs.arms if score in rows.get(arm, {})}
        entries = {arm: entry(runs.of_arm(arm), score).interval for arm in theirs}
        ours = {arm: interval.mean for arm, interval in entries.items() if interval}
        if len(ours) > 1:
            orders.append(rank_order(score, ours, theirs))
    return orders


def chain(groups: Sequence[Sequence[str]]) -> str:
    """`A > B = C`."""
    return " > ".join(" = ".join(group) for group in groups)


def tau_text(tau: float) -> str:
    """`τ = −0.82`."""
    return f"τ = {plain(tau, 2)}"


def in_words(order: RankOrder, here: str = "here", there: str = "paper") -> str:
    """`here A > B > C; paper A > C = B; the other way round: …; τ = 0.67`."""
    text = f"{here} {chain(order.ours)}; {there} {chain(order.theirs)}; {order.agreement}"
    return text + (f"; Kendall's {tau_text(order.tau)}" if order.tau is not None else "")
