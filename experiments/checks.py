"""What is refused or said before anything is trained: labels, networks, rights, disk, seeds."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.plan import SEEDS_THAT_DECIDE, Plan
from experiments.run.jobs import Job, checkpoint_bytes, needed_scores, state
from experiments.run.launcher import gpu_count
from experiments.spec import parse_claim
from experiments.tracking.process import say
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig
from pix2pix.data.cache import LabelledPart, mostly_ignored
from pix2pix.data.registry import DatasetEntry


def check_labels(entry: DatasetEntry, data_root: Path, labelled: dict[str, LabelledPart]) -> None:
    """Say which part of the labels has no class and which classes never occur; UserError if more
    is ignored than the entry allows."""
    if any(part.ignored for part in labelled.values()):
        shares = ", ".join(f"{part.ignored:.1%} of {split}" for split, part in labelled.items())
        text = f"label pixels of no class: {shares}"
        most = max(part.ignored for part in labelled.values())
        if entry.ignore == "rest" or most > entry.ignore_at_most:
            text += f"; mostly the values {mostly_ignored(entry, data_root)}"
        if most > entry.ignore_at_most:
            raise UserError(
                f"data set {entry.name}: {text}: are these classes under other values or colours?"
                f" If not, write ignore_at_most: {math.ceil(100 * most) / 100} in its entry"
            )
        say(f"data set {entry.name}: {text}")
    for split, part in labelled.items():
        if part.absent:
            say(f"data set {entry.name}: never in {split}: {', '.join(part.absent)}")


def check_networks(plans: Sequence[Plan]) -> None:
    """UserError if the disk lacks the pretrained network of an objective."""
    if any(config.objective.uses_vgg for plan in plans for config in plan.configs()):
        from pix2pix.data.vgg16 import check_weights

        check_weights()


def check_machine(plans: Sequence[Plan]) -> None:
    """UserError if a GPU of this machine, or its CPU, lacks the precision of a cell, or its disk
    the pretrained network of an objective."""
    check_networks(plans)
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


def advice(plans: Sequence[Plan]) -> list[str]:
    """What to know before the training: texts, of which each may be empty."""
    return [few_seeds(plans), *map(without_arms, plans), *map(unjudged, plans)]


def without_arms(plan: Plan) -> str:
    """A note if the data set has no images, or no pairs, for some arms; else empty."""
    if not plan.left_out:
        return ""
    arms = ", ".join(plan.left_out)
    lacks = "images, or no pairs," if plan.entry.unpaired else "images"
    return (
        f"suite {plan.suite.name}: left out, as {plan.entry.name} has no {lacks} for them: {arms}"
    )


def unjudged(plan: Plan) -> str:
    """A warning if the data set has no score that any claim of the suite is about; else empty."""
    claimed = {parse_claim(claim)[3].partition(".")[0] for claim in plan.suite.claims}
    measured = {s for one in plan.directions for s in needed_scores(plan.entry, one)}
    measured |= {"diversity"} & set(plan.suite.scores)
    if not claimed or claimed & measured:
        return ""
    why = ""
    if claimed & {"fcn", "labels"}:
        why = ", which need a side with labels and classes (docs/datasets.md)"
    elif plan.entry.unpaired:
        why = ", which need pairs"
    return (
        f"suite {plan.suite.name}: none of its claims can be judged on {plan.entry.name} "
        f"({plan.direction}): they are on {', '.join(sorted(claimed))} scores{why}"
    )


def few_seeds(plans: Sequence[Plan]) -> str:
    """A warning if suites with claims have too few seeds for a verdict; else empty.

    Not for one seed: a quick look is intended then, and the report says what it is worth.
    """
    fewest = min((len(plan.seeds) for plan in plans if plan.suite.claims), default=0)
    if not 1 < fewest < SEEDS_THAT_DECIDE:
        return ""
    return (
        f"{fewest} seeds per arm cannot decide a claim by paired comparison; "
        f"use --seeds {SEEDS_THAT_DECIDE} or more (docs/statistics.md)"
    )


def check_rights(out: Path, jobs: Iterable[Job]) -> None:
    """UserError if a colleague's files in `out` cannot be read, or written where they must be."""
    to_read, to_write = [], [out / "mirror.lock", *out.glob("suites/*"), *out.glob("suites/*/*")]
    to_write += [out / kind for kind in ("cache", "cells", "references", "scorers", "suites")]
    for job in jobs:
        to_read += [job.directory, *_content(job.directory)]
    for path in (p for p in to_read if p.exists()):
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise UserError(_no_right(path, "read", out))
    for job in (job for job in jobs if state(job).word != "done"):
        reference = out / "references" / job.reference
        for folder in (job.directory, reference):
            to_write += [folder, *_content(folder)]
        to_write += out.glob(f"scorers/{job.reference}*")
    for path in (p for p in dict.fromkeys(to_write) if p.exists()):
        if not os.access(path, os.W_OK):
            raise UserError(_no_right(path, "written", out))


def _content(folder: Path) -> list[Path]:
    """The entries of a folder; empty if there is none, or if it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _no_right(path: Path, action: str, out: Path) -> str:
    try:
        owner = path.owner()
    except KeyError:  # of another machine
        owner = f"user {path.stat().st_uid}"
    return (
        f"{path}: belongs to {owner} and cannot be {action} by you: share the folder with a group "
        f"(each user: umask 002; its owner: chgrp -R GROUP {out}; chmod -R g+rwX {out}), or give a "
        "folder of your own by --out (for the reports alone: --report-only)"
    )


def check_folder(option: str, folder: Path) -> None:
    """UserError if the folder that an option names cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written: {error.strerror}") from None


def check_disk(out: Path, todo: Sequence[Job], workers: int) -> None:
    """UserError if the disk is too small: three checkpoints per worker (two, and one that is being
    written) and one generator per cell to train."""
    sizes = [
        checkpoint_bytes(job.config)
        for job in todo
        if isinstance(job.config, CellConfig) and not (job.directory / "generator.pt").exists()
    ]
    needed = sum(sizes) // 3 + max(sizes, default=0) * 3 * workers
    free = shutil.disk_usage(out).free
    if free < needed:
        raise UserError(
            f"--out {out}: {free / 2**30:.1f} GiB are free, and {len(sizes)} cells need about "
            f"{needed / 2**30:.1f} GiB; free some, or name another folder"
        )
