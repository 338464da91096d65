"""What a suite's settings (data set and profile) say beside each other, once for every page.

Nothing is averaged over settings: only orders and verdicts compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from experiments.tracking.reader import SuiteRuns
from reports.analysis.formatting import signed
from reports.analysis.ranking import RankOrder, chain, rank_order, tau_text
from reports.analysis.runs import GROUND_TRUTH
from reports.analysis.verdicts import Verdict
from reports.pages import notes
from reports.pages.tables import Row, Table, cell_text

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FACTS = ("setting", "data set", "profile", "pixels", "steps", "seeds an arm", "cells finished")


@dataclass(frozen=True)
class Setting:
    """A suite's runs on one data set in one profile."""

    runs: SuiteRuns
    table: Table
    verdicts: dict[str, Verdict]
    """{claim: its verdict}"""

    @property
    def name(self) -> str:
        return f"{self.runs.record.dataset} ({self.runs.record.variant})"

    @property
    def key(self) -> str:
        return f"{self.runs.record.dataset}-{self.runs.record.variant}"

    def row(self, arm: str) -> Row | None:
        """The arm's row; None where it was not asked for."""
        return next((row for row in self.table.rows if row.arm == arm), None)


def lettered(settings: Sequence[Setting]) -> list[str]:
    """A, B, C, …: what a column's head calls them."""
    return list(LETTERS[: len(settings)])


def claims_of(settings: Sequence[Setting]) -> list[str]:
    """Every claim that one of them makes, each once."""
    return list(dict.fromkeys(claim for one in settings for claim in one.runs.record.claims))


def _has_values(one: Setting, score: str) -> bool:
    arms = [row for row in one.table.rows if row.arm != GROUND_TRUTH]
    return any(score in row.entries and row.entries[score].interval for row in arms)


def unshared(settings: Sequence[Setting]) -> list[tuple[str, list[str]]]:
    """(score, the letters of the settings that have no value of it)."""
    scores = dict.fromkeys(score for one in settings for score in one.table.scores)
    found = []
    for score in scores:
        pairs = zip(LETTERS, settings, strict=False)
        lacking = [letter for letter, one in pairs if not _has_values(one, score)]
        found += [(score, lacking)] if lacking else []
    return found


def scores_of(settings: Sequence[Setting]) -> list[str]:
    """The scores that all of them have values of, in table order."""
    without = {score for score, _ in unshared(settings)}
    return [score for score in settings[0].table.scores if score not in without]


def arms_of(settings: Sequence[Setting]) -> list[str]:
    """Every arm of one of the tables, each once, the ground truth last."""
    arms = dict.fromkeys(row.arm for one in settings for row in one.table.rows)
    return sorted(arms, key=lambda arm: arm == GROUND_TRUTH)


def facts(settings: Sequence[Setting]) -> list[list[str]]:
    """A row a setting, in the columns FACTS."""
    rows = []
    for letter, one in zip(LETTERS, settings, strict=False):
        record, runs = one.runs.record, one.runs
        counts = sorted(notes.finished_seeds(runs))
        seeds = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
        done = sum(run.finished for run in runs.runs)
        steps = record.steps
        length = f"{steps:,}" if isinstance(steps, int) else "by arm" if steps else "—"
        cells = f"{done} of {len(runs.runs)}"
        size = notes.size_text(record) or "—"
        rows.append([letter, record.dataset, record.variant, size, length, seeds, cells])
    return rows


@dataclass(frozen=True)
class Orders:
    """The order of the shared arms' means in one score, in every setting."""

    score: str
    orders: tuple[str, ...]
    """`70x70 > 16x16 > 1x1`, one a setting."""
    agreement: tuple[str, ...]
    """`A–B: τ = 0.60, the other way round: 16x16 and 1x1`, one a pair of settings."""


def orders(settings: Sequence[Setting]) -> list[Orders]:
    """Best arm first, for every score that two arms or more have a mean of in all settings."""
    found = []
    for score in scores_of(settings):
        means = [_means(one, score) for one in settings]
        shared = set.intersection(*(set(of) for of in means))
        means = [{arm: v for arm, v in of.items() if arm in shared} for of in means]
        if len(shared) < 2:
            continue
        told = tuple(chain(rank_order(score, of, of).ours) for of in means)
        pairs = combinations(zip(LETTERS, means, strict=False), 2)
        agreed = tuple(
            f"{a}–{b}: {_agreed(rank_order(score, ours, theirs))}"
            for (a, ours), (b, theirs) in pairs
        )
        found.append(Orders(score, told, agreed))
    return found


def _agreed(order: RankOrder) -> str:
    told = order.agreement
    return told if order.tau is None else f"{tau_text(order.tau)}, {told}"


def _means(setting: Setting, score: str) -> dict[str, float]:
    return {
        row.arm: entry.interval.mean
        for row in setting.table.rows
        if row.arm != GROUND_TRUTH and (entry := row.entries[score]).interval
    }


def verdict_cell(setting: Setting, claim: str) -> str:
    """`reproduced (+0.041, n = 5)`, with a word on a broken ceiling, or why there is none."""
    verdict = setting.verdicts.get(claim)
    if verdict is None:
        made = claim in setting.runs.record.claims
        return "not judged: an arm was not asked for" if made else "not stated"
    if verdict.effect is None:
        return f"{verdict.word}: {verdict.detail}"
    weak = "; ceiling broken" if verdict.ceiling else ""
    return f"{verdict.word} ({signed(verdict.effect, verdict.digits)}, n = {verdict.n}{weak})"


def value(setting: Setting, arm: str, score: str) -> tuple[str, bool]:
    """(an arm's value as text, whether it stands in bold)."""
    row = setting.row(arm)
    if row is None:
        return "not asked for", False
    return cell_text(row.entries[score], score, row.finished), setting.table.bold(row, score)


def gaps(settings: Sequence[Setting]) -> list[str]:
    """Failed, missing and unmeasured cells of every setting."""
    lines = []
    for letter, one in zip(LETTERS, settings, strict=False):
        said = [*notes.gaps(one.runs), *notes.not_measured(one.runs)]
        lines += [f"{letter}: {line}" for line in said]
    return lines
