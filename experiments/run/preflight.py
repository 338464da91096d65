"""What must hold before anything is decoded or trained; UserError says what does not."""

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
"""The fewest whose paired differences can give a claim a verdict (docs/statistics.md)."""


def check_precisions(plans: Sequence[Plan]) -> None:
    """UserError where a GPU, or the CPU, lacks the precision of a cell."""
    configs = [config for plan in plans for config in plan.configs()]
    lower = {config.training.precision for config in configs} - {"float32"}
    if not lower:  # everything has float32, and torch need not be imported
        return
    import torch

    from pix2pix.precision import check

    devices = [torch.device("cuda", index) for index in range(gpu_count())]
    for precision in sorted(lower):
        for device in devices or [torch.device("cpu")]:
            check(precision, device)


def few_seeds(plans: Sequence[Plan]) -> str:
    """What to say where claims are asked and the seeds are too few for a verdict; else nothing.
    One seed an arm is a look, and the report says so."""
    asked = {len(plan.seeds) for plan in plans if plan.suite.claims}
    few = [count for count in asked if 1 < count < SEEDS_THAT_DECIDE]
    if not few:
        return ""
    return (
        f"{min(few)} seeds an arm decide no claim of arms that share them; "
        f"--seeds {SEEDS_THAT_DECIDE} can (docs/statistics.md)"
    )


def check_folder(option: str, folder: Path) -> None:
    """UserError where an option's folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written: {error.strerror}") from None


def check_disk(out: Path, todo: list[Job], workers: int) -> None:
    """Refuse what the disk cannot hold: two checkpoints a worker and one that is being written,
    a generator a cell to train."""
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
