"""The index page over all suites that were reported into a folder."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from experiments.tracking_reader import SuiteRuns
from pix2pix.atomic import replacing
from reports.notes import finished_seeds
from reports.page import render
from reports.verdicts import Verdict

SUMMARY = "summary.json"
WORDS = ("reproduced", "contradicted", "undecided")
THUMBNAIL = (640, 260)


def write_summary(runs: SuiteRuns, verdicts: Sequence[Verdict], folder: Path) -> None:
    """What the index says of a suite, beside its report."""
    record = runs.record
    words = Counter(verdict.word for verdict in verdicts)
    done = sum(run.status == "done" for run in runs.runs)
    seeds = finished_seeds(runs)
    summary = {
        "suite": record["suite"],
        "title": record.get("title") or record["suite"],
        "question": record.get("question") or "",
        "dataset": record["dataset"],
        "profile": record["profile"],
        "verdicts": {word: words[word] for word in WORDS if words[word]},
        "cells": len(runs.runs),
        "done": done,
        "seeds": max(seeds, default=0),
    }
    with replacing(folder / SUMMARY) as file:
        file.write((json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())


def write_index(out: Path) -> Path:
    """`out`/index.html over every report below `out`; its path. A damaged summary is left out."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(out.glob(f"*/*/{SUMMARY}")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            card = _card(summary, path.parent, out)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        groups.setdefault((summary["dataset"], summary["profile"]), []).append(card)
    shown = [
        {
            "anchor": f"group-{i}",
            "title": f"{dataset}, profile {profile}",
            "cards": cards,
        }
        for i, ((dataset, profile), cards) in enumerate(groups.items())
    ]
    text = render(
        "index.html.j2",
        [(group["anchor"], group["title"]) for group in shown],
        heading="pix2pix ablations",
        groups=shown,
    )
    with replacing(out / "index.html") as file:
        file.write(text.encode())
    return out / "index.html"


def _card(summary: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    cells, done = summary["cells"], summary["done"]
    state = f"{done} of {cells} cells finished" if done < cells else f"{cells} cells"
    seeds = summary["seeds"]
    return {
        "title": str(summary["title"]),
        "question": str(summary["question"]),
        "link": quote(f"{folder.relative_to(out).as_posix()}/index.html"),
        "words": [(word, summary["verdicts"].get(word, 0)) for word in WORDS],
        "state": f"{state}, {seeds} seed{'' if seeds == 1 else 's'} an arm",
        "picture": _thumbnail(folder / "arms_by_inputs.png"),
    }


def _thumbnail(path: Path) -> str | None:
    """The top left of a figure, small, as a data URI; None where there is none."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    width, height = THUMBNAIL
    scale = width / small.width
    small = small.resize((width, max(1, round(small.height * scale))), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.crop((0, 0, width, min(height, small.height))).save(content, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
