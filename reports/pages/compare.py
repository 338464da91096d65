"""One suite on several data sets or profiles, side by side: does the ordering carry over?"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.tracking.reader import read_suite
from pix2pix.common.errors import UserError
from reports.analysis import Analysis
from reports.analysis.runs import finished, tidy
from reports.pages import compare_pages
from reports.pages.compare_content import LETTERS, Setting
from reports.pages.compare_latex import latex_tables
from reports.pages.tables import make_table
from reports.write import write_files

PAGE = "comparison.html"


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
        pairs.append((dataset, profile))
    for dataset, profile in pairs:
        if pairs.count((dataset, profile)) > 1:
            raise UserError(f"--compare: names {dataset}:{profile} twice")
    if not 2 <= len(pairs) <= len(LETTERS):
        raise UserError(
            f"--compare: needs 2 to {len(LETTERS)}, with commas between them (got {text!r})"
        )
    return pairs


def write_comparison(suite: str, pairs: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write comparison.html, .md, .tex, comparison_verdicts.csv and comparison_results.csv.

    Returns the folder, `out`/compare/SUITE/DATASET-PROFILE+…; UserError where a setting is not
    recorded or has no finished cell, and as `read_suite`.
    """
    settings = []
    for dataset, profile in pairs:
        runs = read_suite(suite, dataset, profile)
        if not finished(runs):
            raise UserError(f"suite {suite} on {dataset}:{profile}: no finished cell")
        analysis = Analysis(runs)
        judged = {verdict.claim: verdict for verdict in analysis.verdicts}
        settings.append(Setting(runs, make_table(analysis), judged))
    results = pd.concat([tidy(one.runs) for one in settings], ignore_index=True)
    files = {
        PAGE: compare_pages.html(settings),
        "comparison.md": compare_pages.markdown(settings),
        "comparison.tex": latex_tables(settings),
        "comparison_verdicts.csv": verdicts_csv(settings),
        "comparison_results.csv": results.to_csv(index=False, lineterminator="\n"),
    }
    return write_files(out / "compare" / suite / "+".join(one.key for one in settings), files)


def verdicts_csv(settings: Sequence[Setting]) -> str:
    """A row a claim × setting."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    head = ["suite", "dataset", "profile", "claim", "verdict", "difference", "low", "high"]
    out.writerow([*head, "p", "p_holm", "n", "paired"])
    for one in settings:
        record = one.runs.record
        key = [record.suite, record.dataset, record.variant]
        for v in one.verdicts.values():
            low, high = v.interval or (None, None)
            cells = [*key, v.claim, v.word, v.effect, low, high, v.p, v.p_holm, v.n, v.paired]
            out.writerow(
                ["" if c is None else repr(c) if isinstance(c, float) else c for c in cells]
            )
    return text.getvalue()
