"""Check whether memory grows with the number of steps, and how much the data take.

    python benchmarks/memory.py [--json FILE]

A training of 200 steps, one of 2,000, and an epoch over memory-mapped pairs, each in its own
process. Exit status 1 if the longer training holds 2 % more, or the data more than 1.2 × their
uint8 bytes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from command import as_a_worker, cell, changed, machine, noise, parser, trained, write

from pix2pix.common.memory import peak_memory_mib
from pix2pix.data.batches import Batches

GROWTH, DATA = 1.02, 1.2
CPU = torch.device("cpu")


def training_memory(steps: int, found) -> None:
    """Put the peak memory of a small training, in MiB, into the queue `found`."""
    torch.set_num_threads(1)
    trained(changed(cell(64, 16, patch=34), steps=steps), CPU, checkpoint_seconds=5.0)
    found.put(peak_memory_mib(CPU))


def data_memory(path: str, found) -> None:
    """Put the resident memory that an epoch over a mapped file adds, in MiB, into `found`."""
    images = np.load(path, mmap_mode="r")
    batches = Batches(images, images, batch=1, jitter=286 / 256, mirror=True, seed=0, device=CPU)
    for _ in range(3):
        batches.next()
    before = resident_mib()
    for _ in range(len(images)):
        batches.next()
    found.put(resident_mib() - before)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(target, argument) -> float:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=target, args=(argument, found))
    process.start()
    value = found.get(timeout=600)
    process.join()
    return value


def main() -> int:
    as_a_worker()
    options = parser(__doc__).parse_args()
    short, long = (measured(training_memory, steps) for steps in (200, 2000))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npy"
        pairs = noise(1500, (256, 256))
        np.save(path, pairs)
        whole = pairs.nbytes / 2**20
        resident = measured(data_memory, str(path))
    found = {
        "machine": machine(CPU),
        "peak_mib_200_steps": short,
        "peak_mib_2000_steps": long,
        "growth": long / short,
        "uint8_mib": whole,
        "resident_mib": resident,
        "resident_share": resident / whole,
    }
    print(json.dumps(found, indent=1))
    write(found, options.json)
    return 0 if found["growth"] <= GROWTH and found["resident_share"] <= DATA else 1


if __name__ == "__main__":
    sys.exit(main())
