"""One suite's report: table.md, table.tex, table.csv, results.csv and the figures."""

from __future__ import annotations

from pathlib import Path

from experiments.tracking_reader import SuiteRuns, first_line, read_suite
from pix2pix.errors import UserError
from reports import figures, histograms, notes
from reports.ceiling import RULE, ceiling_warnings
from reports.claims import check_claims
from reports.collect import finished, tidy
from reports.scorer import scorer_section
from reports.tables import Table, as_csv, latex, make_table, markdown

TEXT = {"encoding": "utf-8", "newline": "\n"}
"""The same bytes on every machine, whatever its locale."""


def write_report(suite: str, dataset: str, profile: str, out: Path) -> Path:
    """Write a suite's report below `out`/DATASET-PROFILE/SUITE and return that folder.

    Everything comes from MLflow. Raises UserError where it holds no such suite or none of its
    cells is finished, where the folder cannot be written, and where MLflow is away or locked
    (StoreError, which is a UserError).
    """
    runs = read_suite(suite, dataset, profile)
    if not finished(runs):
        states = ", ".join(f"{notes.name(run)} {run.status}" for run in runs.runs)
        raise UserError(f"suite {suite} on {dataset} ({profile}): no finished cell: {states}")
    folder = out / f"{dataset}-{profile}" / suite
    table = make_table(runs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = figures.draw_all(runs, table.scores, folder)
        (folder / "table.md").write_text(page(runs, table, drawn), **TEXT)
        (folder / "table.tex").write_text(latex_table(runs, table), **TEXT)
        (folder / "table.csv").write_text(as_csv(table), **TEXT)
        rows = tidy(runs).to_csv(index=False, lineterminator="\n")
        (folder / "results.csv").write_text(rows, **TEXT)
    except OSError as error:
        why = error.strerror or first_line(error)
        raise UserError(f"{error.filename or folder}: cannot be written: {why}") from error
    return folder


def page(runs: SuiteRuns, table: Table, drawn: dict[str, str]) -> str:
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
    under += [f"{line.rstrip('.')}." for line in (*notes.gaps(runs), *notes.not_measured(runs))]
    under += [f"**Ceiling**: {warning}." for warning in warnings]
    under += [f"Ceiling {RULE}."] if warnings else []
    lines += [f"- {line}" for line in under if line]
    lines += scorer_section(runs)
    sections = {
        "Claims": [f"{check.claim}: **{check.wording}**" for check in check_claims(runs)],
        "Deviations from the paper": record.get("deviations") or [],
        "Colour distributions": histograms.bin_notes(runs),
        "Figures": [f"[{name}]({name}.png) ([PDF]({name}.pdf)): {c}" for name, c in drawn.items()],
        "Provenance": notes.provenance(runs),
        "Cells": notes.digests(runs),
    }
    for title, items in sections.items():
        if items:
            lines += ["", f"## {title}", ""]
            if title == "Claims":
                lines += ["Orders of the means over seeds; no test of significance.", ""]
            lines += [f"- {item}" for item in items]
    return "\n".join([*lines, ""])


def latex_table(runs: SuiteRuns, table: Table) -> str:
    """The table for a paper, with what its caption has to say."""
    record = runs.record
    title = (record.get("title") or record["suite"]).rstrip(".")
    said = [f"{title}, on {record['dataset']} (profile {record['profile']}"]
    said[0] += f", {notes.size_text(record)} pixels)" if record.get("size") else ")"
    counts = sorted(set(notes.finished_seeds(runs)))
    if counts == [1]:
        said.append("n = 1 seed, so no intervals")
    else:
        n = "–".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])
        said.append(f"Mean ± half-width of the 95 % t-interval over n = {n} seeds")
    said += [note.rstrip(".") for note in (notes.paper_note(runs),) if note]
    said += notes.gaps(runs)
    source = (record.get("published") or {}).get("source", "")
    label = f"tab:{record['suite']}-{record['dataset']}-{record['profile']}"
    return latex(table, ". ".join(said) + ".", label, f"paper: {source}")
