#!/usr/bin/env python3
"""What checkpoints and the journal cost: the training loop with them against the same without.

    python benchmarks/durability.py [--pairs 5] [--seconds 60] [--json FILE] [--folder DIR]
    python benchmarks/durability.py --control    # neither has them: what two processes differ by

Both are `pix2pix.train.train` on a quick-profile cell, each a process in the environment of a
worker, as a suite runs them: two threads of one process have different allocators. They take turns,
a segment of `--seconds` each, so that whatever drifts (heat, other programs) meets both. A segment
with checkpoints holds one, as at the default interval. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Semaphore
from pathlib import Path
from typing import Any

import torch
from command import at_least_one, changed, machine, noise, parser, results_of, write

from experiments.environment import worker_environment
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
"""Steps of both before anything is timed."""
NEVER = 1e12
PATIENCE = 600.0
"""Seconds beyond its segment in which the other training must answer."""


@dataclass
class Segments:
    """The turns of one training: runs for `seconds`, then lets the other run."""

    warm: Barrier
    mine: Semaphore
    others: Semaphore
    seconds: float
    pairs: int
    paces: list[float] = field(default_factory=list)
    """Seconds of a step, of each segment."""
    steps: int = -WARM_UP
    began: float = float("inf")

    def stop(self) -> bool:
        """The `stop` of the training: called after each step; waits here for its turn."""
        self.steps += 1
        if self.steps < 0:
            return False
        if self.steps == 0:
            self.warm.wait(PATIENCE)
        elif time.perf_counter() - self.began < self.seconds:
            return False
        else:
            self.paces.append((time.perf_counter() - self.began) / self.steps)
            if len(self.paces) == self.pairs:
                return True
            self.others.release()
        if not self.mine.acquire(timeout=PATIENCE + self.seconds):
            sys.exit("the other training did not answer")
        self.steps, self.began = 0, time.perf_counter()
        return False


class OnceASegment:
    """A `Pace` with a checkpoint in the middle of every segment: the clock that `train` reads goes
    on while it waits for its turn."""

    def __init__(self, segments: Segments, record_steps: int) -> None:
        self.segments = segments
        self.record_steps = record_steps
        self.sample_steps = 10**9
        self.written = 0

    @property
    def checkpoint_seconds(self) -> float:
        halfway = self.segments.began + self.segments.seconds / 2
        if self.written > len(self.segments.paces) or time.perf_counter() < halfway:
            return NEVER
        self.written += 1
        return 0.0


def one(first: bool, durable: bool, segments: Segments, folder: Path, found: Queue) -> None:
    """One training, with checkpoints and journal or without, to the end of its segments."""
    torch.set_num_threads(1)
    plan = make_plan(load_suite("losses"), load_registry()["procedural"], "quick")
    config = next(cell.config for cell in plan.cells("benchmark") if cell.arm == ARM)
    images = noise(40, config.size)
    folder.mkdir()
    journal, writes, flushed = Journal(folder), [], 0.0

    def flush() -> None:
        nonlocal flushed
        flushed = time.perf_counter()
        journal.flush()

    def record(event: str, **fields: object) -> None:
        journal.append(event, **fields)
        if event == "checkpoint":
            writes.append(time.perf_counter() - flushed)

    every = (config.training.steps or 1) // RECORDS
    pace = OnceASegment(segments, every) if durable else Pace(every, 10**9, NEVER)
    with contextlib.suppress(Interrupted):
        train(
            changed(config, steps=10**7),
            (images, images),
            (images, images),
            folder,
            device=torch.device("cpu"),
            record=record if durable else lambda *_, **__: None,
            flush=flush if durable else lambda: None,
            pace=pace,
            stop=segments.stop,
        )
    size = max(path.stat().st_size for path in folder.glob("checkpoint-*.pt"))
    found.put((first, segments.paces, writes[: segments.pairs], size))  # without the last one
    segments.others.release()


def measure(folder: Path, pairs: int, seconds: float, control: bool) -> dict[str, Any]:
    """Run both, the one with checkpoints first; everything in seconds."""
    os.environ.update(worker_environment(1))
    context = multiprocessing.get_context("spawn")
    warm, found = context.Barrier(2), context.Queue()
    first, second = context.Semaphore(1), context.Semaphore(0)
    turns = [Segments(warm, first, second, seconds, pairs)]
    turns += [Segments(warm, second, first, seconds, pairs)]
    trainings = [
        context.Process(
            target=one,
            args=(first, first and not control, segments, folder / str(first), found),
            daemon=True,
        )
        for first, segments in zip((True, False), turns, strict=True)
    ]
    for training in trainings:
        training.start()
    results = results_of(trainings, found, PATIENCE + 3 * pairs * seconds)
    (_, plain, _, _), (_, paces, writes, size) = sorted(results, key=lambda result: result[0])
    ratios = [a / b - 1 for a, b in zip(paces, plain, strict=True)]
    return {
        "machine": machine(torch.device("cpu")),
        "seconds_per_step_with": statistics.median(paces),
        "seconds_per_step_without": statistics.median(plain),
        "overhead_by_pair": ratios,
        "overhead": statistics.median(ratios),
        "checkpoints": len(writes),
        "write_seconds": writes,
        "write_share": statistics.median(writes) / seconds if writes else 0.0,
        "checkpoint_bytes": size,
        "control": control,
        "bound": BOUND,
    }


def main() -> int:
    """The command line; 0 within the bound, 1 above it."""
    made = parser(__doc__)
    made.add_argument("--pairs", type=at_least_one, default=5, help="segments of each (default 5)")
    made.add_argument("--seconds", type=float, default=60.0, help="of a segment (default 60)")
    made.add_argument("--control", action="store_true", help="both without: the noise of this")
    made.add_argument("--folder", type=Path, help="where to write (default: a temporary one)")
    options = made.parse_args()
    if options.folder and not options.folder.is_dir():
        made.error(f"--folder {options.folder}: no such folder")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), options.pairs, options.seconds, options.control)
    write(result, options.json)
    low, high = (100 * end(result["overhead_by_pair"]) for end in (min, max))
    names = ("in one", "in the other") if options.control else ("with", "without")
    print(
        f"a step takes {1000 * result['seconds_per_step_with']:.1f} ms {names[0]} and "
        f"{1000 * result['seconds_per_step_without']:.1f} ms {names[1]}: "
        f"{100 * result['overhead']:+.2f} % (pairs from {low:+.2f} to {high:+.2f} %; at most "
        f"{100 * BOUND:.0f} %)"
    )
    if not options.control:
        print(
            f"a checkpoint of {result['checkpoint_bytes'] / 1e6:.0f} MB takes "
            f"{statistics.median(result['write_seconds']):.2f} s, "
            f"{100 * result['write_share']:.2f} % of {options.seconds:.0f} s"
        )
    return 0 if result["overhead"] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
