"""The index page over all suites that were reported into a folder."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from reports.pages.content import Report
from reports.pages.html import render
from reports.pages.notes import finished_seeds

SUMMARY = "summary.json"
WORDS = ("reproduced", "contradicted", "undecided")
THUMBNAIL = (640, 260)


def summary(report: Report) -> str:
    """What the index says of a suite, as JSON."""
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
    """The page over every report below `out`; a damaged summary is left out."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(out.glob(f"*/*/{SUMMARY}")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            card = _card(told, path.parent, out)
            key = (str(told["dataset"]), str(told["profile"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        groups.setdefault(key, []).append(card)
    shown = [
        {"anchor": f"group-{i}", "title": f"{dataset}, profile {profile}", "cards": cards}
        for i, ((dataset, profile), cards) in enumerate(groups.items())
    ]
    return render(
        "index.html.j2",
        [(group["anchor"], group["title"]) for group in shown],
        heading="pix2pix ablations",
        groups=shown,
    )


def _card(told: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    cells, done = told["cells"], told["done"]
    state = f"{done} of {cells} cells finished" if done < cells else f"{cells} cells"
    weak, seeds = told.get("ceiling") or {}, str(told["seeds"])
    if (fewest := told.get("fewest_seeds", told["seeds"])) != told["seeds"]:
        seeds = f"{fewest} to {seeds}"
    plural = "" if seeds == "1" else "s"
    return {
        "title": str(told["title"]),
        "question": str(told["question"]),
        "link": quote(f"{folder.relative_to(out).as_posix()}/index.html"),
        "words": [(word, told["verdicts"].get(word, 0), weak.get(word, 0)) for word in WORDS],
        "state": f"{state}, {seeds} seed{plural} an arm",
        "picture": _thumbnail(folder / "arms_by_inputs.png"),
    }


def _thumbnail(path: Path) -> str | None:
    """The top left of a figure, small, as a data URI; None where there is none."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    width, height = THUMBNAIL
    scale = width / small.width
    small = small.resize((width, max(1, round(small.height * scale))), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.crop((0, 0, width, min(height, small.height))).save(content, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
