"""What the answers of a study say: rates with intervals, differences of arms, exclusions.

A participant is one observation: the share of their trials in which they took the real image for
the generated one. Arms have different participants, so they are compared unpaired, with the tests
of `eval.statistics` and Holm's correction over all pairs of arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from eval.bootstrap import mean_intervals
from eval.statistics import (
    ALPHA,
    Difference,
    Interval,
    difference,
    holm,
    seeds_for_power,
    t_interval,
)
from eval.study.design import MOST_FAILED, SHOWN_MS, TOLERANCE_MS, Study, timing_failed
from eval.study.published import paper_order

MOST_PARTICIPANTS = 2000
"""The most participants per arm that advice asks for."""
RULES = (
    "participants who answered but did not finish are left out",
    f"participants with more than {MOST_FAILED:.0%} of trials of failed timing, or whose pair was "
    "sent more than once, are left out",
    "participants who gave the same side in every trial are left out",
    f"trials that were not shown for {SHOWN_MS} ± {TOLERANCE_MS} ms, or whose pair was sent more "
    "than once, are left out",
)
"""Stated before the answers are looked at; applied in this order."""


@dataclass(frozen=True)
class ArmResult:
    """One arm, in percent of trials fooled."""

    arm: str
    rates: tuple[float, ...]
    """Of each participant who counts."""
    trials: int
    interval: Interval | None
    """t-interval over participants; None without any."""
    over_participants: tuple[float, float] | None
    """Bootstrap, 95 %: whole participants are drawn."""
    over_images: tuple[float, float] | None
    """Bootstrap, 95 %: whole generated images are drawn, with all answers to them."""


@dataclass(frozen=True)
class Comparison:
    """Two arms; `first` is the one that the paper finds to fool more often, where it has both."""

    first: str
    second: str
    source: str
    """The paper's table, or empty."""
    difference: Difference
    p_holm: float | None
    needed: int | None
    """Participants per arm that would decide it with 80 % power, if the difference is as large as
    it looks; None where decided, or where even MOST_PARTICIPANTS are not enough."""

    @property
    def decided(self) -> bool:
        return self.p_holm is not None and self.p_holm < ALPHA

    @property
    def verdict(self) -> str:
        """`L1+cGAN fools more often`, or undecided."""
        if not self.decided:
            return "undecided"
        return f"{self.first if self.difference.effect > 0 else self.second} fools more often"

    @property
    def word(self) -> str:
        """Against the paper: reproduced, contradicted or undecided; empty without a claim."""
        if not self.source:
            return ""
        words = {True: "reproduced", False: "contradicted"}
        return words[self.difference.effect > 0] if self.decided else "undecided"

    @property
    def advice(self) -> str:
        if self.decided:
            return ""
        if self.difference.interval is None:
            return "two participants per arm are the least that says anything"
        if self.needed is None:
            return f"more than {MOST_PARTICIPANTS} participants per arm would be needed"
        return f"about {self.needed} participants per arm would decide"


@dataclass(frozen=True)
class Results:
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    excluded: tuple[tuple[str, int], ...]
    """(rule, how many participants or trials it left out), in the order of RULES."""
    kept: pd.DataFrame
    """The answers that count."""


def analyse(study: Study, table: pd.DataFrame) -> Results:
    """Results from the table of `Answers.table`; arms without a participant have no interval."""
    kept, excluded = exclude(study, table)
    arms = tuple(_arm(arm, kept[kept.arm == arm]) for arm in study.arms)
    rates = {one.arm: one.rates for one in arms if one.rates}
    return Results(arms, tuple(compare(rates)), tuple(excluded), kept)


def exclude(study: Study, table: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    """The answers without practice that count, and what each rule left out."""
    answers = table[~table.practice].copy()
    failed = np.array([timing_failed(v if v == v else None) for v in answers.shown_ms], bool)
    answers["failed"] = failed | (answers.sent > 1)
    by = answers.groupby("participant")
    people = pd.DataFrame({
        "unfinished": by.size() < study.trials,
        "failed": by.failed.mean() > MOST_FAILED,
        "one_side": by.choice.nunique() == 1,
    })  # fmt: skip
    started = table.participant.nunique()
    counts = [started - len(people) + int(people.unfinished.sum())]
    people = people[~people.unfinished]
    for rule in ("failed", "one_side"):
        counts.append(int(people[rule].sum()))
        people = people[~people[rule]]
    answers = answers[answers.participant.isin(people.index)]
    counts.append(int(answers.failed.sum()))
    return answers[~answers.failed], list(zip(RULES, counts, strict=True))


def compare(rates: Mapping[str, Sequence[float]]) -> list[Comparison]:
    """Every pair of arms, from {arm: percent fooled of each participant}."""
    found = []
    for pair in combinations(rates, 2):
        first, second, source = paper_order(*pair) or (*reversed(pair), "")
        found.append((first, second, source, difference(rates[first], rates[second], False)))
    known = {i: one[3].p for i, one in enumerate(found)}
    p = {i: value for i, value in known.items() if value is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    return [
        Comparison(*one, adjusted.get(i), _needed(one[3], len(p), adjusted.get(i)))
        for i, one in enumerate(found)
    ]


def _needed(found: Difference, tests: int, p_holm: float | None) -> int | None:
    if p_holm is None or p_holm < ALPHA or not found.standardised:
        return None
    wanted = seeds_for_power(found.standardised, tests, False, MOST_PARTICIPANTS)
    return None if wanted is None else max(wanted, found.n + 1)


def _arm(arm: str, answers: pd.DataFrame) -> ArmResult:
    rates = (100 * answers.groupby("participant").fooled.mean()).tolist()
    if not rates:
        return ArmResult(arm, (), 0, None, None, None)
    fooled = 100.0 * answers.fooled.to_numpy(float)
    over = {}
    for column in ("participant", "fake"):
        groups = np.unique(answers[column], return_inverse=True)[1]
        found = mean_intervals({"fooled": fooled}, groups) if groups.max() else {}
        over[column] = tuple(np.clip(found["fooled"], 0, 100).tolist()) if found else None
    interval = t_interval(rates)
    return ArmResult(arm, tuple(rates), len(fooled), interval, over["participant"], over["fake"])
