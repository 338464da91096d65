"""One job: train, translate, score, record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from experiments.jobs import Job, needed_scores, scores_current
from experiments.journal import last, write_json
from experiments.scoring import (
    complete,
    ensure_reference_images,
    ensure_scorer,
    finish,
    score,
    write_image,
)
from experiments.work import Emit, Stop, Work
from pix2pix.checkpoint import load_generator, save_generator
from pix2pix.config import CellConfig
from pix2pix.errors import Interrupted
from pix2pix.train import Pace, train
from pix2pix.translate import translate

RECORDS = 200
"""Loss records of a whole training, about."""
SAMPLE_GRIDS = 8


def run(job: Job, emit: Emit, stop: Stop) -> None:
    """Do a job, going on where an earlier sitting stopped.

    Raises UserError and TrainingError for what the user can mend, Interrupted when asked to stop.
    """
    torch.set_num_threads(job.threads)
    # Plain float32 on every device, so that a digest means the same arithmetic everywhere.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    work = Work(job, emit, stop)
    (Path(job.out) / "scorers").mkdir(parents=True, exist_ok=True)
    write_json(job.directory / "config.json", {"digest": job.digest, **job.config})
    {"cell": run_cell, "reference": run_reference}[job.kind](work)


def run_reference(work: Work) -> None:
    """Write the test split as PNG files, train the scorer, score the real photos themselves."""
    work.record("start", step=0)
    work.record_data()
    reference = ensure_reference_images(work)
    scorer = ensure_scorer(work)
    # Of an image and itself, LPIPS and the pixel scores say nothing.
    families = needed_scores(work.entry, work.job.config["direction"])
    telling = [f for f in families if f not in ("lpips", "pixel")]
    finish(work, score(work, reference / "targets", telling, scorer))


def run_cell(work: Work) -> None:
    """Train, translate the test split, score the PNG files."""
    job = work.job
    config = CellConfig.model_validate_json(json.dumps(job.config))
    weights = job.directory / "generator.pt"
    if weights.exists():
        steps = config.training.total_steps(len(work.data.train.names))
        work.record("start", step=steps)
    else:
        train_cell(work, config, weights)
    generator, _ = load_generator(weights)
    if not complete(job.directory / "translations", work.data.test.names):
        work.emit({"event": "phase", "phase": "translating"})
        translate_cell(work, config, generator.to(work.device))
    scored = last(work.journal.records(), "scores") is not None
    if not scored or not scores_current(job):
        work.emit({"event": "phase", "phase": "scoring"})
        scorer = ensure_scorer(work)
        wanted = needed_scores(work.entry, job.config["direction"])
        finish(work, score(work, job.directory / "translations", wanted, scorer))
    else:
        work.record_done()


def train_cell(work: Work, config: CellConfig, weights: Path) -> None:
    """Train to the last step and keep the generator; the large checkpoint goes when it is safe."""
    train_split, val = work.data.train, work.data.val
    total = config.training.total_steps(len(train_split.names))
    work.emit({"event": "phase", "phase": "training", "total": total})
    work.record_data()
    # Of an earlier configuration of the code, or half a sitting's: none may be mistaken for ours.
    shutil.rmtree(work.job.directory / "translations", ignore_errors=True)
    generator = train(
        config,
        (train_split.inputs, train_split.targets),
        (val.inputs, val.targets),
        work.job.directory,
        device=work.device,
        record=work.record,
        pace=Pace(
            max(1, total // RECORDS), max(1, total // SAMPLE_GRIDS), work.job.checkpoint_seconds
        ),
        stop=work.stop,
    )
    save_generator(
        weights,
        generator,
        config.generator,
        channels=(train_split.inputs.shape[-1], train_split.targets.shape[-1]),
        size=config.size,
        origin={
            "digest": config.digest,
            "dataset": config.dataset,
            "direction": config.direction,
            "seed": config.seed,
        },
    )
    (work.job.directory / "checkpoint.pt").unlink(missing_ok=True)


def translate_cell(work: Work, config: CellConfig, generator: torch.nn.Module) -> None:
    """The whole test split to PNG files, one image at a time."""
    test, folder = work.data.test, work.job.directory / "translations"
    images = translate(generator, test.inputs, test.names, seed=config.seed, device=work.device)
    for name, image in images:
        write_image(folder / f"{name}.png", image)
        if work.stop():
            raise Interrupted
