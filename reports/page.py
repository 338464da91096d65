"""The report as one self-contained HTML page: nothing in it is fetched from a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from eval.metrics import METRICS
from experiments.tracking_reader import GROUND_TRUTH, SuiteRuns
from reports import histograms, notes
from reports.ceiling import RULE, ceiling_warnings
from reports.cost import cost_table
from reports.drawings import effect_plot, inline_svg
from reports.figures import DRAWN
from reports.pictures import picture_grid
from reports.tables import Table, cell_text, title
from reports.verdicts import VERDICT_RULE, Verdict

DRAWING_TITLES = {
    "seeds": "Scores by arm, every seed a dot",
    "classes": "IoU of every class",
    "lab_histograms": "Colour distributions",
    "curves": "Training losses",
}


def render(template: str, sections: Sequence[tuple[str, str]], **context: Any) -> str:
    """A template of `reports/templates` as text; every value in it is escaped."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    read = environment.loader.get_source  # type: ignore[union-attr]
    return environment.get_template(template).render(
        css=Markup(read(environment, "page.css")[0]),
        js=Markup(read(environment, "page.js")[0]),
        sections=sections,
        **context,
    )


def suite_page(
    runs: SuiteRuns,
    table: Table,
    verdicts: Sequence[Verdict],
    drawn: dict[str, str],
    folder: Path,
) -> str:
    """A suite's page; `drawn` is {figure: caption} of the files that lie in `folder`."""
    record = runs.record
    warnings = ceiling_warnings(runs)
    under = [notes.interval_note(runs), notes.paper_note(runs), *notes.not_measured(runs)]
    under += [f"Ceiling: {warning}." for warning in warnings]
    under += [f"Ceiling {RULE}."] if warnings else []
    pictures = picture_grid(runs)
    drawings = [
        {
            "name": name,
            "title": DRAWING_TITLES[name],
            "svg": inline_svg(
                (folder / f"{name}.svg").read_text(encoding="utf-8"), name, DRAWING_TITLES[name]
            ),
            "caption": drawn[name].rstrip("."),
        }
        for name in DRAWN
        if name in drawn
    ]
    lists = [
        ("colours", "Colour intersection by bin width", histograms.bin_notes(runs)),
        ("deviations", "Deviations from the paper", record.get("deviations") or []),
        ("provenance", "Provenance", notes.provenance(runs)),
        ("cells", "Cells", [line.replace("`", "") for line in notes.digests(runs)]),
    ]
    lists = [{"anchor": a, "title": t, "lines": lines} for a, t, lines in lists if lines]
    problems = notes.gaps(runs)
    sections = [("gaps", "Gaps")] if problems else []
    sections += [("verdicts", "Verdicts")] if verdicts else []
    sections += [("scores", "Scores")]
    sections += [("pictures", "Pictures")] if pictures else []
    sections += [("figures", "Figures")] if drawings else []
    sections += [("cost", "Cost"), *((one["anchor"], one["title"]) for one in lists)]
    return render(
        "suite.html.j2",
        sections,
        heading=record.get("title") or record["suite"],
        question=record.get("question") or "",
        facts=facts(runs),
        problems=problems,
        verdict_rule=[VERDICT_RULE],
        verdicts=[_verdict(v, _extent(verdicts, v)) for v in verdicts],
        blocks=_blocks(table),
        source=f"paper: {(record.get('published') or {}).get('source', '')}",
        notes=[line for line in under if line],
        pictures=pictures,
        drawings=drawings,
        cost=cost_table(runs),
        lists=lists,
    )


def facts(runs: SuiteRuns) -> list[str]:
    """What was trained on what, in a few words each."""
    record = runs.record
    said = [f"data set {record['dataset']}", record.get("direction")]
    said += [f"profile {record['profile']}"]
    said += [f"{notes.size_text(record)} pixels" if record.get("size") else None]
    # Arms of different lengths have no one number.
    lengths = {kind: record.get(kind) for kind in ("steps", "epochs")}
    said += [f"{n:,} {kind}" for kind, n in lengths.items() if isinstance(n, int) and n]
    counts = sorted(set(notes.finished_seeds(runs)))
    if counts:
        many = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        said.append(f"{many} seed{'s' if counts != [1] else ''} an arm")
    return [fact.replace("->", " → ") for fact in said if fact]


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
                        else ("best" if (row.arm, score) in table.best else ""),
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
                "caption": "Mean over seeds ± half-width of its 95 % interval.",
                "ours": [{"title": title(s), "better": METRICS[s].better} for s in ours],
                "papers": [title(score, False).removeprefix("FCN ") for score in papers],
                "rows": rows,
            }
        )
    return blocks


def _verdict(verdict: Verdict, extent: float) -> dict[str, Any]:
    plot: Markup | str = ""
    if verdict.effect is not None and verdict.interval is not None:
        low, high = verdict.interval
        score = verdict.claim.rpartition(" on ")[2]
        unit = METRICS[score].unit if score in METRICS else ""
        plot = effect_plot(verdict.effect, low, high, extent, f" {unit}" if unit else "")
    return {
        "word": verdict.word,
        "claim": verdict.claim,
        "detail": verdict.detail,
        "advice": verdict.advice,
        "plot": plot,
    }


def _extent(verdicts: Sequence[Verdict], of: Verdict) -> float:
    """One axis for all claims on the same score, so that their effects can be compared."""
    score = of.claim.rpartition(" on ")[2]
    bounds = [
        abs(bound)
        for verdict in verdicts
        if verdict.claim.rpartition(" on ")[2] == score and verdict.interval is not None
        for bound in verdict.interval
    ]
    return max(bounds, default=0.0)
