#!/usr/bin/env python3
"""What checkpoints and the journal cost: the training loop with them against the same without.

    python benchmarks/durability.py [--pairs 36] [--seconds 10] [--json FILE] [--folder DIR]
    python benchmarks/durability.py --control    # never with them: the noise of the measurement

One `pix2pix.train.train` on a quick-profile cell, in the environment of a suite's worker, whose
segments of `--seconds` alternate: with, without, without, with. So whatever differs from process to
process (where its memory lies is worth some per cent) or drifts (heat, other programs) meets both,
and many short pairs tell more than a few long ones. Each segment with checkpoints holds one. Its
write is timed by itself and counted as often as it comes in a study, once in a minute; the rest of
the segment, with what a checkpoint leaves behind in memory, is compared with the segment without.
So what it leaves behind counts six times. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from command import as_a_worker, at_least_one, changed, machine, noise, parser, write
from scipy import stats

from experiments.journal import Journal
from experiments.plan import make_plan
from experiments.runner import RECORDS
from experiments.spec import load_suite
from pix2pix.datasets import load_registry
from pix2pix.errors import Interrupted
from pix2pix.train import Pace, train

ARM = "L1+cGAN"
BOUND = 0.02
"""What a step may cost more."""
WARM_UP = 20
"""Steps before anything is timed."""
NEVER = 1e12
INTERVAL = Pace.checkpoint_seconds
"""Seconds from checkpoint to checkpoint in a study."""


@dataclass
class Segments:
    """What `train` is given: its pace, its journal, and the clock that ends a segment."""

    journal: Journal
    pairs: int
    seconds: float
    control: bool
    record_steps: int
    sample_steps: int = 10**9
    paces: list[float] = field(default_factory=list)
    """Seconds of a step, of each segment, without the writing of checkpoints."""
    writes: list[float] = field(default_factory=list)
    """Seconds of each checkpoint."""
    steps: int = -WARM_UP
    began: float = 0.0
    written: bool = False
    flushed: float = 0.0
    writing: float = 0.0
    """Seconds, in this segment."""

    @property
    def with_them(self) -> bool:
        """Whether this segment has checkpoints and journal: the first, fourth, fifth, eighth …"""
        timed = self.steps >= 0 and len(self.paces) < 2 * self.pairs
        return timed and not self.control and len(self.paces) % 4 in (0, 3)

    @property
    def checkpoint_seconds(self) -> float:
        """Of the pace: a checkpoint in the middle of a segment."""
        halfway = self.began + self.seconds / 2
        if not self.with_them or self.written or time.perf_counter() < halfway:
            return NEVER
        self.written = True
        return 0.0

    def stop(self) -> bool:
        """Called after each step."""
        self.steps += 1
        now = time.perf_counter()
        if self.steps < 0 or (self.steps > 0 and now - self.began < self.seconds):
            return False
        if self.steps > 0:
            self.paces.append((now - self.began - self.writing) / self.steps)
        if len(self.paces) == 2 * self.pairs:
            return True
        self.steps, self.written, self.writing = 0, False, 0.0
        self.began = time.perf_counter()
        return False

    def flush(self) -> None:
        """Called before a checkpoint is written."""
        self.flushed = time.perf_counter()
        self.journal.flush()

    def record(self, event: str, **fields: object) -> None:
        """Journal it, where this segment has one."""
        if self.with_them:
            self.journal.append(event, **fields)
            if event == "checkpoint":
                self.writing = time.perf_counter() - self.flushed
                self.writes.append(self.writing)


def measure(folder: Path, pairs: int, seconds: float, control: bool) -> dict[str, Any]:
    """Train through all segments; everything in seconds."""
    torch.set_num_threads(1)
    plan = make_plan(load_suite("losses"), load_registry()["procedural"], "quick")
    config = next(cell.config for cell in plan.cells("benchmark") if cell.arm == ARM)
    images = noise(40, config.size)
    every = (config.training.steps or 1) // RECORDS
    segments = Segments(Journal(folder), pairs, seconds, control, every)
    with contextlib.suppress(Interrupted):
        train(
            changed(config, steps=10**7),
            (images, images),
            (images, images),
            folder,
            device=torch.device("cpu"),
            record=segments.record,
            flush=segments.flush,
            pace=segments,
            stop=segments.stop,
        )
    inside = [pace for turn, pace in enumerate(segments.paces) if turn % 4 in (0, 3)]
    outside = [pace for turn, pace in enumerate(segments.paces) if turn % 4 in (1, 2)]
    ratios = [a / b - 1 for a, b in zip(inside, outside, strict=True)]
    write_share = statistics.median(segments.writes) / INTERVAL if segments.writes else 0.0
    known = stats.quantile_test(ratios, p=0.5).confidence_interval(0.95)
    return {
        "machine": machine(torch.device("cpu")),
        "seconds_per_step_with": statistics.median(inside),
        "seconds_per_step_without": statistics.median(outside),
        "overhead_by_pair": ratios,
        "overhead": statistics.median(ratios) + write_share,
        "overhead_interval": [known.low + write_share, known.high + write_share],
        "checkpoints": len(segments.writes),
        "write_seconds": segments.writes,
        "write_share": write_share,
        "checkpoint_bytes": max(path.stat().st_size for path in folder.glob("checkpoint-*.pt")),
        "control": control,
        "bound": BOUND,
    }


def main() -> int:
    """The command line; 0 within the bound, 1 above it."""
    made = parser(__doc__)
    made.add_argument(
        "--pairs", type=at_least_one, default=36, help="segments of each (36)"
    )
    made.add_argument("--seconds", type=float, default=10.0, help="of a segment (10)")
    made.add_argument("--control", action="store_true", help="never with them: the noise of this")
    made.add_argument("--folder", type=Path, help="where to write (default: a temporary one)")
    options = made.parse_args()
    if options.pairs < 6:
        made.error("--pairs: at least 6, for an interval of 95 %")
    if options.folder and not options.folder.is_dir():
        made.error(f"--folder {options.folder}: no such folder")
    as_a_worker()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), options.pairs, options.seconds, options.control)
    write(result, options.json)
    low, high = (100 * end for end in result["overhead_interval"])
    names = ("in one half", "in the other") if options.control else ("with", "without")
    print(
        f"a step takes {1000 * result['seconds_per_step_with']:.1f} ms {names[0]} and "
        f"{1000 * result['seconds_per_step_without']:.1f} ms {names[1]}: "
        f"{100 * result['overhead']:+.2f} % with the writes (95 % of the median of "
        f"{options.pairs} pairs: {low:+.2f} to {high:+.2f} %; at most {100 * BOUND:.0f} %)"
    )
    if writes := result["write_seconds"]:
        print(
            f"a checkpoint of {result['checkpoint_bytes'] / 1e6:.0f} MB takes "
            f"{statistics.median(writes):.2f} s, "
            f"{100 * result['write_share']:.2f} % of {INTERVAL:.0f} s"
        )
    return 0 if result["overhead"] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
