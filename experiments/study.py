"""Suites on one data set, from plan to trained and scored runs: what `run_ablations.py` does."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from eval.bootstrap import clip_numbers
from experiments.plan import SEEDS_THAT_DECIDE, Plan, make_plan
from experiments.progress import duration, make_progress
from experiments.record import write_record
from experiments.run.jobs import (
    DataSource,
    Job,
    State,
    build_jobs,
    checkpoint_bytes,
    expected_pace,
    needed_scores,
    state,
    step_gflop,
)
from experiments.run.launcher import (
    Outcome,
    choose_workers,
    gpu_count,
    launch,
    unusable_gpus,
    usable_cores,
)
from experiments.run.signals import collected_signals
from experiments.spec import load_suite, parse_claim, suite_names
from experiments.tracking.check import check_store
from experiments.tracking.process import Ending, say, start_mirror, stop_mirror
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig, CellSettings
from pix2pix.data.cache import (
    LabelledPart,
    cached_counts,
    cached_fingerprint,
    check_source,
    labelled_parts,
    mostly_ignored,
    prepare,
)
from pix2pix.data.layouts import find_pairs
from pix2pix.data.recognise import located
from pix2pix.data.registry import DatasetEntry, find_entry, load_registry


@dataclass(frozen=True)
class Options:
    """The command line of `run_ablations.py`, parsed but not yet checked."""

    suites: tuple[str, ...]
    profile: str = "quick"
    dataset: str = "procedural"
    data_root: Path = Path("data")
    datasets: Path | None = None
    seeds: tuple[int, ...] | None = None
    arms: tuple[str, ...] | None = None
    overrides: Sequence[tuple[str, Any]] = ()
    out: Path = Path("runs")
    reports: Path = Path("reports/out")
    workers: int | None = None
    threads: int = 1
    checkpoint_every: float = 60.0


@dataclass(frozen=True)
class Study:
    """Checked plans on one data set."""

    options: Options
    entry: DatasetEntry
    plans: tuple[Plan, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.plans[0].size


def make_study(options: Options) -> Study:
    """Check everything that can be checked without reading an image; UserError otherwise."""
    entry = find_entry(load_registry(options.datasets), options.dataset)
    everything = options.suites == ("all",)
    plans: dict[str, Plan] = {}
    for name in suite_names() if everything else options.suites:
        suite = load_suite(name)
        try:
            plan = make_plan(
                suite,
                entry,
                options.profile,
                seeds=options.seeds,
                arms=options.arms,
                overrides=dict(options.overrides),
            )
            if entry.recognise:  # the same entry names other people's data, too
                plan = dataclasses.replace(plan, place=_place(options.data_root))
            plan.configs()
            if everything:
                _check_networks([plan])
        except UserError as error:
            if not everything:
                raise
            print(f"suite {name} skipped: {error}", file=sys.stderr)
            continue
        if suite.name in plans:
            raise UserError(f"--suite {name}: another suite has the name {suite.name}: rename it")
        plans[suite.name] = plan
    if not plans:
        raise UserError(f"no suite fits data set {entry.name} with these options")
    return Study(options, entry, tuple(plans.values()))


def _place(data_root: Path) -> str:
    """The last two names of a folder's path, as a part of a file name."""
    return re.sub(r"[^\w.-]", "-", "-".join(data_root.resolve().parts[-2:]).strip("/-"))


def execute(study: Study) -> Ending:
    """Train, score and mirror everything that is not finished."""
    options = study.options
    _check_machine(study.plans)
    for note in check_source(study.entry, options.data_root, study.plans[0].suite.direction):
        say(f"data set {study.entry.name}: {note}")
    check_folder("--out", options.out)
    check_folder("--reports", options.reports)
    check_store([plan.suite.name for plan in study.plans])
    fingerprint, pairs, labelled = prepare_data(study)
    here = commit()
    planned: dict[str, Job] = {}
    for plan in study.plans:
        for job in plan_jobs(study, plan, fingerprint, here):
            planned.setdefault(job.digest, job)
    check_rights(options.out, planned.values())
    records = [
        write_record(plan, fingerprint, options.out, here, pairs, labelled) for plan in study.plans
    ]
    todo = [job for job in planned.values() if state(job).word != "done"]
    todo.sort(key=_priority)
    text = f"{len(planned) - len(todo)} of {len(planned)} jobs are finished; {len(todo)} to do"
    gpus = gpu_count() if todo else 0
    if todo:
        workers = choose_workers(options.workers, gpus, todo)
        text += f" on {gpus} GPU(s)" if gpus else f", {workers} at a time on the CPU"
        _check_disk(options.out, todo, workers)
        for warning in filter(None, (unusable_gpus(), *advice(study.plans))):
            say(warning)
    say(text)
    tracker = start_mirror(options.out, records)
    with collected_signals() as signals:
        outcomes = _launch(options, todo, gpus, signals)
        again = [] if signals or not todo else _outdated(planned.values(), outcomes)
        if again:
            say(f"re-scoring {len(again)} runs: their scorer or the LPIPS weights changed")
            outcomes |= _launch(options, again, gpus, signals)
        tracked = stop_mirror(tracker, signals)
    words = {outcome.word for outcome in outcomes.values()}
    for digest, outcome in outcomes.items():
        if outcome.word == "failed":
            job = planned[digest]
            say(f"FAILED {job.title}: {outcome.reason} (log: {job.directory / 'log.txt'})")
    if signals or "stopped" in words:
        say("stopped; run the same command again to resume")
        # If only a worker was signalled, assume SIGTERM.
        return Ending(128 + (signals[0] if signals else signal.SIGTERM), False)
    untracked = not tracked and importlib.util.find_spec("mlflow") is not None
    return Ending(1 if "failed" in words or untracked else 0, tracked)


def _launch(
    options: Options, jobs: Sequence[Job], gpus: int, signals: Sequence[int]
) -> dict[str, Outcome]:
    """Run jobs and show their progress."""
    workers = choose_workers(options.workers, gpus, jobs)
    progress = make_progress(jobs, workers)
    try:
        return launch(jobs, workers, gpus, progress, signals)
    finally:
        progress.close()


def commit() -> str:
    """The commit of the running code, with `+changes` if the working tree differs from it; of a
    copy without git, what the variable SOURCE_COMMIT says."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    if head is None:
        return os.environ.get("SOURCE_COMMIT", "unknown")
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return "unknown"  # installed: the repository around it, if there is one, is another's
    return head + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def _outdated(planned: Iterable[Job], outcomes: dict[str, Outcome]) -> list[Job]:
    """Finished jobs whose scores are outdated: the scorer was trained again because its file was
    damaged or lost, or the LPIPS weights have arrived."""
    finished = (j for j in planned if j.digest not in outcomes or outcomes[j.digest].word == "done")
    return sorted((job for job in finished if state(job).word == "to score"), key=_priority)


def _priority(job: Job) -> tuple[float, ...]:
    """Sort key of jobs. References come first, because every cell's scores need them; then seed by
    seed, so that an interrupted study has all arms of some seeds; within a seed the longest job
    first, so that no processor idles at the end."""
    if not isinstance(job.config, CellConfig):
        return (0.0,)
    return (1.0, job.config.seed, -step_gflop(job.config))


def plan_jobs(study: Study, plan: Plan, fingerprint: str, commit: str = "unknown") -> list[Job]:
    """The jobs of one plan; see `build_jobs`."""
    options = study.options
    registry = str(options.datasets.resolve()) if options.datasets else None
    data = DataSource(
        study.entry.name,
        registry,
        str(options.data_root.resolve()),
        str((options.out / "cache").resolve()),
    )
    return build_jobs(
        plan,
        fingerprint,
        data,
        options.out.resolve(),
        commit=commit,
        threads=options.threads,
        checkpoint_seconds=options.checkpoint_every,
    )


def prepare_data(study: Study) -> tuple[str, dict[str, int], dict[str, LabelledPart]]:
    """Decode the data set once for all workers; its fingerprint, and by split the number of pairs
    and the part of the labels that has a class."""
    options = study.options

    def progress(done: int, total: int) -> None:
        if done % 1000 == 0:
            say(f"decoded {done} of {total}")

    say(f"data set {study.entry.name} at {study.size[0]}×{study.size[1]}: preparing")
    data = prepare(
        study.entry,
        options.data_root,
        study.size,
        study.plans[0].suite.direction,
        options.out / "cache",
        progress=progress,
    )
    for split in ("train", "test"):
        labels = getattr(data, split).labels
        if labels is not None and (labels == 255).all():
            raise UserError(
                f"data set {study.entry.name}: no pixel of the {split} split has a class: "
                "check classes and ignore in its entry"
            )
    if study.entry.clip:
        clip_numbers(data.test.names, study.entry.clip)
    pairs = {split: len(getattr(data, split).names) for split in ("train", "val", "test")}
    counts = ", ".join(f"{count} {split}" for split, count in pairs.items())
    say(f"data set {study.entry.name}: {counts}; fingerprint {data.fingerprint[:12]}")
    labelled = labelled_parts(data)
    _check_labels(study, labelled)
    return data.fingerprint, pairs, labelled


def _check_labels(study: Study, labelled: dict[str, LabelledPart]) -> None:
    """Say which part of the labels has no class and which classes never occur; UserError if more
    is ignored than the entry allows."""
    entry = study.entry
    if any(part.ignored for part in labelled.values()):
        shares = ", ".join(f"{part.ignored:.1%} of {split}" for split, part in labelled.items())
        text = f"label pixels of no class: {shares}"
        most = max(part.ignored for part in labelled.values())
        if entry.ignore == "rest" or most > entry.ignore_at_most:
            text += f"; mostly the values {mostly_ignored(entry, study.options.data_root)}"
        if most > entry.ignore_at_most:
            raise UserError(
                f"data set {entry.name}: {text}: are these classes under other values or colours?"
                f" If not, write ignore_at_most: {math.ceil(100 * most) / 100} in its entry"
            )
        say(f"data set {entry.name}: {text}")
    for split, part in labelled.items():
        if part.absent:
            say(f"data set {entry.name}: never in {split}: {', '.join(part.absent)}")


def _check_networks(plans: Sequence[Plan]) -> None:
    """UserError if the disk lacks the pretrained network of an objective."""
    if any(config.objective.uses_vgg for plan in plans for config in plan.configs()):
        from pix2pix.data.vgg16 import check_weights

        check_weights()


def _check_machine(plans: Sequence[Plan]) -> None:
    """UserError if a GPU of this machine, or its CPU, lacks the precision of a cell, or its disk
    the pretrained network of an objective."""
    _check_networks(plans)
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
    return [few_seeds(plans), *map(unjudged, plans)]


def unjudged(plan: Plan) -> str:
    """A warning if the data set has no score that any claim of the suite is about; else empty."""
    claimed = {parse_claim(claim)[3].partition(".")[0] for claim in plan.suite.claims}
    if not claimed or claimed & set(needed_scores(plan.entry, plan.direction)):
        return ""
    return (
        f"suite {plan.suite.name}: none of its claims can be judged on {plan.entry.name} "
        f"({plan.direction}): they are on {', '.join(sorted(claimed))} scores, which need a side "
        "with labels and classes (docs/datasets.md)"
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


def _check_disk(out: Path, todo: list[Job], workers: int) -> None:
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


def dry_run(study: Study) -> str:
    """Cells, steps, which are finished and the expected time, without reading an image."""
    options = study.options
    cache = (study.entry, options.data_root, study.size, options.out / "cache")
    known, counts = cached_fingerprint(*cache), cached_counts(*cache)
    pairs = counts["train"] if counts else study.entry.paper.train_images
    rows = [("suite", "arm", "seed", "steps", "state", "digest")]
    seen: set[CellSettings] = set()
    to_train: list[tuple[CellSettings, int | None]] = []
    paces: list[float] = []
    for plan in study.plans:
        jobs = {job.digest: job for job in plan_jobs(study, plan, known)} if known else {}
        for seed, arm in product(plan.seeds, plan.arms):
            config = plan.config(arm, seed)
            digest = config.with_data(known).digest if known else ""
            found = state(jobs[digest]) if known else State("new")
            length = config.training
            steps = length.steps or (length.total_steps(pairs) if pairs else None)
            if found.seconds_per_step:
                paces.append(found.seconds_per_step / expected_pace(config))
            word = f"stopped at {found.step}" if found.word == "stopped" else found.word
            if config in seen:
                word = "shared" if word == "new" else word
            elif word not in ("done", "to score"):
                to_train.append((config, steps and max(0, steps - found.step)))
            seen.add(config)
            shown = str(steps or f"{length.epochs} epochs")
            rows.append((plan.suite.name, arm, str(seed), shown, word, digest or "after decoding"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    summary = f"{len(rows) - 1} cells, {len(seen)} different, {len(to_train)} to train"
    if to_train:
        summary += f"; {_time_left(to_train, paces, options.workers)}"
    warnings = [text for text in advice(study.plans) if text]
    try:
        if not known and study.entry.layout != "procedural":
            find_pairs(located(study.entry, options.data_root)[0], options.data_root)
        _check_machine(study.plans)
    except UserError as error:  # a cluster's login node has no GPU
        warnings.append(f"this machine would refuse it: {error}")
    if not known:
        warnings.append(
            f"data set {study.entry.name} is not decoded at {study.size[0]}×{study.size[1]} yet: "
            "which cells are finished is known after the first run"
        )
    return "\n".join([*table, "", summary, *warnings])


def _time_left(
    cells: Sequence[tuple[CellSettings, int | None]], paces: Sequence[float], workers: int | None
) -> str:
    """How long it takes to train these cells, each with its number of steps, if that is known.

    `paces`: measured seconds per step over those that `expected_pace` predicts for a CPU.
    """
    known = [(config, steps) for config, steps in cells if steps is not None]
    if len(known) < len(cells):
        return "the time is unknown until the training pairs are counted"
    gpus = gpu_count()
    if gpus and not paces:
        return "the time is unknown until a cell has trained on a GPU here"
    at_once = min(workers or gpus or usable_cores(), len(cells))
    scale = sum(paces) / len(paces) if paces else 1.0
    left = scale * sum(steps * expected_pace(config) for config, steps in known) / at_once
    where = "" if gpus else " of this CPU"
    basis = "at the pace measured here" if paces else "estimated from the arithmetic, ± half"
    return (
        f"training alone takes about {duration(max(1.0, left))} on {at_once} "
        f"worker{'s' * (at_once > 1)}{where} ({basis})"
    )
