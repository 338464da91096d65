"""One suite's report: HTML and Markdown pages, LaTeX, CSV, BibTeX, a checklist, figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.plan import SuiteKey
from experiments.tracking.reader import SuiteRuns
from pix2pix.common.errors import UserError
from reports.analysis.claims import not_judged
from reports.analysis.image_intervals import image_intervals
from reports.analysis.runs import finished, read, standing, tidy
from reports.analysis.verdicts import Verdict
from reports.figures import draw as figures
from reports.pages import citation, latex, notes, verdict_text
from reports.pages.checklist import checklist
from reports.pages.content import Report, gather
from reports.pages.html import suite_page
from reports.pages.index import index_page, summary
from reports.pages.markdown_page import markdown_page
from reports.pages.tables import Table, as_csv
from reports.writing import write_files, writing


def write_report(suite: str, dataset: str, profile: str, out: Path) -> Path:
    """Write a suite's report below `out`/DATASET-PROFILE/SUITE and return that folder.

    Everything comes from MLflow. Raises UserError where it holds no such suite, where the folder
    cannot be written, where MLflow is away or locked (StoreError, which is a UserError), and where
    no cell is finished: the report then says so as well.
    """
    key = SuiteKey(suite, dataset, profile)
    return write_pages(key, gather(read(*key)), out)


def write_pages(key: SuiteKey, report: Report, out: Path) -> Path:
    """Write everything that `write_report` writes, from a report that is gathered already."""
    runs, table, judged = report.runs, report.table, report.verdicts
    suite, dataset, profile = key
    folder = out / f"{dataset}-{profile}" / suite
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        drawn = figures.draw_all(runs, folder)
    files = {
        "table.md": markdown_page(report, drawn),
        "index.html": suite_page(report, drawn, folder),
        "table.tex": latex_table(runs, table),
        "table.csv": as_csv(table),
        "results.csv": tidy(runs).to_csv(index=False, lineterminator="\n"),
        "verdicts.csv": verdict_text.as_csv(judged) if judged else None,
        "verdicts.tex": latex_verdicts(runs, judged) if judged else None,
        "image_intervals.csv": image_intervals(runs),
        "checklist.md": checklist(runs, judged),
        "summary.json": summary(report),
        citation.FILE: citation.bibtex(runs),
    }
    write_files(folder, files)
    write_files(out, {"index.html": index_page(out)})
    if not finished(runs):
        states = ", ".join(f"{notes.name(run)} {standing(run)}" for run in runs.runs)
        raise UserError(f"suite {suite} on {dataset} ({profile}): no finished cell: {states}")
    return folder


def latex_table(runs: SuiteRuns, table: Table) -> str:
    """The table for a paper, with what its caption has to say."""
    said = [caption_title(runs)]
    counts = sorted(set(notes.finished_seeds(runs)))
    if not counts:
        said.append("No training is finished")
    elif counts == [1]:
        said.append("One seed an arm (n = 1), so no intervals")
    else:
        n = "–".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])
        said.append(f"Mean ± half-width of the 95 % t-interval over n = {n} seeds")
    notes_ = (notes.bold_note(runs, table), notes.paper_note(runs), notes.not_asked(runs))
    said += [note.rstrip(".") for note in notes_ if note]
    said += notes.gaps(runs)
    caption = ". ".join(sentence[0].upper() + sentence[1:] for sentence in said)
    return latex.table(table, f"{caption}.", f"tab:{_label(runs)}")


def latex_verdicts(runs: SuiteRuns, judged: Sequence[Verdict]) -> str:
    """The claims for a paper."""
    claims = "Claims of the paper" if runs.record.get("published") else "Claims"
    read_as = f"{claims}. The difference is of the first arm and the second"
    if any(verdict.interval for verdict in judged):
        read_as += (
            ", its 95 % t-interval over seeds, whichever test decides; g is Hedges' g (paired: of "
            "the differences); exact p and the correlation of pairs are in verdicts.csv"
        )
    if left := not_judged(runs):
        read_as += f". Not judged, their arms were not asked for: {len(left)} more"
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
