"""One suite's report: a Markdown page, LaTeX tables, CSV files, BibTeX, checklist, figures."""

from __future__ import annotations

from pathlib import Path

from experiments.tracking_reader import SuiteRuns
from pix2pix.errors import UserError
from reports import citation, figures, histograms, latex, notes, verdict_text
from reports.ceiling import RULE, ceiling_warnings
from reports.checklist import checklist
from reports.collect import finished, read, tidy
from reports.earlier import left_out, older
from reports.image_intervals import image_intervals, interval_lines
from reports.leaders import in_words, paper_orders
from reports.tables import Table, as_csv, make_table, markdown
from reports.verdicts import Verdict, verdicts
from reports.writing import write_files, writing


def write_report(suite: str, dataset: str, profile: str, out: Path) -> Path:
    """Write a suite's report below `out`/DATASET-PROFILE/SUITE and return that folder.

    Everything comes from MLflow. Raises UserError where it holds no such suite, where the folder
    cannot be written, where MLflow is away or locked (StoreError, which is a UserError), and where
    no cell is finished: the report then says so as well.
    """
    runs = read(suite, dataset, profile)
    folder = out / f"{dataset}-{profile}" / suite
    table = make_table(runs)
    judged = verdicts(runs)
    files = {
        "table.tex": latex_table(runs, table),
        "table.csv": as_csv(table),
        "results.csv": tidy(runs).to_csv(index=False, lineterminator="\n"),
        "verdicts.csv": verdict_text.as_csv(judged) if judged else None,
        "verdicts.tex": latex_verdicts(runs, judged) if judged else None,
        "image_intervals.csv": image_intervals(runs),
        "checklist.md": checklist(runs, judged),
        citation.FILE: citation.bibtex(runs),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        drawn = figures.draw_all(runs, table.scores, folder)
    write_files(folder, files | {"table.md": page(runs, table, judged, drawn)})
    if not finished(runs):
        states = ", ".join(f"{notes.name(run)} {run.status}" for run in runs.runs)
        raise UserError(f"suite {suite} on {dataset} ({profile}): no finished cell: {states}")
    return folder


def page(runs: SuiteRuns, table: Table, judged: list[Verdict], drawn: dict[str, str]) -> str:
    """The Markdown page; `drawn` is {figure name: caption} of the figures beside it."""
    record = runs.record
    facts = [record["dataset"], record.get("direction"), f"profile {record['profile']}"]
    facts += [f"{notes.size_text(record)} pixels" if record.get("size") else None]
    # Arms of different lengths have no one number.
    lengths = {k: record.get(k) for k in ("steps", "epochs")}
    facts += [f"{n:,} {k}" for k, n in lengths.items() if isinstance(n, int) and n]
    lines = [f"# {record.get('title') or record['suite']}", ""]
    lines += [record.get("question") or "", ""]
    lines += [", ".join(fact for fact in facts if fact) + ".", "", markdown(table), ""]
    warnings = ceiling_warnings(runs)
    under = [notes.interval_note(runs), notes.paper_note(runs)]
    under.append(notes.bold_note(runs, table))
    said = [*notes.gaps(runs), *left_out(runs), *notes.not_measured(runs)]
    said += [line for line in (notes.not_asked(runs), older(runs)) if line]
    under += [f"{line.rstrip('.')}." for line in said]
    under += [f"**Ceiling**: {warning}." for warning in warnings]
    under += [f"Ceiling {RULE}."] if warnings else []
    lines += [f"- {line}" for line in under if line]
    sections = {
        "Verdicts": verdict_text.notes(judged) if judged else [],
        "Order of the arms": [f"{order.score}: {in_words(order)}" for order in paper_orders(runs)],
        "Over test images": interval_lines(runs),
        "Deviations from the paper": record.get("deviations") or [],
        "Colour distributions": histograms.bin_notes(runs),
        "Figures": [f"[{name}]({name}.png) ([PDF]({name}.pdf)): {c}" for name, c in drawn.items()],
        "Provenance": notes.provenance(runs),
        "Cells": notes.digests(runs),
    }
    for title, items in sections.items():
        if items:
            lines += ["", f"## {title}", ""]
            if title == "Verdicts":
                lines += [verdict_text.markdown(judged), ""]
            lines += [f"- {item}" for item in items]
    return "\n".join([*lines, ""])


def latex_table(runs: SuiteRuns, table: Table) -> str:
    """The table for a paper, with what its caption has to say."""
    said = [caption_title(runs)]
    counts = sorted(set(notes.finished_seeds(runs)))
    if not counts:
        said.append("No training is finished")
    elif counts == [1]:
        said.append("n = 1 seed, so no intervals")
    else:
        n = "–".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])
        said.append(f"Mean ± half-width of the 95 % t-interval over n = {n} seeds")
    notes_ = (notes.bold_note(runs, table), notes.paper_note(runs), notes.not_asked(runs))
    said += [note.replace("**", "").rstrip(".") for note in notes_ if note]
    said += notes.gaps(runs)
    caption = ". ".join(sentence[0].upper() + sentence[1:] for sentence in said)
    return latex.table(table, f"{caption}.", f"tab:{_label(runs)}")


def latex_verdicts(runs: SuiteRuns, judged: list[Verdict]) -> str:
    """The claims for a paper."""
    read_as = (
        "Claims of the paper. The difference is of the first arm and the second, its 95 % "
        "t-interval over seeds; g is Hedges' g (paired: of the differences)"
    )
    return latex.verdict_table(
        judged, f"{caption_title(runs)}. {read_as}.", f"tab:{_label(runs)}-claims"
    )


def caption_title(runs: SuiteRuns) -> str:
    """`Objectives (the paper's Table 1), on camvid (profile quick, 128×128 pixels)`."""
    record = runs.record
    title = latex.numberless(record.get("title") or record["suite"])
    size = f", {notes.size_text(record)} pixels" if record.get("size") else ""
    return f"{title}, on {record['dataset']} (profile {record['profile']}{size})"


def _label(runs: SuiteRuns) -> str:
    return "-".join(runs.record[key] for key in ("suite", "dataset", "profile"))
