#!/usr/bin/env python3
"""What checkpoints and the journal cost: the training loop with them against the same without.

    python benchmarks/durability.py [--pairs 5] [--seconds 60] [--json FILE] [--folder DIR]

Both are `pix2pix.train.train` on a quick-profile cell. They take turns in one process, a segment of
`--seconds` each, so that whatever drifts (heat, other programs) meets both. A segment with
checkpoints holds one, as at the default interval. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from experiments.journal import Journal
from experiments.plan import make_plan
from experiments.runner import RECORDS
from experiments.spec import load_suite
from pix2pix.config import CellConfig
from pix2pix.datasets import load_registry
from pix2pix.errors import Interrupted
from pix2pix.train import Pace, train

ARM = "L1+cGAN"
BOUND = 0.02
"""What a step may cost more."""
WARM_UP = 20
"""Steps of both before anything is timed."""
NEVER = 1e12


class Turn:
    """Hands the processor to and fro between two trainings at their steps' ends."""

    def __init__(self, seconds: float, pairs: int) -> None:
        self.seconds = seconds
        self.pairs = pairs
        self.running = 0
        self.changed = threading.Condition()
        self.paces: tuple[list[float], list[float]] = ([], [])
        self.halfway = float("inf")
        """When the segment with checkpoints writes its one."""

    def stop_of(self, who: int):
        """The `stop` of training `who`: waits here until it is its turn, counts its own time."""
        steps, began = -WARM_UP, 0.0

        def stop() -> bool:
            nonlocal steps, began
            steps += 1
            if steps < 0:
                return False
            if steps == 0:
                self.pass_on(who)
                began = self.begin(who)
            elif time.perf_counter() - began >= self.seconds:
                self.paces[who].append((time.perf_counter() - began) / steps)
                self.pass_on(who)
                steps, began = 0, self.begin(who)
            return len(self.paces[1]) == self.pairs

        return stop

    def begin(self, who: int) -> float:
        now = time.perf_counter()
        self.halfway = now + self.seconds / 2 if who == 0 else float("inf")
        return now

    def pass_on(self, who: int) -> None:
        with self.changed:
            self.running = 1 - who
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.running == who)

    def leave(self, who: int) -> None:
        with self.changed:
            self.running = 1 - who
            self.changed.notify_all()


class OnceASegment:
    """A `Pace` with a checkpoint in the middle of every segment: the clock that train reads goes
    on while it waits for its turn."""

    def __init__(self, turn: Turn, record_steps: int) -> None:
        self.turn = turn
        self.record_steps = record_steps
        self.sample_steps = 10**9

    @property
    def checkpoint_seconds(self) -> float:
        if time.perf_counter() < self.turn.halfway:
            return NEVER
        self.turn.halfway = float("inf")
        return 0.0


def measure(folder: Path, pairs: int, seconds: float) -> dict:
    """Run both; everything in seconds."""
    entry = load_registry()["procedural"]
    plan = make_plan(load_suite("losses"), entry, "quick")
    cell: CellConfig = next(c.config for c in plan.cells("benchmark") if c.arm == ARM)
    cell = cell.model_copy(update={"training": cell.training.model_copy(update={"steps": 10**7})})
    images = np.random.default_rng(0).integers(0, 256, (40, *cell.size, 3), np.uint8)
    turn = Turn(seconds, pairs)
    journal = Journal(folder / "with")
    writes: list[float] = []
    flushed = 0.0

    def flush() -> None:
        nonlocal flushed
        flushed = time.perf_counter()
        journal.flush()

    def record(event: str, **fields: object) -> None:
        journal.append(event, **fields)
        if event == "checkpoint":
            writes.append(time.perf_counter() - flushed)

    every = 3000 // RECORDS
    kinds = [
        (folder / "with", record, flush, OnceASegment(turn, every)),
        (folder / "without", lambda *_, **__: None, lambda: None, Pace(every, 10**9, NEVER)),
    ]

    def one(who: int) -> None:
        directory, told, flushing, pace = kinds[who]
        pairs_of = (images, images)
        try:
            train(
                cell,
                pairs_of,
                pairs_of,
                directory,
                device=torch.device("cpu"),
                record=told,
                pace=pace,
                stop=turn.stop_of(who),
                flush=flushing,
            )
        except Interrupted:
            pass
        finally:
            turn.leave(who)

    other = threading.Thread(target=waiting_for_its_turn, args=(turn, one), daemon=True)
    other.start()
    one(0)
    other.join()
    ratios = [a / b - 1 for a, b in zip(*turn.paces, strict=False)]
    writes = writes[: len(ratios)]  # without the one at the end
    (newest,) = sorted((folder / "with").glob("checkpoint-*.pt"))[-1:]
    return {
        "seconds_per_step_with": statistics.median(turn.paces[0]),
        "seconds_per_step_without": statistics.median(turn.paces[1]),
        "overhead_by_pair": ratios,
        "overhead": statistics.median(ratios),
        "checkpoints": len(writes),
        "write_seconds": writes,
        "write_share": statistics.median(writes) / seconds,
        "checkpoint_bytes": newest.stat().st_size,
        "bound": BOUND,
        "torch": torch.__version__,
    }


def waiting_for_its_turn(turn: Turn, one) -> None:
    """The second training begins when the first is warm."""
    with turn.changed:
        turn.changed.wait_for(lambda: turn.running == 1)
    one(1)


def main() -> int:
    """The command line; 0 within the bound, 1 above it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="segments of each (default 5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a segment (default 60)")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), options.pairs, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"a step takes {1000 * result['seconds_per_step_with']:.1f} ms with and "
        f"{1000 * result['seconds_per_step_without']:.1f} ms without: "
        f"{100 * result['overhead']:+.2f} % (at most {100 * BOUND:.0f} %); a checkpoint of "
        f"{result['checkpoint_bytes'] / 1e6:.0f} MB takes "
        f"{statistics.median(result['write_seconds']):.2f} s, "
        f"{100 * result['write_share']:.2f} % of {options.seconds:.0f} s"
    )
    return 0 if result["overhead"] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
