"""What a study would do: cells, steps, what is done, the expected time. Reads no image."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.progress import duration
from experiments.run import jobs
from experiments.run.launcher import likely_gpus, usable_cores
from experiments.run.preflight import check_precisions, few_seeds
from experiments.study import Study, plan_jobs
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig
from pix2pix.data.cache import cached_counts, cached_fingerprint


def dry_run(study: Study) -> str:
    """Cells, steps, which are done and the expected time, without reading an image."""
    options = study.options
    known = cached_fingerprint(study.entry, options.data_root, study.size, options.cache)
    counts = cached_counts(study.entry, options.data_root, study.size, options.cache)
    pairs = counts["train"] if counts else study.entry.paper.train_images
    rows, open_cells, seen, paces = [], [], set(), []
    for plan in study.plans:
        planned = plan_jobs(study, plan, known or "", "unknown", 1)[1:]
        for cell, job in zip(plan.cells(known or ""), planned, strict=True):
            training = cell.config.training
            steps = training.steps or (training.total_steps(pairs) if pairs else None)
            state = jobs.state(job) if known else jobs.State("new")
            if state.seconds_per_step:
                paces.append(state.seconds_per_step / jobs.expected_pace(cell.config))
            again = cell.config.digest in seen
            seen.add(cell.config.digest)
            if not again and state.word not in ("done", "to score"):
                open_cells.append((cell.config, max(0, (steps or 0) - state.step)))
            word = {"stopped": f"stopped at {state.step}"}.get(state.word, state.word)
            rows.append(
                (
                    plan.suite.name,
                    cell.arm,
                    str(cell.seed),
                    str(steps or f"{training.epochs} epochs"),
                    "shared" if again and state.word == "new" else word,
                    cell.config.digest if known else "after decoding",
                )
            )
    head = ("suite", "arm", "seed", "steps", "state", "digest")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in [head, *rows]]
    told = f"{len(rows)} cells, {len(seen)} different, {len(open_cells)} to train"
    if open_cells:
        counted = bool(pairs) or all(config.training.steps for config, _ in open_cells)
        told += f"; {_time_left(open_cells, paces, options.workers, counted)}"
    lines += ["", told]
    if few := few_seeds(study.plans):
        lines.append(few)
    try:
        check_precisions(study.plans)
    except UserError as error:  # a cluster's front end has no GPU
        lines.append(f"this machine would refuse it: {error}")
    if not known:
        lines.append(
            f"data set {study.entry.name} is not decoded at {study.size[0]}×{study.size[1]} yet: "
            "what is done is known after the first run"
        )
    return "\n".join(line.rstrip() for line in lines)


def _time_left(
    cells: Sequence[tuple[CellConfig, int]],
    paces: Sequence[float],
    workers: int | None,
    counted: bool,
) -> str:
    """How long training so many steps of these cells takes. `paces`: what was measured, over what
    arithmetic expects of a CPU; `counted`: whether the number of steps is known."""
    if not counted:
        return "how long is unknown until the training pairs are counted"
    gpus = likely_gpus()
    if gpus and not paces:
        return "how long is known when a cell has trained on a GPU here"
    at_once = min(workers or gpus or usable_cores(), len(cells))
    scale = sum(paces) / len(paces) if paces else 1.0
    left = scale * sum(n * jobs.expected_pace(config) for config, n in cells) / at_once
    where = "" if gpus else " of this CPU"
    basis = "at the pace measured here" if paces else "estimated from the arithmetic, ± half"
    return (
        f"training alone takes about {duration(max(1.0, left))} on {at_once} "
        f"worker{'s' * (at_once > 1)}{where} ({basis})"
    )
