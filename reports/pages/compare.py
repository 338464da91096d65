"""One suite on several data sets or profiles, side by side: does the order of the arms carry over?

Nothing is averaged over settings: only orders and verdicts can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import pandas as pd

from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns, read_suite
from pix2pix.common.errors import UserError
from reports.analysis import Analysis
from reports.analysis.formatting import signed, title
from reports.analysis.ranking import chain, rank_order, tau_text
from reports.analysis.runs import arm_state, finished, tidy
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED, Verdict
from reports.pages import notes
from reports.pages.html import render
from reports.pages.markdown import aligned, bullets, escape
from reports.pages.tables import Row, Table, cell_text, make_table
from reports.pages.verdict_text import claim_words
from reports.write import write_files

T = TypeVar("T")
PAGE = "comparison.html"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FACTS = ("setting", "data set", "profile", "pixels", "steps", "seeds per arm", "cells finished")
DIGEST = 12
"""Characters of a fingerprint that are shown."""
ORDERS_NOTE = (
    "Orders of the means, best first, over the arms that all settings have; Kendall's τ is 1 for "
    "the same order and −1 for the opposite one. Only the verdicts say whether a difference is "
    "more than chance."
)


@dataclass(frozen=True)
class Setting:
    """A suite's runs on one data set in one profile."""

    analysis: Analysis
    table: Table
    verdicts: dict[str, Verdict]
    """{claim: its verdict}"""

    @property
    def runs(self) -> SuiteRuns:
        return self.analysis.runs

    @property
    def name(self) -> str:
        """`camvid (quick)`"""
        return f"{self.runs.record.dataset} ({self.runs.record.variant})"

    @property
    def key(self) -> str:
        """`camvid-quick`"""
        return f"{self.runs.record.dataset}-{self.runs.record.variant}"

    def row(self, arm: str) -> Row | None:
        """The arm's row of the table; None where the arm was not requested."""
        return next((row for row in self.table.rows if row.arm == arm), None)

    def means(self, score: str) -> dict[str, float]:
        """{arm: its mean over seeds}, without the ground truth and arms without a value."""
        return {
            row.arm: entry.interval.mean
            for row in self.table.rows
            if row.arm != GROUND_TRUTH and (entry := row.entries.get(score)) and entry.interval
        }


@dataclass(frozen=True)
class Orders:
    """The order of the shared arms by their means in one score, in every setting."""

    score: str
    orders: tuple[str, ...]
    """`70x70 > 16x16 > 1x1`, one per setting."""
    agreement: tuple[str, ...]
    """`A–B: τ = 0.60, the other way round: 16x16 and 1x1`, one per pair of settings."""


@dataclass(frozen=True)
class Comparison:
    """The content of both pages, as plain text; columns are the settings A, B, C, …"""

    heading: str
    question: str
    letters: tuple[str, ...]
    facts: list[list[str]]
    """One row per setting, with the columns FACTS."""
    answer: str
    claims: list[str]
    """The claims behind the answer."""
    limits: list[str]
    """What cannot be compared, and what rests on too few seeds."""
    verdicts: list[tuple[str, list[tuple[str, str]]]]
    """(claim, (verdict, details) per setting)"""
    advice: list[str]
    orders: list[Orders]
    scores: list[tuple[str, list[tuple[str, list[tuple[str, bool]]]]]]
    """(score's title, (arm, (value, whether it is bold) per setting) per arm)"""
    gaps: list[str]
    """Failed, missing and unmeasured cells."""


def parse_settings(text: str) -> list[tuple[str, str]]:
    """`camvid:quick,procedural:quick` to (data set, profile); UserError names what is wrong."""
    pairs = []
    for part in text.split(","):
        dataset, colon, profile = part.strip().partition(":")
        if not (dataset and colon and profile):
            raise UserError(
                f"--compare: must read DATASET:PROFILE,DATASET:PROFILE, such as "
                f"camvid:quick,procedural:quick (got {text!r})"
            )
        if (dataset, profile) in pairs:
            raise UserError(f"--compare: names {dataset}:{profile} twice")
        pairs.append((dataset, profile))
    if not 2 <= len(pairs) <= len(LETTERS):
        raise UserError(
            f"--compare: needs 2 to {len(LETTERS)} settings, separated by commas (got {text!r})"
        )
    return pairs


def write_comparison(suite: str, pairs: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write comparison.html, .md, comparison_verdicts.csv and comparison_results.csv.

    Returns the folder, `out`/compare/SUITE/DATASET-PROFILE+…; UserError where a setting is not
    recorded or has no finished cell, and as `read_suite`.
    """
    settings = []
    for dataset, profile in pairs:
        runs = read_suite(suite, dataset, profile)
        if not finished(runs):
            raise UserError(f"suite {suite} on {dataset}:{profile}: no finished cell")
        settings.append(make_setting(runs))
    results = pd.concat([tidy(one.runs) for one in settings], ignore_index=True)
    comparison = compare_settings(settings)
    files = {
        PAGE: html(comparison),
        "comparison.md": markdown(comparison),
        "comparison_verdicts.csv": verdicts_csv(settings),
        "comparison_results.csv": results.to_csv(index=False, lineterminator="\n"),
    }
    return write_files(out / "compare" / suite / "+".join(one.key for one in settings), files)


def make_setting(runs: SuiteRuns) -> Setting:
    """A suite's runs with their table and verdicts."""
    analysis = Analysis(runs)
    judged = {verdict.claim: verdict for verdict in analysis.verdicts}
    return Setting(analysis, make_table(analysis), judged)


def compare_settings(settings: Sequence[Setting]) -> Comparison:
    """Everything that the pages show."""
    record = settings[0].runs.record
    sentence, claims = answer(settings)
    return Comparison(
        heading=f"{record.title}, {' beside '.join(one.name for one in settings)}",
        question=record.question,
        letters=tuple(LETTERS[: len(settings)]),
        facts=[_facts(*pair) for pair in zip(LETTERS, settings, strict=False)],
        answer=sentence,
        claims=claims,
        limits=limits(settings),
        verdicts=[
            (claim_words(claim), [verdict_cell(one, claim) for one in settings])
            for claim in _claims(settings)
        ],
        advice=_advice(settings),
        orders=orders(settings),
        scores=[
            (title(score), [(arm, [_value(s, arm, score) for s in settings]) for arm in arms])
            for arms in [_arms(settings)]
            for score in _scores(settings)
            if not _without(settings, score)
        ],
        gaps=[
            f"{letter}: {line}"
            for letter, one in zip(LETTERS, settings, strict=False)
            for line in (*notes.gaps(one.runs), *notes.not_measured(one.runs))
        ],
    )


def markdown(comparison: Comparison) -> str:
    """The Markdown page: reads well in a terminal and in a pull request."""
    c = comparison
    lines = [f"# {escape(c.heading)}", "", escape(c.question), ""]
    lines += [aligned(FACTS, [[*map(escape, row)] for row in c.facts]), ""]
    lines += ["## Does the ordering carry over?", "", escape(c.answer), "", *bullets(c.claims)]
    lines += ["", "## What can be compared", "", *bullets(c.limits)]
    lines += ["", "## Verdicts side by side", ""]
    rows = [
        [escape(claim), *(escape(f"{word} {rest}".strip()) for word, rest in cells)]
        for claim, cells in c.verdicts
    ]
    lines += [aligned(["claim", *c.letters], rows)] if rows else ["The suite states no claims."]
    lines += ["", *bullets(c.advice)]
    if c.orders:
        rows = [
            [*map(escape, (title(one.score), *one.orders, "; ".join(one.agreement)))]
            for one in c.orders
        ]
        lines += ["", "## Orders side by side", "", ORDERS_NOTE, ""]
        lines += [aligned(["score", *c.letters, "agreement"], rows)]
    for heading, by_arm in c.scores:
        rows = [
            [escape(arm), *(f"**{escape(t)}**" if bold else escape(t) for t, bold in cells)]
            for arm, cells in by_arm
        ]
        lines += ["", f"## {heading}", "", aligned(["arm", *c.letters], rows)]
    lines += ["", "## What is missing", "", *(bullets(c.gaps) or ["Nothing."])]
    return "\n".join([*lines, ""])


def html(comparison: Comparison) -> str:
    """The same as one self-contained HTML page."""
    sections = {
        "answer": ("Answer", True),
        "verdicts": ("Verdicts", comparison.verdicts),
        "orders": ("Orders", comparison.orders),
        "scores": ("Scores", comparison.scores),
        "missing": ("Missing", comparison.gaps),
    }
    return render(
        "comparison.html.j2",
        [(anchor, text) for anchor, (text, shown) in sections.items() if shown],
        fact_titles=FACTS,
        orders_note=ORDERS_NOTE,
        ground_truth=GROUND_TRUTH,
        title=title,
        **{key: getattr(comparison, key) for key in comparison.__dataclass_fields__},
    )


def verdicts_csv(settings: Sequence[Setting]) -> str:
    """One row per claim and setting."""
    rows = []
    for one in settings:
        record = one.runs.record
        key = {"suite": record.suite, "dataset": record.dataset, "profile": record.variant}
        for v in one.verdicts.values():
            low, high = v.interval or (None, None)
            bounds = {"verdict": v.word, "difference": v.effect, "low": low, "high": high}
            kept = {k: x for k, x in asdict(v).items() if k in ("p", "p_holm", "n", "paired")}
            rows.append({**key, "claim": v.claim, **bounds, **kept})
    columns = ["suite", "dataset", "profile", "claim", "verdict", "difference", "low", "high"]
    frame = pd.DataFrame(rows, columns=[*columns, "p", "p_holm", "n", "paired"])
    return frame.to_csv(index=False, lineterminator="\n")


def sorted_claims(settings: Sequence[Setting]) -> tuple[list[str], list[str], list[str]]:
    """(claims with one verdict in all settings, with opposite verdicts, not decided in all)."""
    same, opposite, still_open = [], [], []
    for claim in _claims(settings):
        words = {one.verdicts[claim].word if claim in one.verdicts else "" for one in settings}
        if {REPRODUCED, CONTRADICTED} <= words:
            opposite.append(claim)
        elif words in ({REPRODUCED}, {CONTRADICTED}):
            same.append(claim)
        else:
            still_open.append(claim)
    return same, opposite, still_open


def answer(settings: Sequence[Setting]) -> tuple[str, list[str]]:
    """Whether the ordering carries over, in a sentence, and the claims behind it."""
    same, opposite, still_open = sorted_claims(settings)
    n = len(same) + len(opposite) + len(still_open)
    where = "both" if len(settings) == 2 else f"all {len(settings)}"
    if not n:
        return "The suite states no claims: only the orders of the means can be compared.", []
    agreed = f"{_count(len(same), n)} the same verdict in {where}"
    if opposite:
        sentence = f"No: {_count(len(opposite), n)} opposite verdicts in two settings"
        sentence += f"; {agreed}" if same else ""
    elif same:
        sentence = f"As far as decided, yes: {agreed}" if still_open else f"Yes: {agreed}"
    else:
        sentence = f"Not known: of {n} claim{'s' * (n > 1)} none is decided in {where}"
    if still_open and (same or opposite):
        sentence += f"; {len(still_open)} not decided in at least one"
    lines = [f"{claim_words(c)}: {settings[0].verdicts[c].word} in {where}" for c in same]
    for claim in opposite:
        words = [
            f"{one.verdicts[claim].word} in {letter}"
            for letter, one in zip(LETTERS, settings, strict=False)
            if claim in one.verdicts
        ]
        lines.append(f"{claim_words(claim)}: {', '.join(words)}")
    return f"{sentence}.", lines


def limits(settings: Sequence[Setting]) -> list[str]:
    """What cannot be compared, and what rests on too few seeds."""
    lettered = list(zip(LETTERS, settings, strict=False))
    lines = [_images(settings), *_scorers(settings)]
    lines += [
        f"{letter} has one seed per arm: no interval and no test, so no claim is decided there, "
        "and the order of its means may be chance."
        for letter, one in lettered
        if set(notes.finished_seeds(one.runs)) == {1}
    ]
    for letter, one in lettered:
        lines += [f"{letter}: {line}." for line in one.analysis.ceiling_warnings]
    for letter, one in lettered:
        absent = [arm for arm in _arms(settings) if not one.row(arm) and arm != GROUND_TRUTH]
        missing = [f"{', '.join(absent)} not requested"] if absent else []
        by_arm = {arm: one.runs.of_arm(arm) for arm in one.runs.arms}
        missing += [
            f"{arm} {arm_state(runs)}"
            for arm, runs in by_arm.items()
            if not any(run.finished for run in runs)
        ]
        if missing:
            lines.append(f"{letter} lacks arms: {'; '.join(missing)}. Orders use the shared arms.")
    lines += [
        f"{title(score, False)} is not compared: no value in {', '.join(without)}."
        for score in _scores(settings)
        if (without := _without(settings, score))
    ]
    return lines


def _images(settings: Sequence[Setting]) -> str:
    groups = _groups([one.runs.record.fingerprint for one in settings])
    if len(groups) == 1:
        return f"The images are the same (fingerprint {next(iter(groups))[:DIGEST]}…)."
    prints = "; ".join(f"{letters} {text[:DIGEST]}…" for text, letters in groups.items())
    return (
        f"The images differ (fingerprints: {prints}): compare orders and verdicts across them, "
        "not values."
    )


def _scorers(settings: Sequence[Setting]) -> list[str]:
    scored = [
        any(name.startswith("fcn.") for run in one.runs.runs for name in run.scores)
        for one in settings
    ]
    references = [one.runs.record.reference or "" for one in settings]
    groups = _groups([r if known else None for r, known in zip(references, scored, strict=True)])
    groups.pop(None, None)
    if "" in groups:
        return [f"{groups['']} has no ground truth: its FCN-scores have no ceiling."]
    if len(groups) > 1:
        return [
            f"The FCN-scores come from {len(groups)} scorers ({'; '.join(groups.values())}): each "
            "has its own ceiling, the ground truth."
        ]
    return ["The FCN-scores come from one scorer."] if groups else []


def _groups(values: Sequence[T]) -> dict[T, str]:
    """{value: `A, C`}, the letters of the settings that have it."""
    found: dict[T, list[str]] = {}
    for letter, value in zip(LETTERS, values, strict=False):
        found.setdefault(value, []).append(letter)
    return {value: ", ".join(letters) for value, letters in found.items()}


def orders(settings: Sequence[Setting]) -> list[Orders]:
    """The orders in every score of which at least two arms have a mean in all settings."""
    found = []
    for score in _scores(settings):
        means = [one.means(score) for one in settings]
        shared = set.intersection(*map(set, means))
        means = [{arm: value for arm, value in of.items() if arm in shared} for of in means]
        if len(shared) < 2:
            continue
        agreement = []
        for (a, first), (b, second) in combinations(zip(LETTERS, means, strict=False), 2):
            order = rank_order(score, first, second)
            tau = "" if order.tau is None else f"{tau_text(order.tau)}, "
            agreement.append(f"{a}–{b}: {tau}{order.agreement}")
        chains = tuple(chain(rank_order(score, of, of).ours) for of in means)
        found.append(Orders(score, chains, tuple(agreement)))
    return found


def verdict_cell(setting: Setting, claim: str) -> tuple[str, str]:
    """(`reproduced`, `(+0.041, n = 5)`), or ("", why there is no verdict)."""
    verdict = setting.verdicts.get(claim)
    if verdict is None:
        stated = claim in setting.runs.record.claims
        return "", "not judged: an arm was not requested" if stated else "not stated"
    if verdict.effect is None:
        return verdict.word, f"({verdict.detail})"
    weak = "; ceiling broken" if verdict.ceiling else ""
    return verdict.word, f"({signed(verdict.effect, verdict.digits)}, n = {verdict.n}{weak})"


def _facts(letter: str, setting: Setting) -> list[str]:
    record, runs = setting.runs.record, setting.runs
    counts = sorted(notes.finished_seeds(runs)) or [0]
    seeds = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    steps = f"{record.steps:,}" if record.steps else "—"
    cells = f"{len(finished(runs))} of {len(runs.runs)}"
    size = notes.size_text(record)
    return [letter, record.dataset, record.variant, size, steps, seeds, cells]


def _advice(settings: Sequence[Setting]) -> list[str]:
    """What would decide the open claims; claims with the same advice share a line."""
    lines = []
    for letter, one in zip(LETTERS, settings, strict=False):
        by_advice: dict[str, list[str]] = {}
        for verdict in one.verdicts.values():
            if verdict.advice:
                by_advice.setdefault(verdict.advice, []).append(claim_words(verdict.claim))
        for words, claims in by_advice.items():
            every = len(claims) == len(one.verdicts) > 1
            which = f"all {len(claims)} claims" if every else "; ".join(claims)
            lines.append(f"{letter}, {which}: {words}.")
    return lines


def _claims(settings: Sequence[Setting]) -> list[str]:
    """Every claim of one of the settings, each once."""
    return list(dict.fromkeys(claim for one in settings for claim in one.runs.record.claims))


def _scores(settings: Sequence[Setting]) -> list[str]:
    """Every score of one of the tables, each once."""
    return list(dict.fromkeys(score for one in settings for score in one.table.scores))


def _without(settings: Sequence[Setting], score: str) -> list[str]:
    """The letters of the settings in which no arm has a value of a score."""
    return [a for a, one in zip(LETTERS, settings, strict=False) if not one.means(score)]


def _arms(settings: Sequence[Setting]) -> list[str]:
    """Every arm of one of the tables, each once, the ground truth last."""
    arms = dict.fromkeys(row.arm for one in settings for row in one.table.rows)
    return sorted(arms, key=lambda arm: arm == GROUND_TRUTH)


def _value(setting: Setting, arm: str, score: str) -> tuple[str, bool]:
    """(an arm's value as text, whether it is bold)."""
    row = setting.row(arm)
    if row is None:
        return "not requested", False
    return cell_text(row.entries[score], score, row.finished), setting.table.bold(row, score)


def _count(k: int, n: int) -> str:
    return f"{k} of {n} claim{'s' if n > 1 else ''} {'has' if k == 1 else 'have'}"
