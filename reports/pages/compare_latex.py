"""The comparison for a paper: verdicts side by side, and the means that the paper prints."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis.formatting import title
from reports.pages import latex
from reports.pages.compare_content import (
    Setting,
    arms_of,
    claims_of,
    lettered,
    scores_of,
    verdict_cell,
)
from reports.pages.notes import table_note
from reports.pages.verdict_text import claim_words


def latex_tables(settings: Sequence[Setting]) -> str:
    """Verdicts side by side, then the means of the scores that the paper's table has."""
    record = settings[0].runs.record
    letters = lettered(settings)
    suite = latex.numberless(record.title)
    names = (f"{a}: {one.name}" for a, one in zip(letters, settings, strict=True))
    about = f"{suite}. {'; '.join(names)}."
    label = f"tab:{record.suite}-" + "-".join(one.key for one in settings)
    scores = [s for s in scores_of(settings) if s in settings[0].table.published]
    scores = scores or scores_of(settings)[:3]
    claims = "the paper's claims" if record.published else "the claims"
    caption = f"{about} Verdicts on {claims}; the difference of the means in brackets"
    lines = latex.opening(f"{caption}, n seeds.", f"{label}-claims")
    columns = latex.WRAPPED.format(0.3) + latex.WRAPPED.format(0.6 / len(settings)) * len(settings)
    lines.append(rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}")
    lines += [r"\toprule", latex.row(["claim", *letters]), r"\midrule"]
    for claim in claims_of(settings):
        cells = [claim_words(claim), *(verdict_cell(one, claim) for one in settings)]
        lines.append(latex.row([latex.escape(cell) for cell in cells]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    if not scores:
        return "\n".join(lines)
    said = dict.fromkeys(table_note(one.table, scores).rstrip(".") for one in settings)
    said = "; ".join(text if i == 0 else _uncapitalised(text) for i, text in enumerate(said))
    said += "; values of different data sets do not compare, orders"
    lines += latex.opening(f"{about} {said} do.", label)
    for i, score in enumerate(scores):
        lines += [r"\par\medskip"] if i else []
        columns = "".join(latex.column(one.table, score) for one in settings)
        lines += [rf"\begin{{tabular}}{{@{{}}l{columns}@{{}}}}", r"\toprule"]
        heads = [f"{{{letter}}}" for letter in letters]
        lines += [latex.row([latex.escape(title(score)), *heads]), r"\midrule"]
        for arm in arms_of(settings):
            cells = [latex.escape(arm)]
            for one in settings:
                row = one.row(arm)
                text = "{not asked for}"
                if row:  # with n where seeds are missing: there is no column of it
                    text = latex.cell(one.table, row, score, row.planned)
                cells.append(text)
            lines.append(latex.row(cells))
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def _uncapitalised(text: str) -> str:
    return text[0].lower() + text[1:]
