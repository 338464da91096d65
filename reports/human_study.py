"""The report of a real-vs-fake study (`eval.study`): pages, LaTeX and CSV like those of a suite."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from eval.study.analysis import Comparison, Results, analyse
from eval.study.answers import DATABASE, Answers
from eval.study.design import Study
from eval.study.published import published_for
from eval.study.results import fooled, table
from pix2pix.common.errors import UserError
from pix2pix.common.files import read_json
from reports.analysis.formatting import interval_text, p_text, signed
from reports.pages import latex
from reports.pages.html import SUMMARY, WORDS, index_page, pages_of_sections
from reports.sections import Section
from reports.write import write_files

QUESTION = "How often do people take a generated image for the real one?"
HEAD = ["comparison", "verdict", "against the paper", "difference (%)", "95 % interval", "g"]
HEAD += ["participants", "test", "p", "p (Holm)"]
NOTES = (
    "Percent of trials in which people took the real image for the generated one. ± is the "
    "half-width of the 95 % t-interval over participants; beside it are 95 % bootstrap intervals "
    "over whole participants and over whole images."
)
PAPERS_OWN = (
    " The paper's numbers are those of arXiv v3, of its own images and participants: beside other "
    "images only the order of the arms compares."
)
VERDICT_NOTES = (
    "one observation per participant; arms have different participants: the tests are unpaired",
    "an arm fools more often: two-sided p below 0.05 after Holm's correction over all pairs",
    "the paper does not say what its ± is",
)


def write_study(folder: Path, out: Path) -> Path:
    """Write the report of the study in `folder` below `out`/studies and return its folder.

    Raises UserError where there is no study, nobody answered, or the report cannot be written.
    """
    study = Study.read(folder)
    if not (folder / DATABASE).exists():
        raise UserError(f"{folder}: nobody has answered yet")
    answers = Answers(folder, study)
    results = analyse(study, answers.table())
    answers.close()
    page, markdown = pages_of_sections(study.title, QUESTION, sections(study, results))
    rates = [[one.arm, rate] for one in results.arms for rate in one.rates]
    place = out / "studies" / folder.resolve().name
    _check_place(place, folder)
    files = {
        "index.html": page,
        "table.md": markdown,
        "table.tex": latex_table(study, results),
        "verdicts.tex": latex_verdicts(results) if results.comparisons else None,
        "verdicts.csv": verdict_frame(results) if results.comparisons else None,
        "results.csv": pd.DataFrame(rates, columns=["arm", "fooled"]),
        SUMMARY: summary(study, results, folder),
    }
    write_files(place, files)
    write_files(out, {"index.html": index_page(out)})
    return place


def sections(study: Study, results: Results) -> list[Section]:
    """The parts of the page."""
    head, *rows = table(study, results)
    images = f"{len(study.names)} images of {study.size[0]}×{study.size[1]} pixels"
    pairs = "the same input" if study.same_input else "different inputs"
    facts = [
        f"{images}; {study.practice} practice trials with feedback, then {study.trials} without",
        f"pairs come from {pairs}; one arm per participant; order and sides from seed {study.seed}",
        *([f"images of {study.origin}"] if study.origin else []),
        *(f"{arm}: {source}" for arm, source in study.sources.items()),
    ]
    left_out = [f"{count}: {rule}" for rule, count in results.excluded]
    verdicts = [_cells(one) for one in results.comparisons]
    remarks = [
        f"{one.first} and {one.second}: {one.advice}" for one in results.comparisons if one.advice
    ]
    notes = NOTES + (PAPERS_OWN if published_for(study.arms) else "")
    parts = [Section("Trials fooled", notes, head, rows)]
    if verdicts:
        parts.append(Section("Verdicts", "", HEAD, verdicts, [*VERDICT_NOTES, *remarks]))
    parts.append(
        Section("Left out", "By rules fixed before the answers were looked at.", lines=left_out)
    )
    return [*parts, Section("Protocol", lines=facts)]


def _cells(one: Comparison) -> list[str]:
    found = one.difference
    low_high = interval_text(found.interval, 1) if found.interval else "—"
    size = "—" if found.standardised is None else signed(found.standardised, 1)
    a, b = found.counts
    return [
        f"{one.first} − {one.second}",
        one.verdict,
        f"{one.word} ({one.source})" if one.source else "—",
        signed(found.effect, 1),
        low_high,
        size,
        str(a) if a == b else f"{a} and {b}",
        found.test if found.test != "none" else "—",
        *("—" if p is None else p_text(p) for p in (found.p, one.p_holm)),
    ]


def latex_table(study: Study, results: Results) -> str:
    """Trials fooled, for a paper."""
    published = published_for(study.arms)
    caption = (
        "Percent of trials in which people took the real image for the generated one. Mean ± "
        "half-width of the 95 % t-interval over participants"
    )
    lines = latex.opening(
        f"{caption}{'; the paper’s are of arXiv v3' if published else ''}.", "tab:study"
    )
    lines += [rf"\begin{{tabular}}{{@{{}}lrr{'r' * len(published)}@{{}}}}", r"\toprule"]
    heads = [latex.stacked(f"paper: {task}") for task in published]
    lines += [latex.row(["arm", "$n$", "fooled", *heads]), r"\midrule"]
    for one in results.arms:
        papers = [
            latex.escape(f"{rows[one.arm][0]} ± {rows[one.arm][1]} %") if one.arm in rows else ""
            for rows in published.values()
        ]
        cells = [latex.escape(one.arm), str(len(one.rates)), latex.escape(fooled(one)), *papers]
        lines.append(latex.row(cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def latex_verdicts(results: Results) -> str:
    """The comparisons, for a paper."""
    caption = (
        "Differences of the share of trials fooled, in percent, with 95 % t-intervals over "
        "participants; Holm's correction over all pairs of arms. Table numbers are those of arXiv "
        "v3."
    )
    lines = latex.opening(caption, "tab:study-verdicts")
    lines += [r"\begin{tabular}{@{}llrrll@{}}", r"\toprule"]
    head = [
        "comparison",
        "verdict",
        "difference",
        r"95\,\% interval",
        "$p$",
        r"$p_{\mathrm{Holm}}$",
    ]
    lines += [latex.row(head), r"\midrule"]
    for one in results.comparisons:
        found = one.difference
        ends, p = latex.ends(found.interval, 1), map(latex.p_value, (found.p, one.p_holm))
        words = one.verdict + (f"; {one.word} ({one.source})" if one.source else "")
        name = latex.escape(f"{one.first} − {one.second}")
        effect = f"${signed(found.effect, 1, '-')}$"
        lines.append(latex.row([name, latex.escape(words), effect, ends, *p]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def verdict_frame(results: Results) -> pd.DataFrame:
    """One row per comparison, in full precision."""
    rows = []
    for one in results.comparisons:
        low, high = one.difference.interval or (None, None)
        rows.append(
            {
                "first": one.first,
                "second": one.second,
                "verdict": one.verdict,
                "paper": one.source,
                "against_paper": one.word,
                "difference": one.difference.effect,
                "low": low,
                "high": high,
                "standardised": one.difference.standardised,
                "n_first": one.difference.counts[0],
                "n_second": one.difference.counts[1],
                "test": one.difference.test,
                "p": one.difference.p,
                "p_holm": one.p_holm,
                "participants_needed": one.needed,
            }
        )
    return pd.DataFrame(rows)


def _check_place(place: Path, folder: Path) -> None:
    """UserError if the report of another study, whose folder has the same name, lies there."""
    try:
        other = read_json(place / SUMMARY)["folder"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    if other != str(folder.resolve()):
        raise UserError(f"{place}: is the report of the study {other}; give another --out")


def summary(study: Study, results: Results, folder: Path) -> str:
    """The study's entry for the index, as JSON."""
    words = Counter(one.word for one in results.comparisons)
    people = sum(len(one.rates) for one in results.arms)
    content = {
        "group": "studies with people",
        "folder": str(folder.resolve()),
        "title": study.title,
        "question": QUESTION,
        "verdicts": [[word, words[word], 0] for word in WORDS if words[word]],
        "state": f"{people} participants, {len(study.arms)} arms",
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
