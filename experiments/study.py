"""Suites on one data set, from plan to trained and scored runs: what `run_ablations.py` does."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from eval.bootstrap import clip_numbers
from experiments.checks import (
    advice,
    check_folder,
    check_labels,
    check_machine,
    check_networks,
    check_rights,
)
from experiments.plan import Plan, make_plan
from experiments.progress import duration, make_progress
from experiments.record import write_record
from experiments.run.engine import ClusterOptions, Engine, Local
from experiments.run.jobs import (
    DataSource,
    Job,
    State,
    build_jobs,
    expected_pace,
    state,
    step_gflop,
)
from experiments.run.launcher import Outcome, gpu_count, usable_cores
from experiments.run.signals import collected_signals
from experiments.spec import load_suite, suite_names
from experiments.tracking.check import check_store
from experiments.tracking.process import Ending, say, start_mirror, stop_mirror
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig, CellSettings
from pix2pix.data.cache import (
    LabelledPart,
    cached,
    check_source,
    labelled_parts,
    prepare,
)
from pix2pix.data.layouts import find_pairs
from pix2pix.data.recognise import located
from pix2pix.data.registry import DatasetEntry, find_entry, load_registry
from pix2pix.data.tasks import COLOURS, is_grey


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
    direction: str | None = None
    """`input->target` in the place of the suites' own."""
    out: Path = Path("runs")
    reports: Path = Path("reports/out")
    workers: int | None = None
    threads: int = 1
    checkpoint_every: float = 60.0
    engine: str = "local"
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


@dataclass(frozen=True)
class Study:
    """Checked plans on one data set."""

    options: Options
    entry: DatasetEntry
    plans: tuple[Plan, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.plans[0].size

    @property
    def direction(self) -> str:
        """Of the first plan; the pairs on the disk are the same for all."""
        return self.plans[0].direction


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
                direction=options.direction,
            )
            if entry.recognise:  # the same entry names other people's data, too
                plan = dataclasses.replace(plan, place=_place(options.data_root))
            plan.configs()
            if everything:
                check_networks([plan])
        except UserError as error:
            if not everything:
                raise
            print(f"suite {name} skipped: {error}", file=sys.stderr)
            continue
        if suite.name in plans:
            raise UserError(f"--suite {name}: another suite has the name {suite.name}: rename it")
        plans[suite.name] = plan
    plans = _of_one_kind(entry, plans, everything)
    if not plans:
        raise UserError(f"no suite fits data set {entry.name} with these options")
    return Study(options, entry, tuple(plans.values()))


def _of_one_kind(entry: DatasetEntry, plans: dict[str, Plan], everything: bool) -> dict[str, Plan]:
    """The plans that read the same files: of an entry whose sides are found on the disk, some take
    pairs and others plain photos. UserError if suites that were named differ in it."""
    photos = {name for name, plan in plans.items() if entry.takes_photos(plan.direction)}
    pairs = plans.keys() - photos
    if photos and pairs and not everything:
        raise UserError(
            f"--dataset {entry.name}: {', '.join(sorted(photos))} takes plain photos and "
            f"{', '.join(sorted(pairs))} pairs; run them one after the other, or give --direction"
        )
    return {name: plan for name, plan in plans.items() if name not in photos or not pairs}


def _place(data_root: Path) -> str:
    """The last two names of a folder's path, as a part of a file name."""
    return re.sub(r"[^\w.-]", "-", "-".join(data_root.resolve().parts[-2:]).strip("/-"))


def execute(study: Study) -> Ending:
    """Train, score and mirror everything that is not finished."""
    options = study.options
    engine = make_engine(options)
    engine.check(study.plans)
    for note in check_source(study.entry, options.data_root, study.direction):
        say(f"data set {study.entry.name}: {note}")
    check_folder("--out", options.out)
    check_folder("--reports", options.reports)
    check_store([plan.suite.name for plan in study.plans])
    fingerprint, pairs, labelled = prepare_data(study)
    here = commit()
    planned: dict[str, Job] = {}
    for plan in study.plans:
        for job in plan_jobs(study, plan, fingerprint, here):
            # Suites may share a cell, and only one of them asks for its diversity.
            known = planned.get(job.digest)
            planned[job.digest] = job if known is None or job.draws > known.draws else known
    check_rights(options.out, planned.values())
    records = [
        write_record(plan, fingerprint, options.out, here, pairs, labelled) for plan in study.plans
    ]
    todo = [job for job in planned.values() if state(job).word != "done"]
    todo.sort(key=_priority)
    text = f"{len(planned) - len(todo)} of {len(planned)} jobs are finished; {len(todo)} to do"
    if todo:
        text += engine.place(todo)
        for warning in filter(None, advice(study.plans)):
            say(warning)
    say(text)
    if todo and not engine.waits:
        with collected_signals():  # ended between sbatch and our record, they would be unknown
            _launch(engine, todo, ())
        return Ending(0, False)
    tracker = start_mirror(options.out, records)
    with collected_signals() as signals:
        outcomes = _launch(engine, todo, signals)
        again = [] if signals or not todo else _outdated(planned.values(), outcomes)
        if again:
            say(f"re-scoring {len(again)} runs: their scorer or the LPIPS weights changed")
            outcomes |= _launch(engine, again, signals)
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


def make_engine(options: Options) -> Engine:
    """The engine that the options name; UserError if one of its options is missing or wrong."""
    given = options.cluster
    if options.engine == "slurm":
        from experiments.run.slurm import Slurm

        return Slurm(options.out, given, options.threads)
    if options.engine == "ray":
        from experiments.run.ray_core import Ray

        generated = options.dataset == "procedural"
        read = () if generated else (options.data_root, options.datasets)
        return Ray(
            options.out,
            address=given.address or "auto",
            threads=options.threads,
            gpus=given.gpus_per_run,
            workers=options.workers,
            data=[path for path in read if path],
            apart=given.no_shared_folder,
        )
    return Local(options.out, options.workers)


def _launch(engine: Engine, jobs: Sequence[Job], signals: Sequence[int]) -> dict[str, Outcome]:
    """Run jobs and show their progress."""
    if not jobs:
        return {}
    progress = make_progress(jobs, engine.at_once(jobs))
    try:
        return engine.launch(jobs, progress, signals)
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
    first, so that no processor idles at the end. Of cells that share a training, all but one come
    last, so that they need not wait for it."""
    config = job.config
    if not isinstance(config, CellConfig):
        return (0.0,)
    second = config != config.as_trained
    return (1.0, config.seed, second, -step_gflop(config))


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
        study.direction,
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
    pairs = {split: len(getattr(data, split)) for split in ("train", "val", "test")}
    trains_unpaired = (config.both_ways for plan in study.plans for config in plan.configs())
    if pairs["train"] == 1 and any(trains_unpaired):
        raise UserError(
            f"data set {study.entry.name}: has one image a side to train on; cyclegan needs two at "
            "least, to draw them apart"
        )
    counts = ", ".join(f"{count} {split}" for split, count in pairs.items())
    say(f"data set {study.entry.name}: {counts}; fingerprint {data.fingerprint[:12]}")
    if study.entry.derived_role(study.direction) in COLOURS:
        grey = sum(map(is_grey, data.train.pictures))
        if grey:
            say(f"data set {study.entry.name}: {grey} of {pairs['train']} training photos are grey")
    labelled = labelled_parts(data)
    check_labels(study.entry, study.options.data_root, labelled)
    return data.fingerprint, pairs, labelled


def dry_run(study: Study) -> str:
    """Cells, steps, which are finished and the expected time, without reading an image."""
    options = study.options
    cache = (study.entry, options.data_root, study.size, options.out / "cache", study.direction)
    known, counts = cached(*cache) or (None, None)
    pairs = counts["train"] if counts else study.entry.paper.train_images
    rows = [("suite", "arm", "seed", "steps", "state", "digest")]
    seen: set[CellSettings] = set()
    trained: set[CellSettings] = set()
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
            if config.as_trained in trained:
                word = "shared" if word == "new" else word
            elif word not in ("done", "to score"):
                to_train.append((config, steps and max(0, steps - found.step)))
            seen.add(config)
            trained.add(config.as_trained)
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
            entry, _ = located(study.entry, options.data_root, study.direction)
            find_pairs(entry, options.data_root)
        check_machine(study.plans)
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
