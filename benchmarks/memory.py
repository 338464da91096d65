"""Whether memory grows: with the number of steps, and by how much with the data.

    python benchmarks/memory.py [--json FILE]

A training of 200 steps and one of 2,000, each in a process of its own, and an epoch over mapped
pairs. Exit status 1 where the longer one holds 2 % more, or the data more than 1.2 × their uint8
bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from ceilings import cell, machine

from pix2pix.batches import Batches
from pix2pix.config import CellConfig
from pix2pix.memory import peak_memory_mib
from pix2pix.train import Pace, train

GROWTH, DATA = 1.02, 1.2
CPU = torch.device("cpu")


def of_training(steps: int, found) -> None:
    """Peak memory in MiB of a small training."""
    torch.set_num_threads(1)
    config = cell(64, 16, patch=34)
    training = config.training.model_copy(update={"steps": steps})
    config: CellConfig = config.model_copy(update={"training": training})
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        train(
            config,
            (images, images),
            (images, images),
            Path(folder),
            device=CPU,
            record=lambda *_, **__: None,
            pace=Pace(max(1, steps // 200), max(1, steps // 8), 5.0),
        )
    found.put(peak_memory_mib(CPU))


def of_data(path: str, found) -> None:
    """Resident memory in MiB that an epoch over the pairs of a mapped file adds."""
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    short, long = (measured(of_training, steps) for steps in (200, 2000))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npy"
        pairs = np.random.default_rng(0).integers(0, 256, (1500, 256, 256, 3), np.uint8)
        np.save(path, pairs)
        whole = pairs.nbytes / 2**20
        resident = measured(of_data, str(path))
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
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if found["growth"] <= GROWTH and found["resident_share"] <= DATA else 1


if __name__ == "__main__":
    sys.exit(main())
