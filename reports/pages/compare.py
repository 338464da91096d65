"""One suite on several data sets or profiles, side by side: does the order of the arms carry over?

Nothing is averaged over settings: only orders and verdicts can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from experiments.tracking.reader import GROUND_TRUTH, read_suite
from pix2pix.common.errors import UserError
from reports.analysis import Analysis
from reports.analysis.formatting import signed, title
from reports.analysis.ranking import chain, rank_order, tau_text
from reports.analysis.runs import finished, tidy
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED, WORDS, Verdict
from reports.pages import notes
from reports.pages.html import pages_of_sections
from reports.pages.markdown import section_lines
from reports.pages.tables import cell_text
from reports.pages.verdict_text import by_advice, claim_words, verdict_frame
from reports.sections import Section
from reports.write import write_files

PAGE = "comparison.html"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FACTS = ("setting", "data set", "profile", "pixels", "steps", "seeds per arm", "cells finished")
ORDERS_NOTE = (
    "Orders of the means, best first, over the arms that all settings have; Kendall's τ is 1 for "
    "the same order and −1 for the opposite one. Only the verdicts say whether a difference is "
    "more than chance."
)

Settings = dict[str, Analysis]
"""{A, B, C, …: the suite on one data set in one profile}"""


def parse_settings(text: str) -> list[tuple[str, str]]:
    """`camvid:quick,procedural:quick` to (data set, profile); UserError names what is wrong."""
    pairs = [tuple(part.strip().split(":", 1)) for part in text.split(",")]
    whole = all(len(pair) == 2 and all(pair) for pair in pairs)
    if not whole or not 2 <= len(set(pairs)) == len(pairs) <= len(LETTERS):
        raise UserError(
            f"--compare: must be 2 to {len(LETTERS)} different DATASET:PROFILE, such as "
            f"camvid:quick,procedural:quick (got {text!r})"
        )
    return [(dataset, profile) for dataset, profile in pairs]


def write_comparison(
    suite: str, pairs: Sequence[tuple[str, str]], settings: Settings, out: Path
) -> Path:
    """Write comparison.html, .md, comparison_verdicts.csv and comparison_results.csv.

    `settings`: of `read_settings`. Returns the folder, `out`/compare/SUITE/DATASET-PROFILE+….
    """
    names = " beside ".join(f"{dataset} ({profile})" for dataset, profile in pairs)
    record = settings["A"].runs.record
    heading, sections = f"{record.title}, {names}", compare_settings(settings)
    beside = " Beside this page: comparison.md, comparison_verdicts.csv, comparison_results.csv."
    page, markdown = pages_of_sections(heading, record.question, sections, beside)
    results = [tidy(one.runs) for one in settings.values()]
    keys = ["suite", "dataset", "profile"]
    verdicts = pd.concat(
        {
            (suite, *pair): verdict_frame(one.verdicts)
            for pair, one in zip(pairs, settings.values(), strict=True)
        },
        names=keys,
    )
    files: dict[str, str | pd.DataFrame | None] = {
        PAGE: page,
        "comparison.md": markdown,
        "comparison_verdicts.csv": verdicts.reset_index(keys),
        "comparison_results.csv": pd.concat(results),
    }
    folder = "+".join(f"{dataset}-{profile}" for dataset, profile in pairs)
    return write_files(out / "compare" / suite / folder, files)


def read_settings(suite: str, pairs: Sequence[tuple[str, str]]) -> Settings:
    """A suite in every setting; UserError where one has no finished cell, and as `read_suite`."""
    settings = {}
    for letter, (dataset, profile) in zip(LETTERS, pairs, strict=False):
        runs = read_suite(suite, dataset, profile)
        if not finished(runs):
            raise UserError(f"suite {suite} on {dataset}:{profile}: no finished cell")
        settings[letter] = Analysis(runs)
    return settings


def write_claims(
    suites: Mapping[str, Settings], pairs: Sequence[tuple[str, str]], out: Path
) -> Path:
    """Write claims.md and claims.csv, every claim of these suites in every setting, below `out`
    /compare; returns claims.md."""
    names = [f"{dataset} ({profile})" for dataset, profile in pairs]
    rows, records = [], []
    for suite, settings in suites.items():
        for claim in _claims(settings):
            found = [_verdict(one, claim) for one in settings.values()]
            cells = [verdict_cell(one, claim) for one in settings.values()]
            rows.append([claim_words(claim), *cells, tally(found)])
            for (dataset, profile), verdict in zip(pairs, found, strict=True):
                if verdict is not None:
                    row = verdict_frame([verdict])
                    records.append(row.assign(suite=suite, dataset=dataset, profile=profile))
    text = (
        "Effects are differences of means in the score's own unit; they never compare as numbers "
        "across data sets. Verdicts are corrected within a suite (Holm)."
    )
    section = Section("The claims side by side", text, ["claim", *names, "in all"], rows)
    files: dict[str, str | pd.DataFrame | None] = {
        "claims.md": "\n".join([*section_lines(section), ""]),
        "claims.csv": pd.concat(records) if records else None,
    }
    return write_files(out / "compare", files) / "claims.md"


def tally(verdicts: Sequence[Verdict | None]) -> str:
    """`reproduced everywhere`, or `2 reproduced, 1 undecided` of the settings that have one."""
    words = [verdict.word for verdict in verdicts if verdict]
    counts = {word: words.count(word) for word in WORDS}
    if len(words) == len(verdicts) and max(counts.values()) == len(words):
        return f"{words[0]} everywhere"
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "–"


def compare_settings(settings: Settings) -> list[Section]:
    """Everything that the pages show."""
    sentence, carried = answer(settings)
    claims = [
        [claim_words(claim), *(verdict_cell(one, claim) for one in settings.values())]
        for claim in _claims(settings)
    ]
    advice = [
        f"{letter}, {which}: {words}."
        for letter, one in settings.items()
        for words, which in by_advice(one.verdicts).items()
    ]
    missing = [
        f"{letter}: {line}"
        for letter, one in settings.items()
        for line in (*notes.gaps(one.runs), *notes.not_measured(one.runs))
    ]
    sections = [
        Section("Settings", head=FACTS, rows=[_facts(*pair) for pair in settings.items()]),
        Section("Does the ordering carry over?", sentence, lines=carried),
        Section("What can be compared", lines=limits(settings)),
        Section("Verdicts side by side", head=["claim", *settings], rows=claims, lines=advice),
        Section(
            "Orders side by side", ORDERS_NOTE, ["score", *settings, "agreement"], orders(settings)
        ),
        *_scores(settings),
        Section("What is missing", lines=missing),
    ]
    return [one for one in sections if one.rows or one.lines or one.text == sentence]


def answer(settings: Settings) -> tuple[str, list[str]]:
    """Whether the ordering carries over, in a sentence, and the claims behind it."""
    where = "both" if len(settings) == 2 else f"all {len(settings)}"
    same, opposite, n = [], [], 0
    for claim in _claims(settings):
        verdicts = {letter: _verdict(one, claim) for letter, one in settings.items()}
        found = {letter: verdict.word if verdict else "" for letter, verdict in verdicts.items()}
        words, n = set(found.values()), n + 1
        if {REPRODUCED, CONTRADICTED} <= words:
            in_each = ", ".join(f"{word} in {letter}" for letter, word in found.items() if word)
            opposite.append(f"{claim_words(claim)}: {in_each}")
        elif words in ({REPRODUCED}, {CONTRADICTED}):
            same.append(f"{claim_words(claim)}: {found['A']} in {where}")
    if not n:
        return "The suite states no claims: only the orders of the means can be compared.", []
    still_open = n - len(same) - len(opposite)
    parts = [f"{_count(len(opposite), n)} opposite verdicts in two settings"] if opposite else []
    parts += [f"{_count(len(same), n)} the same verdict in {where}"] if same else []
    if not parts:
        return f"Not known: of {n} claim{'s' * (n > 1)} none is decided in {where}.", []
    parts += [f"{still_open} not decided in at least one"] if still_open else []
    verdict = "No" if opposite else "As far as decided, yes" if still_open else "Yes"
    return f"{verdict}: {'; '.join(parts)}.", [*same, *opposite]


def limits(settings: Settings) -> list[str]:
    """What speaks against comparing values, and scores that cannot tell arms apart."""
    records = {letter: one.runs.record for letter, one in settings.items()}
    images = _groups({letter: record.fingerprint for letter, record in records.items()})
    scorers = _groups(
        {
            letter: record.reference or "none"
            for letter, record in records.items()
            if any(score.startswith("fcn.") for score in settings[letter].scores)
        }
    )
    if len(images) == 1:
        lines = [f"The images are the same (fingerprint {next(iter(images))[:12]}…)."]
    else:
        prints = "; ".join(f"{letters} {text[:12]}…" for text, letters in images.items())
        lines = [
            f"The images differ (fingerprints: {prints}): compare orders and verdicts across "
            "them, not values."
        ]
    if len(scorers) > 1:
        lines.append(
            f"The FCN-scores come from {len(scorers)} scorers ({'; '.join(scorers.values())}): "
            "each has its own ceiling, the ground truth."
        )
    return lines + [
        f"{letter}: {line}." for letter, one in settings.items() for line in one.ceiling_warnings
    ]


def _groups(values: dict[str, str]) -> dict[str, str]:
    """{value: `A, C`}, the letters of the settings that have it."""
    return {
        value: ", ".join(letter for letter, other in values.items() if other == value)
        for value in values.values()
    }


def orders(settings: Settings) -> list[list[str]]:
    """The orders in every score of which at least two arms have a mean in all settings, and how
    far each two settings agree."""
    rows = []
    for score in _all_scores(settings):
        means = {letter: _means(one, score) for letter, one in settings.items()}
        shared = set.intersection(*map(set, means.values()))
        if len(shared) < 2:
            continue
        means = {k: {a: v for a, v in one.items() if a in shared} for k, one in means.items()}
        agreement = []
        for (a, first), (b, second) in combinations(means.items(), 2):
            order = rank_order(score, first, second)
            tau = "" if order.tau is None else f"{tau_text(order.tau)}, "
            agreement.append(f"{a}–{b}: {tau}{order.agreement}")
        chains = [chain(rank_order(score, one, one).ours) for one in means.values()]
        rows.append([title(score), *chains, "; ".join(agreement)])
    return rows


def _scores(settings: Settings) -> list[Section]:
    """A table for each score that one of the settings has, arms as rows."""
    arms = dict.fromkeys(arm for one in settings.values() for arm in one.runs.arms)
    tables = []
    for score in _all_scores(settings):
        if any(_means(one, score) for one in settings.values()):
            rows = [
                [arm, *(_value(one, arm, score) for one in settings.values())]
                for arm in (*arms, GROUND_TRUTH)
            ]
            tables.append(Section(title(score), head=["arm", *settings], rows=rows))
    return tables


def _value(one: Analysis, arm: str, score: str) -> str:
    runs = one.by_arm.get(arm)
    if runs is None:
        return "not requested"
    return cell_text(one.entry(arm, score), score, sum(run.finished for run in runs))


def verdict_cell(one: Analysis, claim: str) -> str:
    """`reproduced (+0.041, n = 5)`, or why there is no verdict."""
    verdict = _verdict(one, claim)
    if verdict is None:
        stated = claim in one.runs.record.claims
        return "not judged: an arm was not requested" if stated else "not stated"
    if verdict.effect is None:
        return f"{verdict.word} ({verdict.detail})"
    weak = "; ceiling broken" if verdict.ceiling else ""
    effect = signed(verdict.effect, verdict.digits)
    return f"{verdict.word} ({effect}, n = {verdict.n}{weak})"


def _verdict(one: Analysis, claim: str) -> Verdict | None:
    return next((verdict for verdict in one.verdicts if verdict.claim == claim), None)


def _facts(letter: str, one: Analysis) -> list[str]:
    record, runs = one.runs.record, one.runs
    steps = f"{record.steps:,}" if record.steps else "—"
    cells = f"{len(finished(runs))} of {len(runs.runs)}"
    size = notes.size_text(record)
    seeds = notes.seeds_text(runs)
    return [letter, record.dataset, record.variant, size, steps, seeds, cells]


def _claims(settings: Settings) -> list[str]:
    """Every claim of one of the settings, each once."""
    return list(dict.fromkeys(c for one in settings.values() for c in one.runs.record.claims))


def _all_scores(settings: Settings) -> list[str]:
    """Every score of one of the tables, each once."""
    return list(dict.fromkeys(score for one in settings.values() for score in one.scores))


def _means(one: Analysis, score: str) -> dict[str, float]:
    """{arm: its mean over seeds}, of the arms that have one."""
    means = {arm: one.entry(arm, score).mean for arm in one.runs.arms}
    return {arm: mean for arm, mean in means.items() if mean is not None}


def _count(k: int, n: int) -> str:
    return f"{k} of {n} claim{'s' if n > 1 else ''} {'has' if k == 1 else 'have'}"
