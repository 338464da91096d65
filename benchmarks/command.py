"""Shared by the benchmarks: options, a cell on noise, the record of a measurement."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import queue
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from experiments.run.launcher import worker_environment
from experiments.run.session import device_name
from pix2pix.config import (
    CellConfig,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    Precision,
    TrainingSettings,
)
from pix2pix.fast_step import Execution
from pix2pix.train import Pace, train

ROOT = Path(__file__).resolve().parent.parent


def as_a_worker() -> None:
    """Restart this script with the memory allocation of a suite's workers, unless it has it.

    glibc reads these settings at process start; without them steps are 10 to 30 % slower.
    """
    of_malloc = ("MALLOC_", "GLIBC_")
    named = {k: v for k, v in worker_environment(1).items() if k.startswith(of_malloc)}
    if not named.items() <= os.environ.items():
        os.execve(sys.executable, sys.orig_argv, os.environ | named)


def parser(about: str) -> argparse.ArgumentParser:
    """A command line with --json, which writes the results to a file."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def cell_parser(about: str, size: int, width: int) -> argparse.ArgumentParser:
    """`parser` with the options of a cell."""
    made = parser(about)
    made.add_argument("--size", type=int, default=size, help=f"pixels per side (default {size})")
    made.add_argument("--width", type=int, default=width, help=f"first filters (default {width})")
    made.add_argument("--batch", type=at_least_one, default=1)
    on_gpu = torch.cuda.is_available()
    made.add_argument("--device", type=a_device, default="cuda:0" if on_gpu else "cpu")
    made.add_argument("--threads", type=at_least_one, help="CPU threads (default: torch's)")
    return made


def at_least_one(text: str) -> int:
    """An option's whole number, at least 1; ValueError otherwise."""
    if (count := int(text)) < 1:
        raise ValueError
    return count


def a_device(text: str) -> str:
    """The name of a device that this machine has."""
    if torch.device(text).type == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError(f"{text}: torch finds no GPU here")
    return text


def add_precision(made: argparse.ArgumentParser) -> None:
    made.add_argument("--precision", default="float32", choices=get_args(Precision))


def machine(device: torch.device) -> dict[str, Any]:
    """The machine and the versions of a measurement."""
    return {
        "device": device_name(str(device)),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def cell(size: int, width: int, *, batch: int = 1, gan: str = "conditional", patch: int = 70):
    """A cell as a suite would build it, for noise as data."""
    discriminator = None if gan == "none" else DiscriminatorSettings(patch=patch, width=width)
    return CellConfig(
        dataset="noise",
        fingerprint="",
        direction="a->b",
        size=(size, size),
        seed=1,
        generator=GeneratorSettings(width=width),
        discriminator=discriminator,
        objective=ObjectiveSettings(gan=gan),
        training=TrainingSettings(steps=1, batch=batch),
    )


def cyclegan_cell(size: int, width: int, *, batch: int = 1, blocks: int = 6):
    """A cell as the suite `cycle` would build it, for noise as data."""
    plain = cell(size, width, batch=batch)
    return CellConfig(
        **dict(plain)
        | {
            "method": "cyclegan",
            "generator": GeneratorSettings(
                architecture="resnet", width=width, blocks=blocks, dropout=0.0
            ),
            "discriminator": DiscriminatorSettings(width=width, norm="instance"),
            "objective": ObjectiveSettings(gan="unconditional", gan_loss="least-squares", l1=0.0),
        }
    )


def changed(config: CellConfig, **training: Any) -> CellConfig:
    """The cell with other training settings."""
    settings = config.training.model_copy(update=training)
    return config.model_copy(update={"training": settings})


def noise(count: int, size: tuple[int, int]) -> np.ndarray:
    """(count, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def trained(
    config: CellConfig,
    device: torch.device,
    execution: Execution | None = None,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """The "trained" event of a training on noise that writes its files as in a suite."""
    images, steps = noise(32, config.size), config.training.steps or 1
    events: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        train(
            config,
            (images, images),
            (images, images),
            Path(folder),
            device=device,
            record=lambda event, **fields: events.update({event: fields}),
            pace=Pace(max(1, steps // 200), max(1, steps // 8), checkpoint_seconds),
            execution=execution,
        )
    return events["trained"]


def results_of(
    processes: Sequence[multiprocessing.process.BaseProcess], found: Any, seconds: float
) -> list[Any]:
    """What the processes put into the queue `found`, in any order.

    Exits the script if one of them died, or if some have not answered after `seconds`.
    """
    results: list[Any] = []
    until = time.monotonic() + seconds
    while len(results) < len(processes):
        try:
            results.append(found.get(timeout=1.0))
        except queue.Empty:
            if any(process.exitcode for process in processes):
                sys.exit("one of the processes failed (see above)")
            if time.monotonic() > until:
                sys.exit(f"not all processes had answered after {seconds:.0f} s")
    for process in processes:
        process.join()
    return results


def write(found: dict[str, Any], path: Path | None) -> None:
    """Write the results as JSON if --json was given."""
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def spread(values: list[float]) -> str:
    """Seconds as '2.04 ms [1.98, 2.11]': median and quartiles."""
    if len(values) < 2:
        return f"{1000 * values[0]:.4g} ms"
    unit, factor = ("s", 1) if statistics.median(values) >= 1 else ("ms", 1000)
    low, middle, high = (factor * value for value in statistics.quantiles(values, n=4))
    return f"{middle:.4g} {unit} [{low:.4g}, {high:.4g}]"
