"""Checks before anything is decoded or trained: precision, folders, disk space."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.plan import Plan
from experiments.run import jobs
from experiments.run.jobs import Job
from experiments.run.launcher import gpu_count
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig

SEEDS_THAT_DECIDE = 5
"""A paired comparison needs at least this many seeds (docs/statistics.md)."""


def check_precisions(plans: Sequence[Plan]) -> None:
    """UserError if a GPU of this machine, or its CPU, lacks the precision of a cell."""
    configs = [config for plan in plans for config in plan.configs()]
    lower = {config.training.precision for config in configs} - {"float32"}
    if not lower:  # every device has float32: torch is not imported
        return
    import torch

    from pix2pix.model import check_precision

    devices = [torch.device("cuda", index) for index in range(gpu_count())]
    for precision in sorted(lower):
        for device in devices or [torch.device("cpu")]:
            check_precision(precision, device)


def few_seeds(plans: Sequence[Plan]) -> str:
    """A warning if suites with claims have too few seeds for a verdict; else empty.

    Not for one seed: a quick look is intended then, and the report says what it is worth.
    """
    asked = {len(plan.seeds) for plan in plans if plan.suite.claims}
    few = [count for count in asked if 1 < count < SEEDS_THAT_DECIDE]
    if not few:
        return ""
    return (
        f"{min(few)} seeds per arm cannot decide a claim by paired comparison; "
        f"use --seeds {SEEDS_THAT_DECIDE} or more (docs/statistics.md)"
    )


def check_folder(option: str, folder: Path) -> None:
    """UserError if the folder that an option names cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written: {error.strerror}") from None


def check_disk(out: Path, todo: list[Job], workers: int) -> None:
    """UserError if the disk is too small: three checkpoints per worker (two, and one that is being
    written) and one generator per cell to train."""
    configs = [
        job.config
        for job in todo
        if isinstance(job.config, CellConfig) and not (job.directory / "generator.pt").exists()
    ]
    if not configs:
        return
    sizes = [jobs.checkpoint_bytes(config) for config in configs]
    needed = sum(sizes) // 3 + max(sizes) * 3 * workers + 2**26
    free = shutil.disk_usage(out).free
    if free < needed:
        raise UserError(
            f"--out {out}: {free / 2**30:.1f} GiB are free, and {len(configs)} cells need about "
            f"{needed / 2**30:.1f} GiB; free some, or name another folder"
        )
