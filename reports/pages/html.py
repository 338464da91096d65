"""The report and the index over reports as self-contained HTML pages, each one file."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH
from reports.analysis.formatting import interval_text, p_text, signed, title
from reports.analysis.runs import finished
from reports.analysis.verdicts import WORDS, Verdict
from reports.figures.draw import DRAWN
from reports.figures.grid import PictureGrid, read_grid
from reports.figures.style import IN_COLUMN
from reports.pages import verdict_text
from reports.pages.content import Report
from reports.pages.markdown import escape, section_lines
from reports.pages.notes import seeds_text
from reports.pages.tables import cell_text
from reports.pages.verdict_text import claim_words
from reports.sections import Section

SUMMARY = "summary.json"
THUMBNAIL = (640, 260)


def render(template: str, sections: Sequence[tuple[str, str]], **context: Any) -> str:
    """Fill in a template of `reports/pages/templates`; every value is escaped.

    `sections`: (anchor, text) of the links at the top.
    """
    environment = Environment(
        loader=PackageLoader("reports.pages"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    read = environment.loader.get_source  # type: ignore[union-attr]
    return environment.get_template(template).render(
        css=Markup(read(environment, "page.css")[0]),
        js=Markup(read(environment, "page.js")[0]),
        sections=sections,
        words=WORDS,
        **context,
    )


def pages_of_sections(
    heading: str, question: str, sections: Sequence[Section], beside: str = ""
) -> tuple[str, str]:
    """The same sections as an HTML page, `beside` at its foot, and as a Markdown page."""
    links = [(part.anchor, part.title) for part in sections]
    content = {"heading": heading, "question": question, "parts": sections, "beside": beside}
    lines = [f"# {escape(heading)}", "", escape(question)]
    lines += [line for part in sections for line in section_lines(part)]
    return render("sections.html.j2", links, **content), "\n".join([*lines, ""])


def data_uri(content: bytes, media_type: str) -> str:
    """A file's content inside a page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def suite_page(report: Report, drawn: dict[str, str], folder: Path) -> str:
    """A suite's page; `drawn`: {name: caption} of the figures in `folder`."""
    record = report.runs.record
    grid = read_grid(report.runs)
    drawings = [
        {
            "name": name,
            "title": title_of_figure,
            "uri": data_uri((folder / f"{name}.svg").read_bytes(), "image/svg+xml"),
            "caption": drawn[name],
        }
        for name, title_of_figure in DRAWN.items()
        if name in drawn
    ]
    links = {
        "gaps": report.problems,
        "verdicts": report.verdict_notes,
        "scores": True,
        "pictures": grid,
        "figures": drawings,
    }
    sections = [(anchor, anchor.capitalize()) for anchor, content in links.items() if content]
    return render(
        "suite.html.j2",
        [*sections, *((part.anchor, part.title) for part in report.sections)],
        heading=record.title,
        question=record.question,
        report=report,
        verdicts=[_verdict(verdict, report.verdicts) for verdict in report.verdicts],
        # Suites of one's own, without published numbers, claim nothing of the paper's.
        verdicts_title=f"Do the {'paper’s ' if record.published else ''}claims hold?",
        source=f"paper: {record.published.source if record.published else ''}",
        grid=grid,
        pictures=_pictures(grid) if grid else (),
        drawings=drawings,
        in_column=IN_COLUMN,
        ground_truth=GROUND_TRUTH,
        metrics=METRICS,
        title=title,
        cell_text=cell_text,
    )


def _pictures(grid: PictureGrid) -> list[list[dict[str, str]]]:
    """The grid's pictures as lossless WebP, a quarter smaller than PNG, or why there is none."""
    rows = []
    for name, row in zip(grid.names, grid.rows, strict=True):
        cells = []
        for arm, cell in zip(grid.titles, row, strict=True):
            if isinstance(cell, str):
                cells.append({"uri": "", "state": cell})
                continue
            content = io.BytesIO()
            Image.fromarray(cell).save(content, "WEBP", lossless=True, quality=80)
            uri = data_uri(content.getvalue(), "image/webp")
            cells.append({"uri": uri, "alt": f"{arm}, {name}"})
        rows.append(cells)
    return rows


def _verdict(verdict: Verdict, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What the page says of a claim: the sentences, and the effect on the axis of its score."""
    unit = METRICS[verdict.score].unit if verdict.score else ""
    unit = f" {unit}" if unit else ""
    numbers, label = [], ""
    if verdict.effect is not None:
        numbers = [f"difference {signed(verdict.effect, verdict.digits)}{unit}"]
    if verdict.interval is not None:
        interval = f"95 % interval over seeds {interval_text(verdict.interval, verdict.digits)}"
        label = f"{numbers[0]}, {interval}{unit}"
        numbers[0] += f" ({interval}{unit})"
    if verdict.standardised is not None:
        numbers.append(f"{verdict.measure} = {signed(verdict.standardised, 1)}")
    if verdict.p is not None and verdict.p_holm is not None:
        after = f"{_p('p', verdict.p)}, after Holm {p_text(verdict.p_holm)}"
        numbers.append(f"{verdict.test}: {after}")
    if verdict.exact_p is not None:
        numbers.append(_p("exact p", verdict.exact_p))
    if verdict.correlation is not None:
        numbers.append(f"r = {signed(verdict.correlation, 1)}")
    # One axis for all claims on a score, so that their effects can be compared.
    intervals = [v.interval for v in verdicts if v.interval and v.score == verdict.score]
    return {
        "verdict": verdict,
        "word": verdict_text.word(verdict),
        "claim": claim_words(verdict.claim),
        "numbers": "; ".join(numbers),
        "advice": verdict_text.advice(verdict),
        "label": label,
        "extent": max((abs(bound) for ends in intervals for bound in ends), default=0.0),
        "unit": unit,
    }


def _p(name: str, p: float) -> str:
    return f"{name} = {p_text(p)}".replace("= <", "<")


def summary(report: Report) -> str:
    """The suite's entry for the index, as JSON."""
    record, runs = report.runs.record, report.runs
    words = Counter(verdict.word for verdict in report.verdicts)
    weak = Counter(verdict.word for verdict in report.verdicts if verdict.ceiling)
    cells, done = len(runs.runs), len(finished(runs))
    state = f"{done} of {cells} cells finished" if done < cells else f"{cells} cells"
    seeds = seeds_text(runs)
    content = {
        "suite": record.suite,
        "group": f"{record.dataset}, profile {record.variant}",
        "title": record.title,
        "question": record.question,
        "verdicts": [[word, words[word], weak[word]] for word in WORDS if words[word]],
        "state": f"{state}, {seeds} seed{'s' if seeds != '1' else ''} per arm",
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def index_page(out: Path) -> str:
    """The page that links every report in `out`; damaged summaries are skipped."""
    cards = []
    for path in sorted(out.glob(f"*/*/{SUMMARY}")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            card["verdicts"], card["state"], card["group"]
        except (ValueError, KeyError):  # cut off, or of another version
            continue
        card["link"] = quote(f"{path.parent.relative_to(out).as_posix()}/index.html")
        card["picture"] = _thumbnail(path.with_name("arms_by_inputs.png"))
        cards.append(card)
    groups = [(name, list(of)) for name, of in groupby(cards, lambda card: card["group"])]
    return render(
        "index.html.j2",
        [(f"group-{i}", name) for i, (name, _) in enumerate(groups)],
        heading="pix2pix ablations",
        groups=groups,
    )


def _thumbnail(path: Path) -> str | None:
    """The top left of a figure, small, as a data URI; None where there is none."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        small = image.convert("RGB")
    width, height = THUMBNAIL
    scale = width / small.width
    small = small.resize((width, max(1, round(small.height * scale))), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.crop((0, 0, width, min(height, small.height))).save(content, "WEBP", quality=80)
    return data_uri(content.getvalue(), "image/webp")
