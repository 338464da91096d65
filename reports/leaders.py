"""Which arm leads a column, whether the seeds bear that out, and where the order is the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from eval.metrics import METRICS
from experiments.tracking_reader import SuiteRuns
from reports.collect import entry
from reports.statistics import ALPHA, holm
from reports.verdicts import compare

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
        p = [
            difference.p if (difference := compare(lead, arm, score, runs)) else None
            for arm in means
            if arm != lead
        ]
        if None not in p:
            found[score] = (lead, max(p))
    adjusted = holm([p for _, p in found.values()]) if found else []
    return {
        score: lead
        for (score, (lead, _)), p in zip(found.items(), adjusted, strict=True)
        if p < ALPHA
    }


@dataclass(frozen=True)
class RankOrder:
    """Arms from best to worst in one score, here and in another table."""

    score: str
    ours: tuple[str, ...]
    theirs: tuple[tuple[str, ...], ...]
    """Arms of equal value stand together."""
    swapped: tuple[tuple[str, str], ...]
    """Pairs that the other table has the other way round: (better here, better there)."""
    tau: float | None
    """Kendall's τ-b of the two orders; None for fewer than three arms and where all are equal."""


def rank_order(score: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> RankOrder:
    """Compare the order of the arms that both {arm: value} have."""
    sign = -1 if METRICS[score].better == "higher" else 1
    arms = sorted((arm for arm in ours if arm in theirs), key=lambda arm: sign * ours[arm])
    levels = sorted({theirs[arm] for arm in arms}, key=lambda value: sign * value)
    grouped = tuple(tuple(a for a in arms if theirs[a] == level) for level in levels)
    swapped = tuple(
        (a, b)
        for a, b in combinations(arms, 2)
        if ours[a] != ours[b] and sign * theirs[a] > sign * theirs[b]
    )
    tau = None
    if len(arms) > 2 and len({ours[arm] for arm in arms}) > 1 and len(levels) > 1:
        x, y = ([of[arm] for arm in arms] for of in (ours, theirs))
        tau = float(stats.kendalltau(x, y).statistic)
    return RankOrder(score, tuple(arms), grouped, swapped, tau)


def paper_orders(runs: SuiteRuns) -> list[RankOrder]:
    """Our order of the means beside the paper's, for each score with three or more such arms."""
    rows = (runs.record.get("published") or {}).get("rows") or {}
    orders = []
    for score in METRICS:
        theirs = {arm: rows.get(arm, {}).get(score) for arm in runs.arms}
        theirs = {arm: v for arm, v in theirs.items() if isinstance(v, int | float)}
        entries = {arm: entry(runs.of_arm(arm), score).interval for arm in theirs}
        ours = {arm: interval.mean for arm, interval in entries.items() if interval}
        if len(ours) > 1:
            orders.append(rank_order(score, ours, theirs))
    return orders


def in_words(order: RankOrder, here: str = "here", there: str = "paper") -> str:
    """`here A > B > C; paper A > C = B; the other way round: …; τ = 0.67`."""
    text = f"{here} {' > '.join(order.ours)}; {there} "
    text += " > ".join(" = ".join(group) for group in order.theirs)
    if order.swapped:
        pairs = ", ".join(f"{a} and {b}" for a, b in order.swapped)
        text += f"; the other way round: {pairs}"
    else:
        text += "; the same order" + (
            " but for ties" if len(order.theirs) < len(order.ours) else ""
        )
    return text + (f"; Kendall's τ = {order.tau:.2f}" if order.tau is not None else "")
