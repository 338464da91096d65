#!/usr/bin/env python3
"""Measure the cost of checkpoints and journal: a training loop with them against without.

    python benchmarks/durability.py [--pairs 100] [--steps 16] [--json FILE] [--folder DIR]
    python benchmarks/durability.py --control    # always without: the noise of the measurement

Runs one `pix2pix.train.train` on a quick-profile cell in a worker's environment. Segments of
`--steps` alternate: with, without, without, with. A segment "with" starts with a checkpoint.
Writing it and journaling are timed separately; how much longer the following steps take (caches) is
the median difference over pairs. In a study there is one checkpoint per minute and 200 loss records
per training.

Segments are short because step times drift by several per cent between minutes and between
processes; two processes, or segments of a minute, could not resolve 2 %. Run it on an idle machine.
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

from experiments.plan import make_plan
from experiments.run.journal import Journal
from experiments.run.runner import RECORDS
from experiments.spec import load_suite
from pix2pix.common.errors import Interrupted
from pix2pix.data.registry import load_registry
from pix2pix.train import Pace, train

ARM = "L1+cGAN"
BOUND = 0.02
"""The largest acceptable overhead."""
WARM_UP = 20
"""Steps before anything is timed."""
FEWEST = 6
"""Pairs needed for a 95 % interval of the median."""
NEVER = 1e12
INTERVAL = Pace.checkpoint_seconds
"""Seconds between checkpoints in a study."""


@dataclass
class Segments:
    """The pace, journal and stop clock that `train` receives."""

    journal: Journal
    pairs: int
    steps: int
    control: bool
    record_steps: int
    sample_steps: int = 10**9
    seconds: list[float] = field(default_factory=list)
    """Of each segment's steps, without journal and checkpoint."""
    writes: list[float] = field(default_factory=list)
    """Seconds of each checkpoint."""
    records: list[float] = field(default_factory=list)
    """Seconds of each record of losses."""
    step: int = -WARM_UP
    began: float = 0.0
    written: bool = False
    asked: float = 0.0
    """When the checkpoint was due."""

    @property
    def with_them(self) -> bool:
        """Whether this segment has checkpoint and journal: the first, fourth, fifth, eighth …"""
        timed = self.step >= 0 and len(self.seconds) < 2 * self.pairs
        return timed and not self.control and len(self.seconds) % 4 in (0, 3)

    @property
    def checkpoint_seconds(self) -> float:
        """As in `Pace`: 0 asks for a checkpoint before a segment's first step and times it."""
        if not self.with_them or self.written:
            return NEVER
        self.written, self.asked = True, time.perf_counter()
        return 0.0

    def stop(self) -> bool:
        """Called after each step."""
        self.step += 1
        now = time.perf_counter()
        if self.step == self.steps:
            self.seconds.append(now - self.began)
        elif self.step != 0:
            return False
        if len(self.seconds) == 2 * self.pairs:
            return True
        self.step, self.written, self.began = 0, False, time.perf_counter()
        return False

    def flush(self) -> None:
        """Called before a checkpoint is written."""
        self.journal.flush()

    def record(self, event: str, **fields: object) -> None:
        """Journal the event if this segment has a journal."""
        if not self.with_them:
            return
        called = time.perf_counter()
        self.journal.append(event, **fields)
        now = time.perf_counter()
        if event == "checkpoint":
            self.writes.append(now - self.asked)
            self.began = now
        else:
            self.records.append(now - called)
            self.began += now - called


def measure(folder: Path, pairs: int, steps: int, control: bool) -> dict[str, Any]:
    """Train through all segments; times are in seconds."""
    torch.set_num_threads(1)
    plan = make_plan(load_suite("losses"), load_registry()["procedural"], "quick")
    config = next(cell.config for cell in plan.cells("benchmark") if cell.arm == ARM)
    images = noise(40, config.size)
    every = (config.training.steps or 1) // RECORDS
    segments = Segments(Journal(folder), pairs, steps, control, every)
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
    took = segments.seconds
    inside = [seconds for turn, seconds in enumerate(took) if turn % 4 in (0, 3)]
    outside = [seconds for turn, seconds in enumerate(took) if turn % 4 in (1, 2)]
    longer = [a - b for a, b in zip(inside, outside, strict=True)]
    known = stats.quantile_test(longer, p=0.5).confidence_interval(0.95)
    step = statistics.median(outside) / steps
    write_share = statistics.fmean(segments.writes or [0.0]) / INTERVAL
    record_share = statistics.fmean(segments.records or [0.0]) / (every * step)
    after, low, high = (
        seconds / INTERVAL for seconds in (statistics.median(longer), known.low, known.high)
    )
    direct = write_share + record_share
    return {
        "machine": machine(torch.device("cpu")),
        "seconds_per_step": step,
        "steps_per_segment": steps,
        "longer_by_pair": longer,
        "write_seconds": segments.writes,
        "record_seconds": segments.records,
        "steps_between_records": every,
        "write_share": write_share,
        "record_share": record_share,
        "after_share": after,
        "overhead": direct + after,
        "overhead_interval": [direct + low, direct + high],
        "checkpoint_bytes": max(path.stat().st_size for path in folder.glob("checkpoint-*.pt")),
        "control": control,
        "bound": BOUND,
    }


def main() -> int:
    """The command line; 0 within the bound, 1 above it."""
    made = parser(__doc__)
    made.add_argument("--pairs", type=at_least_one, default=100, help="segments of each kind (100)")
    made.add_argument("--steps", type=at_least_one, default=16, help="steps per segment (16)")
    made.add_argument("--control", action="store_true", help="always without: the noise of this")
    made.add_argument("--folder", type=Path, help="where to write (default: a temporary one)")
    options = made.parse_args()
    if options.pairs < FEWEST:
        made.error(f"--pairs: at least {FEWEST}, for an interval of 95 %")
    if options.folder and not options.folder.is_dir():
        made.error(f"--folder {options.folder}: no such folder")
    as_a_worker()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), options.pairs, options.steps, options.control)
    write(result, options.json)
    low, high = (100 * end for end in result["overhead_interval"])
    print(
        f"checkpoints and journal take {100 * result['overhead']:.2f} % (95 %: {low:.2f} to "
        f"{high:.2f} %; at most {100 * BOUND:.0f} %); a step without takes "
        f"{1000 * result['seconds_per_step']:.1f} ms"
    )
    longer = result["longer_by_pair"]
    print(
        f"the {options.steps} steps after a checkpoint: {1000 * statistics.median(longer):+.1f} ms "
        f"in a minute, {100 * result['after_share']:+.3f} % (median of {len(longer)} pairs)"
    )
    if not options.control:
        print(
            f"a checkpoint of {result['checkpoint_bytes'] / 1e6:.0f} MB: "
            f"{statistics.fmean(result['write_seconds']):.2f} s in a minute, "
            f"{100 * result['write_share']:.2f} %"
        )
        print(
            f"a record: {1e6 * statistics.fmean(result['record_seconds']):.0f} µs in "
            f"{result['steps_between_records']} steps, {100 * result['record_share']:.4f} %"
        )
    return 0 if result["overhead"] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
