"""The report and the index over reports as self-contained HTML pages, each one file."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH
from reports.analysis.formatting import interval_text, p_text, signed, title
from reports.analysis.verdicts import Verdict
from reports.figures.draw import DRAWN
from reports.figures.grid import PictureGrid, read_grid
from reports.figures.style import IN_COLUMN
from reports.pages import verdict_text
from reports.pages.content import Report
from reports.pages.notes import finished_seeds, table_note
from reports.pages.tables import Table, cell_text
from reports.pages.verdict_text import claim_words

SUMMARY = "summary.json"
WORDS = ("reproduced", "contradicted", "undecided")
THUMBNAIL = (640, 260)
DRAWING_TITLES = {
    "seeds": "Scores by arm, every seed a dot",
    "classes": "IoU of every class",
    "lab_histograms": "Colour distributions",
    "curves": "Training losses",
}


def render(template: str, sections: Sequence[tuple[str, str]], **context: Any) -> str:
    """Fill in a template of `reports/pages/templates`; every value is escaped."""
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


def data_uri(content: bytes, media_type: str) -> str:
    """A file's content inside a page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def suite_page(report: Report, drawn: dict[str, str], folder: Path) -> str:
    """A suite's page; `drawn`: {name: caption} of the figures in `folder`."""
    runs = report.runs
    grid = read_grid(runs)
    drawings = [
        {
            "name": name,
            "title": DRAWING_TITLES[name],
            "uri": data_uri((folder / f"{name}.svg").read_bytes(), "image/svg+xml"),
            "caption": drawn[name].rstrip("."),
        }
        for name in DRAWN
        if name in drawn
    ]
    sections = [
        (anchor, text)
        for anchor, text, there in (
            ("gaps", "Gaps", report.problems),
            ("verdicts", "Verdicts", report.verdict_notes),
            ("scores", "Scores", True),
            ("pictures", "Pictures", grid),
            ("figures", "Figures", drawings),
        )
        if there
    ]
    return render(
        "suite.html.j2",
        [*sections, *((part.anchor, part.title) for part in report.sections)],
        heading=report.heading,
        question=report.question,
        facts=report.facts,
        problems=report.problems,
        verdicts=[_verdict(v, _extent(report.verdicts, v)) for v in report.verdicts],
        verdicts_title=_verdicts_title(report),
        verdict_notes=report.verdict_notes,
        blocks=_blocks(report.table),
        source=f"paper: {runs.record.published.source if runs.record.published else ''}",
        notes=report.notes,
        grid=grid,
        pictures=_pictures(grid) if grid else (),
        drawings=drawings,
        in_column=IN_COLUMN,
        parts=report.sections,
    )


def _pictures(grid: PictureGrid) -> list[list[dict[str, str]]]:
    """The grid's pictures as lossless WebP, a quarter smaller than PNG, or why there is none."""
    rows = []
    for name, row in zip(grid.names, grid.rows, strict=True):
        cells = []
        for arm, cell in zip(grid.titles, row, strict=True):
            alt = f"{arm}, {name}"
            if isinstance(cell, str):
                cells.append({"uri": "", "alt": alt, "state": cell})
                continue
            content = io.BytesIO()
            Image.fromarray(cell).save(content, "WEBP", lossless=True, quality=80)
            cells.append({"uri": data_uri(content.getvalue(), "image/webp"), "alt": alt})
        rows.append(cells)
    return rows


def _verdicts_title(report: Report) -> str:
    """Suites of one's own, without published numbers, claim nothing of the paper's."""
    ours = not report.runs.record.published
    return "Do the claims hold?" if ours else "Do the paper’s claims hold?"


def _blocks(table: Table) -> list[dict[str, Any]]:
    """The printed tables with what a cell needs to be shown and sorted."""
    blocks = []
    for ours, papers in table.blocks():
        rows = []
        for row in table.rows:
            cells = []
            for score in ours:
                entry = row.entries[score]
                text, _, half = cell_text(entry, score, row.finished).partition(" ")
                if entry.interval is None:
                    text, half = cell_text(entry, score, row.finished), ""
                cells.append(
                    {
                        "text": text,
                        "half": half,
                        "value": None if entry.interval is None else repr(entry.interval.mean),
                        "kind": "empty"
                        if entry.interval is None
                        else ("best" if table.bold(row, score) else ""),
                    }
                )
            rows.append(
                {
                    "arm": row.arm,
                    "n": row.n,
                    "truth": row.arm == GROUND_TRUTH,
                    "cells": cells,
                    "papers": [row.published.get(score, "") for score in papers],
                }
            )
        blocks.append(
            {
                "caption": table_note(table, ours),
                "ours": [{"title": title(s), "better": METRICS[s].better} for s in ours],
                "papers": [title(score, False) for score in papers],
                "rows": rows,
            }
        )
    return blocks


def _verdict(verdict: Verdict, extent: float) -> dict[str, Any]:
    plot: Markup | str = ""
    if verdict.effect is not None and verdict.interval is not None:
        label = f"{_difference(verdict)}, 95 % interval over seeds {_interval(verdict)}"
        plot = effect_plot(verdict.effect, *verdict.interval, extent, _unit(verdict), label)
    return {
        "word": verdict_text.word(verdict),
        "claim": claim_words(verdict.claim),
        "detail": verdict.detail,
        "numbers": "; ".join(_numbers(verdict)),
        "advice": verdict_text.advice(verdict),
        "plot": plot,
    }


def _numbers(verdict: Verdict) -> list[str]:
    """What the Markdown table has in its columns."""
    if verdict.effect is None:
        return []
    parts = [_difference(verdict)]
    if verdict.interval is not None:
        parts[0] += f" (95 % interval over seeds {_interval(verdict)})"
    if verdict.standardised is not None:
        parts.append(f"{verdict.measure} = {signed(verdict.standardised, 1)}")
    if verdict.p is not None and verdict.p_holm is not None:
        after = f"{_p('p', verdict.p)}, after Holm {p_text(verdict.p_holm)}"
        parts.append(f"{verdict.test}: {after}")
    if verdict.exact_p is not None:
        parts.append(_p("exact p", verdict.exact_p))
    if verdict.correlation is not None:
        parts.append(f"r = {signed(verdict.correlation, 1)}")
    return parts


def _p(name: str, p: float) -> str:
    return f"{name} = {p_text(p)}".replace("= <", "<")


def _difference(verdict: Verdict) -> str:
    assert verdict.effect is not None
    return f"difference {signed(verdict.effect, verdict.digits)}{_unit(verdict)}"


def _interval(verdict: Verdict) -> str:
    assert verdict.interval is not None
    return f"{interval_text(verdict.interval, verdict.digits)}{_unit(verdict)}"


def _unit(verdict: Verdict) -> str:
    unit = METRICS[verdict.score].unit if verdict.score else ""
    return f" {unit}" if unit else ""


def _extent(verdicts: Sequence[Verdict], of: Verdict) -> float:
    """One axis for all claims on the same score, so that their effects can be compared."""
    bounds = [
        abs(bound)
        for verdict in verdicts
        if verdict.score == of.score and verdict.interval is not None
        for bound in verdict.interval
    ]
    return max(bounds, default=0.0)


def effect_plot(
    effect: float, low: float, high: float, extent: float, unit: str, label: str
) -> Markup:
    """A difference and its interval on an axis from -extent to extent, with 0 marked.

    `label` is the text for screen readers. Empty where `extent` is not positive.
    """
    if not extent > 0:
        return Markup("")

    def x(value: float) -> float:
        return round(130 + 120 * max(-1.0, min(1.0, value / extent)), 1)

    ends = f"{extent:.2g}"
    return Markup(
        '<svg viewBox="0 0 260 34" role="img" aria-label="{label}">'
        '<line class="plotzero" x1="10" x2="250" y1="20" y2="20"/>'
        '<line class="plotzero" x1="130" x2="130" y1="5" y2="24"/>'
        '<line class="plotline" x1="{a}" x2="{b}" y1="12" y2="12"/>'
        '<circle class="plotdot" cx="{c}" cy="12" r="3.5"/>'
        '<text x="10" y="32">−{ends}</text><text x="130" y="32" text-anchor="middle">0</text>'
        '<text x="250" y="32" text-anchor="end">+{ends}{unit}</text></svg>'
    ).format(label=label, a=x(low), b=x(high), c=x(effect), ends=ends, unit=unit)


def summary(report: Report) -> str:
    """The suite's entry for the index, as JSON."""
    record = report.runs.record
    words = Counter(verdict.word for verdict in report.verdicts)
    weak = Counter(verdict.word for verdict in report.verdicts if verdict.ceiling)
    content = {
        "suite": record.suite,
        "title": report.heading,
        "question": report.question,
        "dataset": record.dataset,
        "profile": record.variant,
        "verdicts": {word: words[word] for word in WORDS if words[word]},
        "ceiling": {word: weak[word] for word in WORDS if weak[word]},
        "cells": len(report.runs.runs),
        "done": sum(run.finished for run in report.runs.runs),
        "seeds": max(finished_seeds(report.runs), default=0),
        "fewest_seeds": min(finished_seeds(report.runs), default=0),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def index_page(out: Path) -> str:
    """The page that links every report in `out`; damaged summaries are skipped."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(out.glob(f"*/*/{SUMMARY}")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            card = _card(entry, path.parent, out)
            key = (str(entry["dataset"]), str(entry["profile"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        groups.setdefault(key, []).append(card)
    shown: list[dict[str, Any]] = [
        {"anchor": f"group-{i}", "title": f"{dataset}, profile {profile}", "cards": cards}
        for i, ((dataset, profile), cards) in enumerate(groups.items())
    ]
    return render(
        "index.html.j2",
        [(group["anchor"], group["title"]) for group in shown],
        heading="pix2pix ablations",
        groups=shown,
    )


def _card(entry: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    cells, done = entry["cells"], entry["done"]
    state = f"{done} of {cells} cells finished" if done < cells else f"{cells} cells"
    weak, seeds = entry.get("ceiling") or {}, str(entry["seeds"])
    if (fewest := entry.get("fewest_seeds", entry["seeds"])) != entry["seeds"]:
        seeds = f"{fewest} to {seeds}"
    plural = "" if seeds == "1" else "s"
    return {
        "title": str(entry["title"]),
        "question": str(entry["question"]),
        "link": quote(f"{folder.relative_to(out).as_posix()}/index.html"),
        "words": [(word, entry["verdicts"].get(word, 0), weak.get(word, 0)) for word in WORDS],
        "state": f"{state}, {seeds} seed{plural} per arm",
        "picture": _thumbnail(folder / "arms_by_inputs.png"),
    }


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
