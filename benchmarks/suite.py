"""A whole suite, and where its time went.

    python benchmarks/suite.py                            patch_size, quick, from nothing
    python benchmarks/suite.py --suite losses -- --seeds 2

Everything after `--` goes to run_ablations.py. Two shares are told: of the wall time in which no
cell and no scorer was training; and of the processors' time (workers × wall time), in which a core
that has nothing left to do at the end counts too, with its parts. Run it on a machine with nothing
else to do. Exit status 1 where the first is above 10 %.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from command import ROOT, machine, parser, write

from experiments.run.journal import last, read_records
from experiments.run.launcher import gpu_count, usable_cores
from experiments.run.work import sessions

BAR = 0.10


def idle_wall(out: Path, began: float, ended: float) -> float:
    """Seconds of wall time in which neither a cell nor the scorer was training."""
    spans = []
    for path in [*out.glob("cells/*/journal.jsonl"), *out.glob("scorers/*/journal.jsonl")]:
        records = read_records(path)
        first = last(records, "execution") or last(records, "start")
        trained = last(records, "trained")
        if first and trained:
            spans.append((first["time"], trained["time"]))
    covered, until = 0.0, began
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return ended - began - covered


def breakdown(out: Path, began: float, ended: float, workers: int) -> dict[str, float]:
    """Seconds of all workers by what they were spent on; sums to workers × (ended - began)."""
    training = scorer = jobs = waiting = 0.0
    first, final = ended, began
    for path in [*out.glob("cells/*/journal.jsonl"), *out.glob("references/*/journal.jsonl")]:
        records = read_records(path)
        span = records[-1]["time"] - records[0]["time"]
        first, final = min(first, records[0]["time"]), max(final, records[-1]["time"])
        training += (last(records, "trained") or {}).get("seconds", 0.0)
        done = last(records, "done")
        jobs += span
        waiting += max(0.0, sum(s[-1]["time"] - s[0]["time"] for s in sessions(records)))
        waiting -= done["seconds"] if done else span
    for path in out.glob("scorers/*/journal.jsonl"):
        scorer += (last(read_records(path), "trained") or {}).get("seconds", 0.0)
    waiting = max(waiting, scorer)  # whoever trains it waits for it too
    return {
        "training steps": training,
        "training the scorer": scorer,
        "translating, scoring, samples, checkpoints": jobs - training - waiting,
        "waiting for the scorer": waiting - scorer,
        "preparing, starting": workers * (first - began),
        "workers starting or idle": workers * (final - first) - jobs,
        "mirroring and reporting at the end": workers * (ended - final),
    }


def main() -> int:
    arguments = sys.argv[1:]
    rest = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    made = parser(__doc__)
    made.add_argument("--suite", default="patch_size")
    made.add_argument("--profile", default="quick")
    made.add_argument("--workers", type=int, default=gpu_count() or usable_cores())
    options = made.parse_args(arguments[: arguments.index("--")] if rest else arguments)
    if "--workers" in rest:
        made.error("--workers belongs before the --: the breakdown counts with it")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        command = [sys.executable, str(ROOT / "run_ablations.py"), "--suite", options.suite]
        command += ["--profile", options.profile, "--workers", str(options.workers), *rest]
        command += ["--out", str(place / "runs"), "--reports", str(place / "reports")]
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
        began = time.time()
        ended = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
        wall = time.time() - began
        if ended.returncode:
            return ended.returncode
        parts = breakdown(place / "runs", began, began + wall, options.workers)
        idle = idle_wall(place / "runs", began, began + wall)
    whole = wall * options.workers
    useful = parts["training steps"] + parts["training the scorer"]
    found = {
        "machine": machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "command": command[1:],
        "wall_seconds": wall,
        "workers": options.workers,
        "seconds": parts,
        "outside_of_wall": idle / wall,
        "outside_of_processors": 1 - useful / whole,
    }
    print(
        f"{wall:.0f} s with {options.workers} workers; {100 * idle / wall:.1f} % of it without a "
        "training step or the scorer's training anywhere; of the processors' time"
    )
    for name, seconds in parts.items():
        print(f"  {100 * seconds / whole:5.1f} %  {name} ({seconds:.0f} s)")
    share = 100 * found["outside_of_processors"]
    print(f"  {share:5.1f} %  neither a training step nor the scorer's training")
    write(found, options.json)
    return 0 if found["outside_of_wall"] <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
