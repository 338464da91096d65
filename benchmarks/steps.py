"""How long a training step takes: the eager float32 reference against every other way, in turns.

    python benchmarks/steps.py                                     256 pixels, width 64, batch 1
    python benchmarks/steps.py --size 128 --width 32 --threads 1   the quick profile's
    python benchmarks/steps.py --gan none --batch 10 --all

Also printed: the floor, which is the counted work over what the machine reached just before (a
matrix product or a convolution, a copy), whichever takes longer, and how far each way is above it.
Steps are timed without batches, losses kept and files written; --loop times those too.
Exit status 1 where --bar is given and no way is so many times faster than the reference.
"""

from __future__ import annotations

import json
import sys

import torch
from ceilings import multiplications, traffic, work_of_step
from command import (
    as_a_worker,
    at_least_one,
    cell,
    cell_parser,
    changed,
    machine,
    spread,
    trained,
    write,
)

from pix2pix.common.memory import peak_memory_mib
from pix2pix.fast_step import Execution
from pix2pix.model import precision_problem
from pix2pix.step_time import time_steps

REFERENCE = ("float32", Execution())
CPU_WAYS = [REFERENCE, ("bfloat16", Execution(paired=True))]
GPU_WAYS = [
    REFERENCE,
    ("float32", Execution(graph=True)),
    ("tf32", Execution()),
    ("tf32", Execution(graph=True)),
    ("bfloat16", Execution(graph=True)),
]
MORE = {
    "cpu": [
        ("float32", Execution(paired=True)),
        ("float32", Execution(channels_last=True)),
        ("bfloat16", Execution()),
        ("bfloat16", Execution(paired=True, channels_last=True)),
    ],
    "cuda": [
        (precision, Execution(paired, graph=True, channels_last=last))
        for precision in ("tf32", "bfloat16")
        for paired, last in ((True, False), (False, True), (True, True))
    ],
}


def main() -> int:
    parser = cell_parser(__doc__, size=256, width=64)
    parser.add_argument("--gan", default="conditional", choices=["none", "conditional"])
    parser.add_argument("--patch", type=int, default=70)
    parser.add_argument("--turns", type=at_least_one, default=11, help="of each way (default 11)")
    parser.add_argument("--all", action="store_true", help="also the ways that did not pay")
    parser.add_argument(
        "--cudnn-benchmark", action="store_true", help="cuDNN times its algorithms and chooses"
    )
    parser.add_argument("--loop", type=int, metavar="STEPS", help="also train so long, all told")
    parser.add_argument("--bar", type=float, metavar="TIMES", help="must be reached")
    parser.add_argument(
        "--plain-allocation", action="store_true", help="glibc's own, not that of a suite's workers"
    )
    options = parser.parse_args()
    if not options.plain_allocation:
        as_a_worker()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = options.cudnn_benchmark

    config = cell(
        options.size, options.width, batch=options.batch, gan=options.gan, patch=options.patch
    )
    ways = list(GPU_WAYS if device.type == "cuda" else CPU_WAYS)
    ways += MORE[device.type] if options.all else []
    ways = [way for way in ways if not precision_problem(way[0], device)]
    flop, moved = work_of_step(config)
    speeds = {p: multiplications(device, p) for p in dict.fromkeys(p for p, _ in ways)}
    bytes_a_second = traffic(device)
    many = 30 if device.type == "cuda" else 1
    if device.type == "cuda":  # what measured the ceilings is not the ways' memory
        torch.cuda.reset_peak_memory_stats(device)
    measured = time_steps(config, ways, device, steps_a_turn=many, turns=options.turns)
    peak = peak_memory_mib(device)

    if options.loop:
        fastest = min(measured, key=lambda way: way.median)
        long = changed(config, precision=fastest.precision, steps=options.loop)
        seconds = trained(long, device, fastest.execution)["seconds"] / options.loop
        print(
            f"the training loop itself, {options.loop} steps, {fastest.precision}, "
            f"{fastest.execution.engine}: {seconds:.5f} s a step"
        )

    rows = []
    for way in measured:
        floor = max(flop / speeds[way.precision], moved / bytes_a_second)
        rows.append(
            {
                "way": f"{way.precision}, {way.execution.engine}",
                "seconds_a_step": way.median,
                "quartiles": way.spread,
                "times_the_reference": measured[0].median / way.median,
                "images_a_second": options.batch / way.median,
                "floor_seconds": floor,
                "above_floor": way.median / floor,
            }
        )
    found = {
        "machine": machine(device),
        "cudnn_benchmark": options.cudnn_benchmark,
        "plain_allocation": options.plain_allocation,
        "cell": {k: getattr(options, k) for k in ("size", "width", "batch", "gan", "patch")},
        "gflop_a_step": flop / 1e9,
        "weights_gb_a_step": moved / 1e9,
        "gflops": {p: speed / 1e9 for p, speed in speeds.items()},
        "gb_a_second": bytes_a_second / 1e9,
        "ways": rows,
        "peak_memory_mib_of_all_ways": peak,
    }
    print(json.dumps({k: v for k, v in found.items() if k != "ways"}, indent=1))
    print(f"{'way':34} {'a step [quartiles]':28} {'reference':>9} {'images/s':>9} {'× floor':>8}")
    for row, way in zip(rows, measured, strict=True):
        print(
            f"{row['way']:34} {spread(way.seconds):28} {row['times_the_reference']:8.2f}× "
            f"{row['images_a_second']:9.1f} {row['above_floor']:8.2f}"
        )
    write(found, options.json)
    best = max(row["times_the_reference"] for row in rows)
    return 1 if options.bar and best < options.bar else 0


if __name__ == "__main__":
    sys.exit(main())
