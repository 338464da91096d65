"""One suite's report: HTML and Markdown pages, LaTeX, CSV, BibTeX, a checklist, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pandas as pd

from experiments.plan import SuiteKey
from experiments.tracking.reader import SuiteRuns, first_line, read_suite
from pix2pix.common.errors import UserError
from pix2pix.common.files import write_whole
from pix2pix.common.locks import owning
from reports.analysis.comparisons import not_judged
from reports.analysis.runs import finished, image_intervals, standing, tidy
from reports.analysis.verdicts import Verdict
from reports.figures import draw as figures
from reports.pages import citation, latex, notes, verdict_text
from reports.pages.checklist import checklist
from reports.pages.content import Report, gather
from reports.pages.html import index_page, suite_page, summary
from reports.pages.markdown_page import markdown_page
from reports.pages.tables import Table, table_frame


def write_report(suite: str, dataset: str, profile: str, out: Path) -> Path:
    """Write a suite's report below `out`/DATASET-PROFILE/SUITE and return that folder.

    Everything comes from MLflow. Raises UserError where it holds no such suite, where the folder
    cannot be written, where MLflow is away or locked (StoreError, which is a UserError), and where
    no cell is finished: the report then says so as well.
    """
    key = SuiteKey(suite, dataset, profile)
    return write_pages(key, gather(read_suite(*key)), out)


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
        "table.csv": table_frame(table),
        "results.csv": tidy(runs),
        "verdicts.csv": verdict_text.verdict_frame(judged) if judged else None,
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
    """The table for a paper, with its caption."""
    sentences = [caption_title(runs)]
    seeds = notes.seeds_text(runs)
    if seeds == "0":
        sentences.append("No training is finished")
    elif seeds == "1":
        sentences.append("One seed per arm (n = 1), so no intervals")
    else:
        sentences.append(f"Mean ± half-width of the 95 % t-interval over n = {seeds} seeds")
    further = (notes.bold_note(runs, table), notes.paper_note(runs), notes.not_asked(runs))
    sentences += [note.rstrip(".") for note in further if note]
    sentences += notes.gaps(runs)
    caption = ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
    return latex.table(table, f"{caption}.", f"tab:{_label(runs)}")


def latex_verdicts(runs: SuiteRuns, judged: Sequence[Verdict]) -> str:
    """The claims for a paper."""
    claims = "Claims of the paper" if runs.record.published else "Claims"
    caption = f"{claims}. The difference is the first arm minus the second"
    if any(verdict.interval for verdict in judged):
        caption += (
            ", with its 95 % t-interval over seeds, whichever test decides; g is Hedges' g "
            "(paired: of the differences); exact p and the correlation of pairs are in verdicts.csv"
        )
    if left := not_judged(runs):
        caption += f". Not judged, their arms were not asked for: {len(left)} more"
    return latex.verdict_table(
        judged, f"{caption_title(runs)}. {caption}.", f"tab:{_label(runs)}-claims"
    )


def caption_title(runs: SuiteRuns) -> str:
    """`Objectives (the paper's Table 1), on camvid (profile quick, 128×128 pixels)`."""
    record = runs.record
    title = latex.numberless(record.title)
    size = notes.size_text(record)
    return f"{title}, on {record.dataset} (profile {record.variant}, {size} pixels)"


def _label(runs: SuiteRuns) -> str:
    return f"{runs.record.suite}-{runs.record.dataset}-{runs.record.variant}"


def alone(out: Path) -> AbstractContextManager[None]:
    """Let nobody else write or attach reports below `out` during the block, because launchers that
    share a folder end at the same time. OSError where the folder cannot be written."""
    return owning(out / ".reports.lock")


def write_files(folder: Path, files: Mapping[str, str | pd.DataFrame | None]) -> Path:
    """Write {name: text} as UTF-8 and {name: frame} as CSV into `folder` and return it.

    A file without content is deleted. UserError where one cannot be written.
    """
    with writing(folder):
        for name, content in files.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
                continue
            if isinstance(content, pd.DataFrame):
                content = content.to_csv(index=False, lineterminator="\n")
            write_whole(folder / name, content.encode())
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError of writing below `folder` into UserError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or first_line(error)
        raise UserError(f"{error.filename or folder}: cannot be written: {why}") from error
