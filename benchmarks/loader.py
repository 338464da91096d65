"""The batches alone: how long random order, jitter and mirroring take, beside a training step.

python benchmarks/loader.py [--size 256] [--width 64] [--jitter 1.1171875] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ceilings import cell, machine, wait

from pix2pix.batches import Batches
from pix2pix.fast_step import execution_of
from pix2pix.step_time import time_steps

PAIRS, BATCHES, TURNS = 64, 100, 7


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--jitter", type=float, default=286 / 256)
    parser.add_argument("--precision", default="float32", help="of the step beside it")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    shape = (PAIRS, options.size, options.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
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
    ways = [(options.precision, execution_of(device, options.precision))]
    (step,) = time_steps(config, ways, device, turns=5)
    batch = statistics.median(seconds)
    found = {
        "machine": machine(device),
        "seconds_a_batch": batch,
        "images_a_second": options.batch / batch,
        "seconds_a_step": step.median,
        "share_of_step": batch / step.median,
    }
    print(
        f"a batch of {options.batch} takes {1000 * batch:.2f} ms "
        f"({found['images_a_second']:.0f} images a second), "
        f"{100 * found['share_of_step']:.1f} % of a step's {1000 * step.median:.1f} ms"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
