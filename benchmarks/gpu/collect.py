"""What has been trained so far: training.json, samples.png, and runs.tar.gz to be imported.

    python benchmarks/gpu/collect.py RESULTS RUNS

RUNS is the `--out` of a study. The archive holds finished and unfinished runs without their
weights, and the scorer; `python -m experiments.import_runs` takes the finished ones. Each file is
kept below LIMIT_MIB (15), if need be without pictures, and then without the scorer.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tarfile
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.run.journal import last, read_records
from pix2pix.common.files import read_json

LIMIT = int(os.environ.get("LIMIT_MIB", "15")) * 2**20
SCORES = ("scores.json", "per_image.csv", "per_image.npz")
RECORDS = ("config.json", "journal.jsonl", "log.txt", *SCORES)
PICTURES = 8
"""Of each kind, evenly spaced by name: those that reports show."""
SHOWN = ("fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou", "color.L", "pixel.l1")


def arm(config: dict[str, Any]) -> str:
    """What the suites call it."""
    gan, discriminator = config["objective"]["gan"], config["discriminator"]
    if gan == "none":
        return "L1"
    name = "cGAN" if gan == "conditional" else "GAN"
    name = f"L1+{name}" if config["objective"]["l1"] else name
    return name if discriminator["patch"] == 70 else f"{name} {discriminator['patch']}"


def summary(folder: Path) -> dict[str, Any]:
    """A run directory in short."""
    records = read_records(folder / "journal.jsonl")
    losses = [r for r in records if r["event"] == "losses"]
    paces = [r["seconds_per_step"] for r in losses if r.get("seconds_per_step")]
    start, trained, scores, done, execution = (
        last(records, event) or {} for event in ("start", "trained", "scores", "done", "execution")
    )
    provenance = start.get("provenance", {})
    try:
        config = read_json(folder / "config.json")
        name = "ground truth" if folder.parent.name == "references" else arm(config)
    except (OSError, ValueError, LookupError, TypeError):
        name = "unknown"
    return {
        "arm": name,
        "digest": folder.name,
        "device": provenance.get("device_name"),
        "precision": provenance.get("precision"),
        "engine": execution.get("engine", "-"),
        "instead_of_a_graph": execution.get("error"),
        "step": (trained or (losses[-1] if losses else {})).get("step", 0),
        "median_seconds_per_step": statistics.median(paces) if paces else None,
        "seconds_training": trained.get("seconds"),
        "peak_memory_mib": trained.get("peak_memory_mib"),
        "seconds": done.get("seconds"),
        "outside_training": done.get("outside"),
        "last_losses": losses[-1].get("values") if losses else None,
        "scores": scores.get("values"),
        "not_measured": sorted(scores.get("not_measured", {})),
        "failed": [r.get("error") for r in records if r["event"] == "failed"],
        "began": records[0].get("time") if records else None,
        "ended": records[-1].get("time") if records else None,
    }


def montage(grids: list[tuple[str, Image.Image]], path: Path) -> None:
    """Sample grids beside each other: input, translation, target of each arm."""
    gap, top, across = 8, 16, 4
    width, height = (max(getattr(g, side) for _, g in grids) for side in ("width", "height"))
    columns, rows = min(across, len(grids)), -(-len(grids) // across)
    sheet = Image.new("RGB", (columns * (width + gap), rows * (height + top + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, grid) in enumerate(grids):
        left, upper = index % across * (width + gap), index // across * (height + top + gap)
        draw.text((left, upper + 2), name, fill="black")
        sheet.paste(grid, (left, upper + top))
    sheet.save(path)
    while path.stat().st_size >= LIMIT:
        sheet = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.BOX)
        sheet.save(path)


def newest_grid(folder: Path) -> Path | None:
    """The newest sample grid of a run directory."""
    return max((folder / "samples").glob("step-*.png"), default=None)


def pack(runs: Path, path: Path, scorers: bool, pictures: bool) -> int:
    """Write the archive, and return its size in bytes."""
    with tarfile.open(path, "w:gz") as archive:
        chosen = [f for name in RECORDS for f in runs.glob(f"*/*/{name}")]
        chosen += list(runs.glob("suites/*/*.json"))
        chosen += list(runs.glob("scorers/*.safetensors")) if scorers else []
        for folder in runs.glob("*/*") if pictures else ():
            for kind in ("inputs", "targets", "translations"):
                files = sorted((folder / kind).glob("*.png"))
                wanted = min(PICTURES, len(files))
                chosen += [files[i * len(files) // wanted] for i in range(wanted)]
            grid = newest_grid(folder)
            chosen += [grid] if grid else []
        for file in chosen:
            archive.add(file, file.relative_to(runs))
    return path.stat().st_size


def main() -> int:
    results, runs = Path(sys.argv[1]), Path(sys.argv[2])
    cells = sorted(p.parent for p in runs.glob("cells/*/journal.jsonl"))
    references = sorted(p.parent for p in runs.glob("references/*/journal.jsonl"))
    if not cells and not references:
        return 0
    rows = [summary(folder) for folder in cells]
    truths = [summary(folder) for folder in references]
    began = min((r["began"] for r in rows if r["began"]), default=0.0)
    ended = max((r["ended"] for r in rows if r["ended"]), default=0.0)
    steps, wall = sum(row["step"] or 0 for row in rows), ended - began
    found = {
        "cells": rows,
        "ground_truth": truths,
        "steps_of_all_cells": steps,
        "wall_seconds": round(wall, 1),
        "steps_per_second_in_sum": round(steps / wall, 1) if wall else None,
    }
    (results / "training.json").write_text(json.dumps(found, indent=1) + "\n")
    # Beside RUNS first: what is cut short must not be taken for a result.
    picture, archive = runs.parent / "samples.png", runs.parent / "runs.tar.gz"
    newest = [(row["arm"], newest_grid(folder)) for row, folder in zip(rows, cells, strict=True)]
    grids = [(f"{a}, {p.stem}", Image.open(p).convert("RGB")) for a, p in newest if p]
    if grids:
        montage(grids, picture)
        shutil.copyfile(picture, results / "samples.png")
    if any(pack(runs, archive, *parts) < LIMIT for parts in product((True, False), repeat=2)):
        shutil.copyfile(archive, results / "runs.tar.gz")
    else:
        print(f"runs.tar.gz is larger than {LIMIT >> 20} MiB: it stays in {runs.parent}")

    titles = " ".join(f"{name:>18}" for name in SHOWN)
    print(f"{'arm':16} {'step':>6} {'ms/step':>8} {'engine':18} {titles}")
    for row in truths + rows:
        scores, pace = row["scores"] or {}, row["median_seconds_per_step"]
        values = " ".join(f"{scores[n]:18.3f}" if n in scores else f"{'-':>18}" for n in SHOWN)
        took = f"{1000 * pace:8.2f}" if pace else f"{'-':>8}"
        print(f"{row['arm']:16} {row['step'] or 0:6} {took} {row['engine']:18} {values}")
    print(f"{steps} steps of all cells in {wall:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
