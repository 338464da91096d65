"""One suite on several data sets or variants, side by side: does the ordering carry over?

Nothing is averaged over settings: only orders and verdicts compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns, read_suite
from pix2pix.common.errors import UserError
from reports.analysis.ceiling import ceiling_warnings
from reports.analysis.ranking import chain, rank_order, tau_text
from reports.analysis.rounding import signed
from reports.analysis.runs import arm_state, finished, tidy
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED, Verdict, verdicts
from reports.pages import notes
from reports.pages.html import render
from reports.pages.markdown import aligned, escape
from reports.pages.tables import Row, Table, cell_text, make_table, title
from reports.pages.verdict_text import claim_words
from reports.writing import write_files

PAGE = "comparison.html"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGEST = 12
"""Characters of a fingerprint that are shown."""
ORDERS_NOTE = (
    "Orders of the means, best first, over the arms that all settings have; Kendall's τ is 1 for "
    "the same order and −1 for the opposite one. Only a verdict says whether a difference is more "
    "than chance."
)


@dataclass(frozen=True)
class Setting:
    """A suite's runs on one data set in one variant, and what its report makes of them."""

    letter: str
    """What the heads of columns call it: A, B, …"""
    runs: SuiteRuns
    table: Table
    verdicts: dict[str, Verdict]
    """{claim: its verdict}"""

    @property
    def name(self) -> str:
        return f"{self.runs.record.dataset} ({self.runs.record.variant})"

    @property
    def rows(self) -> dict[str, Row]:
        """{arm: its row} of the arms that were asked for, the ground truth last."""
        return {row.arm: row for row in self.table.rows}

    def means(self, score: str) -> dict[str, float]:
        """{arm: mean over seeds} of the arms that have one."""
        found = {}
        for arm, row in self.rows.items():
            entry = row.entries.get(score)
            if arm != GROUND_TRUTH and entry and entry.interval:
                found[arm] = entry.interval.mean
        return found


def setting(letter: str, runs: SuiteRuns) -> Setting:
    """A setting with its table and verdicts."""
    return Setting(letter, runs, make_table(runs), {v.claim: v for v in verdicts(runs)})


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    bold: bool = False
    word: str = ""
    """The verdict that the text begins with."""


@dataclass(frozen=True)
class Section:
    """A part of the page: a table, then sentences."""

    anchor: str
    title: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = field(default=())
    lines: Sequence[str] = ()
    note: str = ""


def parse_settings(text: str) -> list[tuple[str, str]]:
    """`camvid:quick,procedural:quick` to (data set, variant); UserError names what is wrong."""
    pairs = []
    for part in text.split(","):
        dataset, colon, variant = part.strip().partition(":")
        if not (dataset and colon and variant):
            raise UserError(
                f"--compare: must read DATASET:PROFILE,DATASET:PROFILE, such as "
                f"camvid:quick,procedural:quick (got {text!r})"
            )
        pairs.append((dataset, variant))
    for dataset, variant in pairs:
        if pairs.count((dataset, variant)) > 1:
            raise UserError(f"--compare: names {dataset}:{variant} twice")
    if not 2 <= len(pairs) <= len(LETTERS):
        raise UserError(
            f"--compare: needs 2 to {len(LETTERS)}, with commas between them (got {text!r})"
        )
    return pairs


def write_comparison(suite: str, pairs: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write comparison.html and .md, comparison_verdicts.csv and comparison_results.csv.

    Returns the folder, `out`/compare/SUITE/DATASET-VARIANT+…; UserError where a setting is not
    recorded or has no finished run, and as `read_suite`.
    """
    settings = []
    for letter, (dataset, variant) in zip(LETTERS, pairs, strict=False):
        runs = read_suite(suite, dataset, variant)
        if not finished(runs):
            raise UserError(f"suite {suite} on {dataset}:{variant}: no finished run")
        settings.append(setting(letter, runs))
    record = settings[0].runs.record
    heading = f"{record.title}, {' beside '.join(one.name for one in settings)}"
    parts = sections(settings)
    page = render(
        "comparison.html.j2",
        [(part.anchor, part.title) for part in parts[1:]],
        heading=heading,
        question=record.question,
        parts=parts,
    )
    results = pd.concat([tidy(one.runs) for one in settings], ignore_index=True)
    csv = {"index": False, "lineterminator": "\n"}
    files = {
        PAGE: page,
        "comparison.md": markdown(heading, record.question, parts),
        "comparison_verdicts.csv": verdicts_frame(settings).to_csv(**csv),
        "comparison_results.csv": results.to_csv(**csv),
    }
    folder = "+".join(f"{dataset}-{variant}" for dataset, variant in pairs)
    return write_files(out / "compare" / suite / folder, files)


def verdicts_frame(settings: Sequence[Setting]) -> pd.DataFrame:
    """One row per claim and setting."""
    rows = []
    for one in settings:
        record = one.runs.record
        for v in one.verdicts.values():
            low, high = v.interval or (None, None)
            rows.append(
                {
                    "suite": record.suite,
                    "dataset": record.dataset,
                    "profile": record.variant,
                    "claim": v.claim,
                    "verdict": v.word,
                    "difference": v.effect,
                    "low": low,
                    "high": high,
                    "p": v.p,
                    "p_holm": v.p_holm,
                    "n": v.n,
                    "paired": v.paired,
                }
            )
    return pd.DataFrame(rows)


def markdown(heading: str, question: str, parts: Sequence[Section]) -> str:
    """The page as Markdown, for a terminal or a pull request."""
    lines = [f"# {escape(heading)}", "", *([escape(question), ""] if question else [])]
    for part in parts:
        lines += [f"## {escape(part.title)}", ""] if part.title else []
        lines += [part.note, ""] if part.note else []
        if part.rows:
            rows = [[_emphasised(cell) for cell in row] for row in part.rows]
            lines += [aligned(list(part.head), rows), ""]
        lines += [*(f"- {escape(line)}" for line in part.lines), ""] if part.lines else []
    return "\n".join(lines)


def _emphasised(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.bold else escape(cell.text)


def sections(settings: Sequence[Setting]) -> list[Section]:
    """Everything that the comparison says, in the page's order."""
    letters = [one.letter for one in settings]
    sentence, reasons = answer(settings)
    verdict_rows = [
        [Cell(claim_words(claim)), *(verdict_cell(one, claim) for one in settings)]
        for claim in claims_of(settings)
    ]
    missing = [
        f"{one.letter}: {line}"
        for one in settings
        for line in (*notes.gaps(one.runs), *notes.not_measured(one.runs))
    ]
    values = "Mean over seeds ± half-width of its 95 % interval; without ±, one seed."
    found = [
        _facts(settings),
        Section("answer", "Does the ordering carry over?", lines=[sentence, *reasons]),
        Section("limits", "What can be compared", lines=limits(settings)),
        Section(
            "verdicts", "Verdicts side by side", ["claim", *letters], verdict_rows, advice(settings)
        ),
        Section(
            "orders",
            "Orders side by side",
            ["score", *letters, "agreement"],
            orders(settings),
            note=ORDERS_NOTE,
        ),
        *(
            Section(score, title(score), ["arm", *letters], _values(settings, score), note=values)
            for score in scores_of(settings)
        ),
        Section("missing", "What is missing", lines=missing),
    ]
    return [part for part in found if part.rows or part.lines]


def _facts(settings: Sequence[Setting]) -> Section:
    head = ("setting", "data set", "profile", "pixels", "steps", "seeds per arm", "runs finished")
    rows = []
    for one in settings:
        record, runs = one.runs.record, one.runs.runs
        counts = sorted(notes.finished_seeds(one.runs))
        seeds = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
        done = f"{sum(run.finished for run in runs)} of {len(runs)}"
        steps = f"{record.steps:,}" if record.steps else "by arm"
        size = notes.size_text(record) or "—"
        texts = (one.letter, record.dataset, record.variant, size, steps, seeds, done)
        rows.append([Cell(text) for text in texts])
    return Section("facts", "", head, rows)


def claims_of(settings: Sequence[Setting]) -> list[str]:
    """Every claim that one of them makes, each once."""
    return list(dict.fromkeys(claim for one in settings for claim in one.runs.record.claims))


def scores_of(settings: Sequence[Setting]) -> list[str]:
    """The scores that all settings have values of, in table order."""
    return [s for s in settings[0].table.scores if all(one.means(s) for one in settings)]


def sorted_claims(settings: Sequence[Setting]) -> tuple[list[str], list[str], list[str]]:
    """(the same verdict in all, one that turns round, undecided or not judged somewhere)."""
    same, turned, still_open = [], [], []
    for claim in claims_of(settings):
        found = {one.verdicts[claim].word if claim in one.verdicts else None for one in settings}
        if {REPRODUCED, CONTRADICTED} <= found:
            turned.append(claim)
        elif len(found) == 1 and found & {REPRODUCED, CONTRADICTED}:
            same.append(claim)
        else:
            still_open.append(claim)
    return same, turned, still_open


def answer(settings: Sequence[Setting]) -> tuple[str, list[str]]:
    """Whether the ordering carries over, in a sentence, and the claims behind it."""
    same, turned, still_open = sorted_claims(settings)
    n = len(same) + len(turned) + len(still_open)
    where = "both" if len(settings) == 2 else f"all {len(settings)}"
    agree = f"{_count(len(same), n)} the same verdict in {where}"
    if not n:
        return "The suite states no claims: only the orders of the means can be compared.", []
    if turned:
        text = f"No: {_count(len(turned), n)} opposite verdicts in two settings"
        text += f"; {agree}" if same else ""
    elif same:
        text = f"As far as it is decided, yes: {agree}" if still_open else f"Yes: {agree}"
    else:
        text = f"Not known: of {n} claim{'s' * (n > 1)} none is decided in {where}"
    if still_open and (same or turned):
        text += f"; {len(still_open)} not decided in at least one"
    lines = [f"{claim_words(c)}: {settings[0].verdicts[c].word} in {where}" for c in same]
    for claim in turned:
        found = (
            f"{one.verdicts[claim].word} in {one.letter}"
            for one in settings
            if claim in one.verdicts
        )
        lines.append(f"{claim_words(claim)}: {', '.join(found)}")
    return f"{text}.", lines


def _count(k: int, n: int) -> str:
    return f"{k} of {n} claim{'s' if n > 1 else ''} {'has' if k == 1 else 'have'}"


def limits(settings: Sequence[Setting]) -> list[str]:
    """What may not be compared, and what rests on too few seeds."""
    lines = [_images(settings), *_scorers(settings)]
    for one in settings:
        if set(notes.finished_seeds(one.runs)) == {1}:
            lines.append(
                f"{one.letter} has one seed per arm: no interval and no test, so no claim is "
                "decided there, and the order of its means may be chance."
            )
        lines += [f"{one.letter}: {line}." for line in ceiling_warnings(one.runs)]
    lines += _missing_arms(settings)
    for score in dict.fromkeys(score for one in settings for score in one.table.scores):
        without = [one.letter for one in settings if not one.means(score)]
        if without:
            lines.append(f"{title(score, False)} is not compared: no value in {_and(without)}.")
    return lines


def _and(letters: Sequence[str]) -> str:
    return ", ".join(letters)


def _grouped(
    settings: Sequence[Setting], value: Callable[[Setting], str | None]
) -> Mapping[str | None, str]:
    """{value: `A, C`}: the letters of the settings that have it."""
    found: dict[str | None, list[str]] = {}
    for one in settings:
        found.setdefault(value(one), []).append(one.letter)
    return {key: _and(letters) for key, letters in found.items()}


def _images(settings: Sequence[Setting]) -> str:
    groups = _grouped(settings, lambda one: one.runs.record.fingerprint)
    shown = [f"{letters} {str(key)[:DIGEST]}…" for key, letters in groups.items()]
    if len(groups) == 1:
        return f"The images are the same (fingerprint {shown[0].split()[-1]})."
    return (
        f"The images differ (fingerprints: {'; '.join(shown)}): values do not compare across "
        "them; orders and verdicts do."
    )


def _scorers(settings: Sequence[Setting]) -> list[str]:
    scored = [
        one
        for one in settings
        if any(s.startswith("fcn.") for r in one.runs.runs for s in r.scores)
    ]
    groups = _grouped(scored, lambda one: one.runs.record.reference)
    if None in groups:
        return [f"{groups[None]} has no ground truth: its FCN-scores have no ceiling."]
    if len(groups) == 1:
        return ["All FCN-scores come from one scorer."]
    return [
        f"The FCN-scores come from {len(groups)} scorers ({'; '.join(groups.values())}): each has "
        "its own ceiling, the ground truth."
    ] * bool(groups)


def _missing_arms(settings: Sequence[Setting]) -> list[str]:
    lines = []
    every = [arm for arm in dict.fromkeys(a for one in settings for a in one.rows)]
    for one in settings:
        absent = [arm for arm in every if arm not in one.rows and arm != GROUND_TRUTH]
        reasons = [f"{_and(absent)} not asked for"] if absent else []
        reasons += [
            f"{arm} {arm_state(one.runs.of_arm(arm))}"
            for arm in one.runs.arms
            if not any(run.finished for run in one.runs.of_arm(arm))
        ]
        if reasons:
            lines.append(
                f"{one.letter} lacks arms: {'; '.join(reasons)}. Orders are of the shared arms."
            )
    return lines


def advice(settings: Sequence[Setting]) -> list[str]:
    """What would decide the open claims; claims with the same advice stand together."""
    lines = []
    for one in settings:
        by_advice: dict[str, list[str]] = {}
        for verdict in one.verdicts.values():
            if verdict.advice:
                by_advice.setdefault(verdict.advice, []).append(claim_words(verdict.claim))
        for words, claims in by_advice.items():
            every = len(claims) == len(one.verdicts) > 1
            which = f"all {len(claims)} claims" if every else "; ".join(claims)
            lines.append(f"{one.letter}, {which}: {words}.")
    return lines


def verdict_cell(one: Setting, claim: str) -> Cell:
    """`reproduced (+0.041, n = 5)`, with a word on a broken ceiling, or why there is none."""
    verdict = one.verdicts.get(claim)
    if verdict is None:
        made = claim in one.runs.record.claims
        return Cell("not judged: an arm was not asked for" if made else "not stated")
    if verdict.effect is None:
        return Cell(f"{verdict.word}: {verdict.detail}", word=verdict.word)
    weak = "; ceiling broken" if verdict.ceiling else ""
    effect = signed(verdict.effect, verdict.digits)
    return Cell(f"{verdict.word} ({effect}, n = {verdict.n}{weak})", word=verdict.word)


def orders(settings: Sequence[Setting]) -> list[list[Cell]]:
    """For each score, the order of the shared arms' means in every setting, and how they agree:
    `FCN class IoU`, `a > b`, `b > a`, `A–B: τ = −1.00, …`."""
    rows = []
    for score in scores_of(settings):
        means = [one.means(score) for one in settings]
        shared = set.intersection(*(set(of) for of in means))
        if len(shared) < 2:
            continue
        means = [{arm: v for arm, v in of.items() if arm in shared} for of in means]
        agreement = []
        for (i, a), (j, b) in combinations(enumerate(means), 2):
            order = rank_order(score, a, b)
            tau = "" if order.tau is None else f"{tau_text(order.tau)}, "
            agreement.append(f"{LETTERS[i]}–{LETTERS[j]}: {tau}{order.agreement}")
        chains = (chain(rank_order(score, of, of).ours) for of in means)
        rows.append([Cell(text) for text in (title(score), *chains, "; ".join(agreement))])
    return rows


def _values(settings: Sequence[Setting], score: str) -> list[list[Cell]]:
    """The means of every arm, the ground truth last."""
    arms = dict.fromkeys(arm for one in settings for arm in one.rows)
    rows = []
    for arm in sorted(arms, key=lambda arm: arm == GROUND_TRUTH):
        cells = [Cell(arm)]
        for one in settings:
            row = one.rows.get(arm)
            if row is None:
                cells.append(Cell("not asked for"))
            else:
                text = cell_text(row.entries[score], score, row.finished)
                cells.append(Cell(text, one.table.bold(row, score)))
        rows.append(cells)
    return rows
