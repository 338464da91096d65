"""Several cells at once against one alone: images a second in sum.

    python benchmarks/cells.py                        on the CPU: a thread a cell, a cell a core
    python benchmarks/cells.py --device cuda --cells 1,2,4,8 --precision tf32

Each cell is a process of its own, as `run_ablations.py --workers` starts them. On the CPU one cell
has all threads, several divide them. The counts take turns, so that what drifts meets all of them.
"""

from __future__ import annotations

import multiprocessing
import queue
import statistics
import sys
import time

import torch
from command import add_precision, cell, cell_parser, changed, machine, write

from pix2pix.config import CellConfig
from pix2pix.fast_step import execution_of, make_step
from pix2pix.memory import peak_memory_mib
from pix2pix.model import build
from pix2pix.step_time import wait

WARM_UP = 3
PATIENCE = 120.0
"""Seconds in which every cell must be warm."""


def work(config: CellConfig, name: str, threads: int, seconds: float, start, found) -> None:
    """One cell: steps for `seconds` after all are warm."""
    torch.set_num_threads(threads)
    if name.startswith("cuda"):
        torch.cuda.set_device(name)
    device, precision = torch.device(name), config.training.precision
    execution = execution_of(device, precision)
    model = build(config, (3, 3), device, execution.memory_format)
    x = torch.rand(config.training.batch, 3, *config.size, device=device)
    step = make_step(model, execution, (x, x))
    for _ in range(WARM_UP):
        step(x, x)
    wait(device)
    start.wait(PATIENCE)  # in vain where another cell failed
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step(x, x)
        steps += 1
        if steps % 20 == 0:  # a GPU must not be given more than it does
            wait(device)
    wait(device)
    taken = time.perf_counter() - began
    found.put((steps * config.training.batch / taken, peak_memory_mib(device)))


def together(config: CellConfig, device: str, count: int, threads: int, seconds: float):
    """Images a second in sum, and the most memory of one cell in MiB."""
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(count), context.Queue()
    arguments = (config, device, max(1, threads // count), seconds, start, found)
    cells = [context.Process(target=work, args=arguments, daemon=True) for _ in range(count)]
    for one in cells:
        one.start()
    try:
        results = [found.get(timeout=PATIENCE + seconds) for _ in cells]
    except queue.Empty:
        sys.exit(f"{count} cells at once: one of them failed (see above)")
    for one in cells:
        one.join()
    return sum(rate for rate, _ in results), max(memory for _, memory in results)


def numbers(text: str) -> list[int]:
    """'1,2,4' to [1, 2, 4]."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def main() -> int:
    parser = cell_parser(__doc__, size=128, width=32)
    add_precision(parser)
    parser.add_argument(
        "--cells",
        type=numbers,
        metavar="1,2,4",
        help="how many at once (default: 1, a cell a core)",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn (default 10)")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    threads = options.threads or torch.get_num_threads()
    counts = options.cells or [1, threads]
    config = cell(options.size, options.width, batch=options.batch)
    config = changed(config, precision=options.precision)

    rates: dict[int, list[float]] = {count: [] for count in counts}
    memory: dict[int, float] = {}
    for _ in range(options.turns):
        for count in counts:
            rate, memory[count] = together(config, options.device, count, threads, options.seconds)
            rates[count].append(rate)
    alone = statistics.median(rates[counts[0]])
    rows = [
        {
            "cells": count,
            "images_a_second": statistics.median(rates[count]),
            "turns": rates[count],
            "times_the_first": statistics.median(rates[count]) / alone,
            "peak_memory_mib_a_cell": memory[count],
        }
        for count in counts
    ]
    found = {"machine": machine(torch.device(options.device)), "cells": rows}
    for row in rows:
        print(
            f"{row['cells']:3} cells: {row['images_a_second']:8.1f} images a second in sum, "
            f"{row['times_the_first']:.2f} × {counts[0]}; {row['peak_memory_mib_a_cell']:,.0f} MiB"
        )
    write(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
