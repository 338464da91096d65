"""One suite on several data sets or profiles, side by side: does the ordering carry over?

Nothing is averaged over settings: scorers and images differ, so only orders and verdicts compare.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from experiments.tracking_reader import SuiteRuns
from pix2pix.errors import UserError
from reports import latex, notes
from reports.collect import GROUND_TRUTH, decimals, finished, read, tidy
from reports.leaders import RankOrder, in_words, rank_order
from reports.markdown import aligned, escape
from reports.notes import table_note
from reports.tables import Table, make_table, marked, title
from reports.verdict_text import claim_words, signed
from reports.verdicts import CONTRADICTED, REPRODUCED, Verdict, not_judged, verdicts
from reports.writing import write_files

APART = (
    "Nothing is averaged over these: their images and scorers differ, so values do not compare; "
    "orders and verdicts do."
)


@dataclass(frozen=True)
class Setting:
    """A suite's runs on one data set in one profile."""

    runs: SuiteRuns
    table: Table
    verdicts: dict[str, Verdict]
    """{claim: its verdict}"""

    @property
    def name(self) -> str:
        return f"{self.runs.record['dataset']} ({self.runs.record['profile']})"

    @property
    def key(self) -> str:
        return f"{self.runs.record['dataset']}-{self.runs.record['profile']}"


def parse_settings(text: str) -> list[tuple[str, str]]:
    """`camvid:quick,procedural:quick` to (data set, profile); UserError names what is wrong."""
    pairs = []
    for part in text.split(","):
        dataset, colon, profile = part.strip().partition(":")
        if not (dataset and colon and profile):
            raise UserError(f"--compare {part}: must read DATASET:PROFILE, such as camvid:quick")
        pairs.append((dataset, profile))
    if len(set(pairs)) < len(pairs):
        raise UserError(f"--compare {text}: names the same data set and profile twice")
    if len(pairs) < 2:
        raise UserError(f"--compare {text}: needs two or more, with commas between them")
    return pairs


def write_comparison(suite: str, pairs: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write comparison.md, .tex, comparison_verdicts.csv and comparison_results.csv.

    Returns the folder, `out`/compare/SUITE/DATASET-PROFILE+…; UserError where a setting is not
    recorded or has no finished cell, and as `reports.collect.read`.
    """
    settings = []
    for dataset, profile in pairs:
        runs = read(suite, dataset, profile)
        if not finished(runs):
            raise UserError(f"suite {suite} on {dataset} ({profile}): no finished cell")
        judged = {verdict.claim: verdict for verdict in verdicts(runs)}
        settings.append(Setting(runs, make_table(runs), judged))
    results = pd.concat([tidy(one.runs) for one in settings], ignore_index=True)
    files = {
        "comparison.md": page(settings),
        "comparison.tex": latex_tables(settings),
        "comparison_verdicts.csv": verdicts_csv(settings),
        "comparison_results.csv": results.to_csv(index=False, lineterminator="\n"),
    }
    return write_files(out / "compare" / suite / "+".join(one.key for one in settings), files)


def claims_of(settings: Sequence[Setting]) -> list[str]:
    """Every claim that one of them has, each once."""
    return list(dict.fromkeys(claim for one in settings for claim in one.verdicts))


def scores_of(settings: Sequence[Setting]) -> list[str]:
    """The scores that all of them have columns of, in table order."""
    first, *others = settings
    return [s for s in first.table.scores if all(s in other.table.scores for other in others)]


def orders(settings: Sequence[Setting], score: str) -> list[tuple[Setting, Setting, RankOrder]]:
    """The order of the means in each two of the settings, where they share two arms or more."""
    found = []
    for a, b in combinations(settings, 2):
        ours, theirs = (_means(one, score) for one in (a, b))
        order = rank_order(score, ours, theirs)
        if len(order.ours) > 1:
            found.append((a, b, order))
    return found


def agreement(settings: Sequence[Setting]) -> list[str]:
    """Which verdicts carry over, which turn round, which are open somewhere."""
    same: dict[str, list[str]] = {REPRODUCED: [], CONTRADICTED: []}
    turned, still_open, unjudged = [], [], []
    for claim in claims_of(settings):
        found = [one.verdicts[claim].word if claim in one.verdicts else None for one in settings]
        if {REPRODUCED, CONTRADICTED} <= set(found):
            turned.append(claim)
        elif None in found:
            unjudged.append(claim)
        elif len(set(found)) == 1 and found[0] in same:
            same[found[0]].append(claim)
        else:
            still_open.append(claim)
    told = {f"{word} in all": claims for word, claims in same.items()}
    told |= {"reproduced in one and contradicted in another": turned}
    told |= {"undecided somewhere, so neither carried over nor refuted": still_open}
    told |= {"not judged somewhere, so nothing is known of carrying over": unjudged}
    return [
        f"{words}: {len(claims)} ({'; '.join(map(claim_words, claims))})"
        for words, claims in told.items()
        if claims
    ]


def page(settings: Sequence[Setting]) -> str:
    """The Markdown page."""
    record = settings[0].runs.record
    names = [one.name for one in settings]
    heads = [escape(name) for name in names]
    heading = f"{record.get('title') or record['suite']}: {' beside '.join(names)}"
    lines = [f"# {escape(heading)}", ""]
    lines += [escape(record.get("question") or ""), "", APART]
    lines += ["", "## Does the ordering carry over?", ""]
    lines += [f"- verdicts: {escape(line)}" for line in agreement(settings)]
    for score in scores_of(settings):
        for a, b, order in orders(settings, score):
            words = f"{title(score, False)}: {in_words(order, a.name, b.name)}"
            lines.append(f"- {escape(words)}")
    lines += ["", "## Verdicts side by side", ""]
    rows = [
        [escape(claim_words(claim)), *(escape(verdict_cell(one, claim)) for one in settings)]
        for claim in claims_of(settings)
    ]
    lines += [aligned(["claim", *heads], rows)] if rows else ["The suite states no claims."]
    for score in scores_of(settings):
        lines += ["", f"## {title(score)}", ""]
        lines += [aligned(["arm", *heads], _values(settings, score))]
    lines += ["", "## What is missing", ""]
    gaps = [f"{one.name}: {gap}" for one in settings for gap in _gaps(one.runs)]
    lines += [f"- {escape(gap)}" for gap in gaps] or ["Nothing."]
    return "\n".join([*lines, ""])


def verdict_cell(setting: Setting, claim: str) -> str:
    """`reproduced (+0.041, n = 5)`, or why there is none."""
    verdict = setting.verdicts.get(claim)
    if verdict is None:
        return "not asked for" if claim in not_judged(setting.runs) else "not stated"
    if verdict.effect is None:
        return f"{verdict.word}: {verdict.detail}"
    digits = decimals(verdict.score) if verdict.score else 3
    return f"{verdict.word} ({signed(verdict.effect, digits)}, n = {verdict.n})"


def verdicts_csv(settings: Sequence[Setting]) -> str:
    """A row a claim × setting."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    head = ["suite", "dataset", "profile", "claim", "verdict", "difference", "low", "high"]
    out.writerow([*head, "p", "p_holm", "n", "paired"])
    for one in settings:
        record = one.runs.record
        key = [record["suite"], record["dataset"], record["profile"]]
        for v in one.verdicts.values():
            low, high = v.interval or (None, None)
            cells = [*key, v.claim, v.word, v.effect, low, high, v.p, v.p_holm, v.n, v.paired]
            out.writerow(
                ["" if c is None else repr(c) if isinstance(c, float) else c for c in cells]
            )
    return text.getvalue()


def arms_of(settings: Sequence[Setting]) -> list[str]:
    """Every arm of one of the tables, each once, the ground truth last."""
    arms = dict.fromkeys(row.arm for one in settings for row in one.table.rows)
    return sorted(arms, key=lambda arm: arm == GROUND_TRUTH)


def _means(setting: Setting, score: str) -> dict[str, float]:
    return {
        row.arm: entry.interval.mean
        for row in setting.table.rows
        if row.arm != GROUND_TRUTH and (entry := row.entries[score]).interval
    }


def _values(settings: Sequence[Setting], score: str) -> list[list[str]]:
    tables = [{row.arm: row for row in one.table.rows} for one in settings]
    lines = []
    for arm in arms_of(settings):
        cells = [escape(arm)]
        for one, table in zip(settings, tables, strict=True):
            row = table.get(arm)
            cells.append(marked(one.table, row, score) if row else "not asked for")
        lines.append(cells)
    return lines


def _gaps(runs: SuiteRuns) -> list[str]:
    return [*notes.gaps(runs), *notes.not_measured(runs), *filter(None, [notes.not_asked(runs)])]


def latex_tables(settings: Sequence[Setting]) -> str:
    """Verdicts side by side, then the means of the scores that the paper's table has."""
    record = settings[0].runs.record
    names = [one.name for one in settings]
    suite = latex.numberless(record.get("title") or record["suite"])
    about = f"{suite}, {' beside '.join(names)}."
    label = f"tab:{record['suite']}-" + "-".join(one.key for one in settings)
    scores = [s for s in scores_of(settings) if s in settings[0].table.published]
    scores = scores or scores_of(settings)[:3]
    caption = f"{about} Verdicts on the paper's claims; the difference of the means in brackets"
    lines = latex.opening(f"{caption}, n seeds.", f"{label}-claims")
    columns = latex.WRAPPED.format(0.3) + latex.WRAPPED.format(0.6 / len(settings)) * len(settings)
    lines.append(rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}")
    lines += [r"\toprule", latex.row(["claim", *map(latex.escape, names)]), r"\midrule"]
    for claim in claims_of(settings):
        cells = [claim_words(claim), *(verdict_cell(one, claim) for one in settings)]
        lines.append(latex.row([latex.escape(cell) for cell in cells]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    said = [table_note(one.table, scores).rstrip(".") for one in settings]
    said = "; ".join(dict.fromkeys(said)) + "; values of different data sets do not compare, orders"
    lines += latex.opening(f"{about} {said} do.", label)
    tables = [{row.arm: row for row in one.table.rows} for one in settings]
    for i, score in enumerate(scores):
        lines += [r"\par\medskip"] if i else []
        columns = "".join(latex.column(one.table, score) for one in settings)
        lines += [rf"\begin{{tabular}}{{@{{}}l{columns}@{{}}}}", r"\toprule"]
        heads = [rf"{{{latex.escape(name)}}}" for name in names]
        lines += [latex.row([latex.escape(title(score)), *heads]), r"\midrule"]
        for arm in arms_of(settings):
            cells = [latex.escape(arm)]
            for one, table in zip(settings, tables, strict=True):
                row = table.get(arm)
                cells.append(latex.cell(one.table, row, score) if row else "{not asked for}")
            lines.append(latex.row(cells))
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table*}", ""])
