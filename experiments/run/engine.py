"""Where the workers of a study run: the interface that every engine has, and this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Protocol

from experiments.checks import check_disk, check_machine
from experiments.plan import Plan
from experiments.run.jobs import Job
from experiments.run.launcher import (
    Outcome,
    Watch,
    choose_workers,
    gpu_count,
    launch,
    unusable_gpus,
)
from experiments.tracking.process import say
from pix2pix.common.errors import UserError


@dataclass(frozen=True)
class ClusterOptions:
    """The options of engines beyond this machine."""

    address: str | None = None
    """Of a Ray cluster."""
    no_shared_folder: bool = False
    """Whether the nodes of a Ray cluster keep runs on their own disks and send them here."""
    gpus_per_run: float | None = None
    """On Ray also a part of one."""
    partition: str | None = None
    time: str | None = None
    array_parallelism: int | None = None
    sbatch: tuple[tuple[str, str], ...] = ()
    """Further options of sbatch, such as account."""
    wait: bool = False


OF_ENGINE = {
    "local": (),
    "ray": ("address", "no_shared_folder", "gpus_per_run"),
    "slurm": ("gpus_per_run", "partition", "time", "array_parallelism", "sbatch", "wait"),
}
"""The engines, and which of the options each takes."""


def check_options(engine: str, options: ClusterOptions) -> None:
    """UserError for an option that the engine does not take, or whose value is wrong."""
    for field in fields(options):
        name = field.name
        if getattr(options, name) not in (None, (), False) and name not in OF_ENGINE[engine]:
            takers = " or ".join(e for e, names in OF_ENGINE.items() if name in names)
            raise UserError(f"--{name.replace('_', '-')}: is for --engine {takers}")
    gpus, most = options.gpus_per_run, options.array_parallelism
    if gpus is not None and not 0 <= gpus < math.inf:
        raise UserError(f"--gpus-per-run {gpus:g}: must be at least 0")
    if gpus and gpus != 1 and (engine == "slurm" or gpus > 1):
        raise UserError(f"--gpus-per-run {gpus:g}: a run uses one GPU, or, on Ray, a part of one")
    for name, value in options.sbatch:
        if name.startswith(("gres", "gpus")) and not gpus:
            raise UserError(
                f"--sbatch {name}={value}: runs train on the CPU unless --gpus-per-node 1 is given"
            )
    if most is not None and most < 1:
        raise UserError(f"--array-parallelism {most}: must be at least 1")


class Engine(Protocol):
    """Runs jobs somewhere. Each job is done by one worker process, which owns its run directory."""

    waits: bool
    """Whether `launch` returns when the jobs have ended, not as soon as they are handed over."""

    def check(self, plans: Sequence[Plan]) -> None:
        """UserError, before the data are read, if the plans cannot be trained there."""

    def place(self, jobs: Sequence[Job]) -> str:
        """Where the jobs will run, in words that follow "5 to do"; UserError if they never can."""

    def at_once(self, jobs: Sequence[Job]) -> int:
        """How many of the jobs run at the same time, for the estimate of the time left."""

    def launch(
        self, jobs: Sequence[Job], watch: Watch, signals: Sequence[int]
    ) -> dict[str, Outcome]:
        """Run the jobs, in their order, and return how each ended, by digest.

        `watch` gets their events. The first entry in `signals`, a list that grows, asks all workers
        to write a checkpoint and stop; the second ends the launch at once.
        """


class Local:
    """This machine: one worker per GPU or CPU core."""

    waits = True

    def __init__(self, out: Path, workers: int | None) -> None:
        self.out, self.workers = out, workers

    @cached_property
    def gpus(self) -> int:
        return gpu_count()  # imports torch

    def check(self, plans: Sequence[Plan]) -> None:
        check_machine(plans)

    def place(self, jobs: Sequence[Job]) -> str:
        workers = self.at_once(jobs)
        check_disk(self.out, jobs, workers)
        if warning := unusable_gpus():
            say(warning)
        return f" on {self.gpus} GPU(s)" if self.gpus else f", {workers} at a time on the CPU"

    def at_once(self, jobs: Sequence[Job]) -> int:
        return choose_workers(self.workers, self.gpus, jobs)

    def launch(
        self, jobs: Sequence[Job], watch: Watch, signals: Sequence[int]
    ) -> dict[str, Outcome]:
        return launch(jobs, self.at_once(jobs), self.gpus, watch, signals)
