"""Time the batches alone (random order, jitter, mirroring) beside a training step.

python benchmarks/loader.py [--size 256] [--width 64] [--jitter 1.1171875] [--device cuda]
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from command import add_precision, as_a_worker, cell, cell_parser, machine, noise, write
from step_time import time_steps, wait

from pix2pix.data.batches import Batches
from pix2pix.fast_step import execution_of

PAIRS, BATCHES, TURNS = 64, 100, 7


def main() -> int:
    as_a_worker()
    parser = cell_parser(__doc__, size=256, width=64)
    add_precision(parser)
    parser.add_argument("--jitter", type=float, default=286 / 256)
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    images = noise(PAIRS, (options.size, options.size))
    batches = Batches(
        images,
        images,
        batch=options.batch,
        jitter=options.jitter,
        mirror=True,
        seed=0,
        device=device,
    )
    seconds = []
    for _ in range(TURNS):
        wait(device)
        began = time.perf_counter()
        for _ in range(BATCHES):
            batches.next()
        wait(device)
        seconds.append((time.perf_counter() - began) / BATCHES)
    config = cell(options.size, options.width, batch=options.batch)
    variant = (options.precision, execution_of(device, options.precision))
    (step,) = time_steps(config, [variant], device, turns=5)
    if step.failed:
        sys.exit(f"the step could not be timed: {step.failed}")
    batch = statistics.median(seconds)
    found = {
        "machine": machine(device),
        "seconds_per_batch": batch,
        "images_per_second": options.batch / batch,
        "seconds_per_step": step.median,
        "share_of_step": batch / step.median,
    }
    print(
        f"a batch of {options.batch} takes {1000 * batch:.2f} ms "
        f"({found['images_per_second']:.0f} images per second), "
        f"{100 * found['share_of_step']:.1f} % of a step's {1000 * step.median:.1f} ms"
    )
    write(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
