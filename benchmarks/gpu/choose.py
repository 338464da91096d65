"""How many steps per arm fit into the time, and with how many workers: prints both.

python benchmarks/gpu/choose.py RESULTS SECONDS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

CELLS = 8
"""Of losses and patch_size together, one seed."""
OUTSIDE = 50.0
"""Seconds of starting, translating and scoring, of the last cells alone."""
SHARE = 0.75
"""Of what the speed promises: workers take turns; samples and checkpoints wait."""
LENGTHS = (300, 500, 800, 1200, 1600, 2000, 2500, 3000, 4000, 5000, 6000, 8000, 10000, 12000, 16000)
UNKNOWN = 0.004
"""Seconds per step where nothing was measured."""


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def choose(results: Path, seconds: float) -> tuple[int, int]:
    """Steps and workers, from steps.json, probe.json and cells.json as far as they are there."""
    variants = read(results / "steps.json").get("variants", [])
    paces = {row["variant"]: row["seconds_per_step"] for row in variants}
    probed = read(results / "probe.json").get("variants", {}).get("tf32: default", {})
    unknown = probed.get("milliseconds", 1000 * UNKNOWN) / 1000
    pace = paces.get("tf32, graph", paces.get("tf32, reference", unknown))  # as a run would go on
    cells = read(results / "cells.json").get("cells", [])
    sums = {row["cells"]: row["images_per_second"] for row in cells}
    rate, workers = 1 / pace, 2
    if {1, 4} <= set(sums):
        rate = max(sums[4], sums[1])
        workers = 4 if sums[4] >= 0.85 * sums[1] else 2
    fits = SHARE * rate * max(seconds - OUTSIDE, 20.0) / CELLS
    return max((length for length in LENGTHS if length <= fits), default=LENGTHS[0]), workers


def main() -> int:
    steps, workers = choose(Path(sys.argv[1]), float(sys.argv[2]))
    print(*((6, 2) if os.environ.get("DRY") else (steps, workers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
