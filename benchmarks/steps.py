"""Time a training step: the eager float32 reference against every other variant, in turns.

Tells which `training.precision` is fastest on this machine.


    python benchmarks/steps.py                                     256 pixels, width 64, batch 1
    python benchmarks/steps.py --size 128 --width 32 --threads 1   the quick profile's
    python benchmarks/steps.py --gan none --batch 10 --all

Also printed: the floor, which is the counted work divided by the speed measured just before (of a
matrix product or convolution, or of a copy, whichever takes longer), and how far each variant is
above it. Steps are timed without loading batches, recording losses or writing files; --loop times
those too. A variant that cannot run (no graph, no memory) is listed with the reason; speed-ups are
relative to the first that ran. Exit status 1 if --bar is given and no variant is so much faster.
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
    cyclegan_cell,
    machine,
    spread,
    trained,
    write,
)
from step_time import Timing, time_steps

from pix2pix.common.memory import peak_memory_mib
from pix2pix.fast_step import Execution
from pix2pix.model import precision_problem

REFERENCE = ("float32", Execution())
CPU_VARIANTS = [REFERENCE, ("bfloat16", Execution(paired=True))]
GPU_VARIANTS = [
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


def name(timing: Timing) -> str:
    """`float32, graph`: precision and execution."""
    return f"{timing.precision}, {timing.execution.engine}"


def main() -> int:
    parser = cell_parser(__doc__, size=256, width=64)
    parser.add_argument("--gan", default="conditional", choices=["none", "conditional"])
    parser.add_argument("--cyclegan", action="store_true", help="CycleGAN's step, 6 blocks")
    parser.add_argument("--patch", type=int, default=70)
    parser.add_argument(
        "--turns", type=at_least_one, default=11, help="of each variant (default 11)"
    )
    parser.add_argument("--all", action="store_true", help="also variants that were not worth it")
    parser.add_argument(
        "--cudnn-benchmark", action="store_true", help="let cuDNN time its algorithms"
    )
    parser.add_argument(
        "--loop", type=int, metavar="STEPS", help="also time a training of so many steps"
    )
    parser.add_argument("--bar", type=float, metavar="TIMES", help="the speed-up to reach")
    parser.add_argument(
        "--plain-allocation",
        action="store_true",
        help="glibc's default allocation, not that of a suite's workers",
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
    if options.cyclegan:
        config = cyclegan_cell(options.size, options.width, batch=options.batch)
    variants = list(GPU_VARIANTS if device.type == "cuda" else CPU_VARIANTS)
    variants += MORE[device.type] if options.all else []
    variants = [v for v in variants if not precision_problem(v[0], device)]
    flop, moved = work_of_step(config)
    speeds = {p: multiplications(device, p) for p in dict.fromkeys(p for p, _ in variants)}
    bytes_per_second = traffic(device)
    many = 30 if device.type == "cuda" else 1
    if device.type == "cuda":  # exclude the measurement of the ceilings
        torch.cuda.reset_peak_memory_stats(device)
    measured = time_steps(config, variants, device, steps_per_turn=many, turns=options.turns)
    peak = peak_memory_mib(device)

    failed = [timing for timing in measured if timing.failed]
    measured = [timing for timing in measured if not timing.failed]
    if not measured:
        sys.exit(f"no variant could be timed: {failed[0].failed}")

    if options.loop:
        fastest = min(measured, key=lambda timing: timing.median)
        long = changed(config, precision=fastest.precision, steps=options.loop)
        seconds = trained(long, device, fastest.execution)["seconds"] / options.loop
        print(
            f"the training loop itself, {options.loop} steps, {fastest.precision}, "
            f"{fastest.execution.engine}: {seconds:.5f} s per step"
        )

    rows = []
    for timing in measured:
        floor = max(flop / speeds[timing.precision], moved / bytes_per_second)
        rows.append(
            {
                "variant": name(timing),
                "seconds_per_step": timing.median,
                "quartiles": timing.spread,
                "times_the_first": measured[0].median / timing.median,
                "images_per_second": options.batch / timing.median,
                "floor_seconds": floor,
                "above_floor": timing.median / floor,
            }
        )
    found = {
        "machine": machine(device),
        "cudnn_benchmark": options.cudnn_benchmark,
        "plain_allocation": options.plain_allocation,
        "cell": {
            k: getattr(options, k) for k in ("size", "width", "batch", "gan", "patch", "cyclegan")
        },
        "gflop_per_step": flop / 1e9,
        "weights_gb_per_step": moved / 1e9,
        "gflops": {p: speed / 1e9 for p, speed in speeds.items()},
        "gb_per_second": bytes_per_second / 1e9,
        "variants": rows,
        "failed": {name(timing): timing.failed for timing in failed},
        "peak_memory_mib_of_all_variants": peak,
    }
    print(json.dumps({k: v for k, v in found.items() if k != "variants"}, indent=1))
    print(
        f"{'variant':34} {'per step [quartiles]':28} {'speed-up':>9} {'images/s':>9} {'× floor':>8}"
    )
    for row, timing in zip(rows, measured, strict=True):
        print(
            f"{row['variant']:34} {spread(timing.seconds):28} {row['times_the_first']:8.2f}× "
            f"{row['images_per_second']:9.1f} {row['above_floor']:8.2f}"
        )
    for timing in failed:
        print(f"{name(timing):34} not timed: {timing.failed}")
    write(found, options.json)
    best = max(row["times_the_first"] for row in rows)
    return 1 if options.bar and best < options.bar else 0


if __name__ == "__main__":
    sys.exit(main())
