"""Total images per second of several cells at once, against one alone.

    python benchmarks/cells.py                        on the CPU: one cell per core
    python benchmarks/cells.py --device cuda --cells 1,2,4,8 --precision tf32 \\
        --how processes,mps,streams

How they share a device: `processes`, one per cell, as `run_ablations.py --workers` starts them;
`mps`, the same under NVIDIA's multi-process service, which this script starts and ends;
`streams`, one process with a CUDA graph and a stream per cell. On the CPU, a single cell uses all
threads and several processes divide them. All combinations take turns, so that a drift affects them
alike.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import torch
from command import (
    add_precision,
    as_a_worker,
    at_least_one,
    cell,
    cell_parser,
    changed,
    machine,
    results_of,
    write,
)
from step_time import wait

from pix2pix.common.memory import peak_memory_mib
from pix2pix.config import CellConfig
from pix2pix.fast_step import execution_of, make_step
from pix2pix.methods import build

WARM_UP = 3
PATIENCE = 120.0
"""Seconds within which every cell must be warm."""
HOW = ("processes", "mps", "streams")
CONTROL = "nvidia-cuda-mps-control"


def prepared(config: CellConfig, device: torch.device) -> Callable[[], object]:
    """A step of a new cell, on noise."""
    execution = execution_of(device, config.training.precision)
    model = build(config, (3, 3), device, execution.memory_format)
    x = torch.rand(config.training.batch, 3, *config.size, device=device)
    step = make_step(model, execution, (x, x))
    return lambda: step(x, x)


def in_streams(steps: list[Callable[[], object]], device: torch.device) -> Callable[[], None]:
    """One step of each cell, each in its own stream. All graphs draw dropout from the device's
    single generator, so this is for timing alone: a training needs one generator per cell."""
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in steps]

    def each() -> None:
        for step, stream in zip(steps, streams, strict=True):
            with torch.cuda.stream(stream):  # without effect where it is None
                step()

    return each


def work(
    config: CellConfig, name: str, cells: int, threads: int, seconds: float, start, found
) -> None:
    """In one process: run steps of its cells for `seconds` once all processes are warm."""
    torch.set_num_threads(threads)
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
    steps = [prepared(config, device) for _ in range(cells)]
    step = steps[0] if cells == 1 else in_streams(steps, device)
    wait(device)  # streams do not wait for the work that built the cells
    for _ in range(WARM_UP):
        step()
    wait(device)
    start.wait(PATIENCE)  # times out if another cell failed
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        rounds += 1
        if rounds % 20 == 0:  # do not launch faster than the GPU works
            wait(device)
    wait(device)
    taken = time.perf_counter() - began
    found.put((rounds * cells * config.training.batch / taken, peak_memory_mib(device) / cells))


def together(
    config: CellConfig, device: str, how: str, count: int, threads: int, seconds: float
) -> tuple[float, float]:
    """Total images per second, and the most memory of any cell in MiB."""
    context = multiprocessing.get_context("spawn")
    processes, cells = (1, count) if how == "streams" else (count, 1)
    start, found = context.Barrier(processes), context.Queue()
    arguments = (config, device, cells, max(1, threads // processes), seconds, start, found)
    started = [context.Process(target=work, args=arguments, daemon=True) for _ in range(processes)]
    with mps() if how == "mps" else contextlib.nullcontext():
        for one in started:
            one.start()
        results = results_of(started, found, PATIENCE + seconds)
    return sum(rate for rate, _ in results), max(memory for _, memory in results)


@contextlib.contextmanager
def mps() -> Iterator[None]:
    """Processes started inside this block share the GPU through their own multi-process service."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        try:
            if subprocess.run([CONTROL, "-d"]).returncode:
                sys.exit(f"{CONTROL} did not start (see above)")
            yield
        finally:
            subprocess.run([CONTROL], input="quit\n", text=True, check=False)
            for name in names:
                del os.environ[name]


def numbers(text: str) -> list[int]:
    """'1,2,4' to [1, 2, 4]."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def ways(text: str) -> list[str]:
    """'processes,streams' to a list of them."""
    found = text.split(",")
    if not set(found) <= set(HOW):
        raise ValueError
    return found


def main() -> int:
    as_a_worker()
    parser = cell_parser(__doc__, size=128, width=32)
    add_precision(parser)
    parser.add_argument(
        "--cells",
        type=numbers,
        metavar="1,2,4",
        help="how many at once (default: 1, and one cell per core)",
    )
    parser.add_argument(
        "--how", type=ways, default=["processes"], metavar=",".join(HOW), help="(default processes)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn (default 10)")
    parser.add_argument("--turns", type=at_least_one, default=3)
    options = parser.parse_args()
    on_gpu = options.device.startswith("cuda")
    if "mps" in options.how and not (on_gpu and shutil.which(CONTROL)):
        parser.error(f"--how mps: needs an NVIDIA GPU and {CONTROL}")
    threads = options.threads or torch.get_num_threads()
    counts = options.cells or [1, threads]
    config = cell(options.size, options.width, batch=options.batch)
    config = changed(config, precision=options.precision)

    sharing = [(how, count) for how in options.how for count in counts]
    rates: dict[tuple[str, int], list[float]] = {one: [] for one in sharing}
    memory: dict[tuple[str, int], float] = {}
    for _ in range(options.turns):
        for how, count in sharing:
            rate, memory[how, count] = together(
                config, options.device, how, count, threads, options.seconds
            )
            rates[how, count].append(rate)
    first = statistics.median(rates[sharing[0]])
    rows = [
        {
            "how": how,
            "cells": count,
            "images_per_second": statistics.median(rates[how, count]),
            "turns": rates[how, count],
            "times_the_first": statistics.median(rates[how, count]) / first,
            "peak_memory_mib_per_cell": memory[how, count],
        }
        for how, count in sharing
    ]
    found = {"machine": machine(torch.device(options.device)), "cells": rows}
    for row in rows:
        print(
            f"{row['cells']:3} cells, {row['how']}: {row['images_per_second']:8.1f} images/s"
            f" in total, {row['times_the_first']:.2f} × the first; "
            f"{row['peak_memory_mib_per_cell']:,.0f} MiB per cell"
        )
    write(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
