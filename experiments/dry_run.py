"""`--dry-run`: the cells of a study, which are finished, and the expected time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from itertools import product

from experiments.progress import duration
from experiments.run.jobs import State, expected_pace, state
from experiments.run.launcher import gpu_count, usable_cores
from experiments.run.preflight import check_precisions, few_seeds
from experiments.study import Study, plan_jobs
from pix2pix.common.errors import UserError
from pix2pix.config import CellSettings
from pix2pix.data.cache import cached_counts, cached_fingerprint


@dataclass(frozen=True)
class _Row:
    """One line of the table: a cell, and how far it has come."""

    suite: str
    arm: str
    seed: int
    steps: str
    state: str
    digest: str


def dry_run(study: Study) -> str:
    """Cells, steps, which are finished and the expected time, without reading an image."""
    options = study.options
    known = cached_fingerprint(study.entry, options.data_root, study.size, options.cache)
    counts = cached_counts(study.entry, options.data_root, study.size, options.cache)
    pairs = counts["train"] if counts else study.entry.paper.train_images
    rows: list[_Row] = []
    seen: set[CellSettings] = set()
    to_train: list[tuple[CellSettings, int]] = []
    paces: list[float] = []
    for plan in study.plans:
        jobs = {job.digest: job for job in plan_jobs(study, plan, known)} if known else {}
        for seed, arm in product(plan.seeds, plan.arms):
            config = plan.config(arm, seed)
            digest = config.with_data(known).digest if known else ""
            found = state(jobs[digest]) if known else State("new")
            training = config.training
            steps = training.steps or (training.total_steps(pairs) if pairs else None)
            if found.seconds_per_step:
                paces.append(found.seconds_per_step / expected_pace(config))
            shared = config in seen
            seen.add(config)
            if not shared and found.word not in ("done", "to score"):
                to_train.append((config, max(0, (steps or 0) - found.step)))
            word = {"stopped": f"stopped at {found.step}"}.get(found.word, found.word)
            rows.append(
                _Row(
                    plan.suite.name,
                    arm,
                    seed,
                    str(steps or f"{training.epochs} epochs"),
                    "shared" if shared and found.word == "new" else word,
                    digest or "after decoding",
                )
            )
    summary = f"{len(rows)} cells, {len(seen)} different, {len(to_train)} to train"
    if to_train:
        counted = bool(pairs) or all(config.training.steps for config, _ in to_train)
        summary += f"; {_time_left(to_train, paces, options.workers, counted)}"
    return "\n".join([*_aligned(rows), "", summary, *_warnings(study, bool(known))])


def _aligned(rows: Sequence[_Row]) -> list[str]:
    """The rows under a head, in columns."""
    head = tuple(field.name for field in fields(_Row))
    table = [head, *(tuple(str(value) for value in astuple(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _warnings(study: Study, decoded: bool) -> list[str]:
    """What a user should know before starting this study."""
    warnings = [few] if (few := few_seeds(study.plans)) else []
    try:
        check_precisions(study.plans)
    except UserError as error:  # a cluster's login node has no GPU
        warnings.append(f"this machine would refuse it: {error}")
    if not decoded:
        warnings.append(
            f"data set {study.entry.name} is not decoded at {study.size[0]}×{study.size[1]} yet: "
            "which cells are finished is known after the first run"
        )
    return warnings


def _time_left(
    cells: Sequence[tuple[CellSettings, int]],
    paces: Sequence[float],
    workers: int | None,
    counted: bool,
) -> str:
    """How long it takes to train these cells, each with its number of steps.

    `paces`: measured seconds per step over those that `expected_pace` predicts for a CPU.
    `counted`: whether the numbers of steps are known.
    """
    if not counted:
        return "the time is unknown until the training pairs are counted"
    gpus = gpu_count()
    if gpus and not paces:
        return "the time is unknown until a cell has trained on a GPU here"
    at_once = min(workers or gpus or usable_cores(), len(cells))
    scale = sum(paces) / len(paces) if paces else 1.0
    left = scale * sum(n * expected_pace(config) for config, n in cells) / at_once
    where = "" if gpus else " of this CPU"
    basis = "at the pace measured here" if paces else "estimated from the arithmetic, ± half"
    return (
        f"training alone takes about {duration(max(1.0, left))} on {at_once} "
        f"worker{'s' * (at_once > 1)}{where} ({basis})"
    )
