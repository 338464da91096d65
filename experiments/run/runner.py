"""One job: train, translate, score, record."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from eval.scorer.yardstick import MOST_PHOTOS, yardstick
from experiments.run.diversity import add_diversity
from experiments.run.jobs import Job, needed_scores, scores_current
from experiments.run.journal import last
from experiments.run.scoring import (
    ensure_reference_images,
    ensure_scorer,
    finish,
    lacking,
    score,
    score_at_full_size,
    score_by_others,
    write_image,
)
from experiments.run.session import Emit, Session, waiting
from experiments.run.signals import Stop
from experiments.spec import PretrainedProfile
from pix2pix.checkpoint import CheckpointSeries, ForeignCheckpoint, load_generator, save_generator
from pix2pix.common.errors import Unreadable, UserError
from pix2pix.common.files import set_aside
from pix2pix.common.tf32 import set_tf32
from pix2pix.config import CellConfig, GeneratorSettings
from pix2pix.data.cache import prepare
from pix2pix.train import Pace, train
from pix2pix.translation import translate

if TYPE_CHECKING:
    from eval.scorer.file import Scorer

RECORDS = 200
"""Approximate number of loss records of a training."""
SAMPLE_GRIDS = 8
BATCHED = "translations-batched"
"""The folder of translations in batches of the training's size."""


def run(job: Job, emit: Emit, stop: Stop) -> None:
    """Do a job, resuming where an earlier session stopped.

    Raises UserError and TrainingError for what the user can fix, OSError if a file cannot be
    written, Interrupted or KeyboardInterrupt if asked to stop.
    """
    torch.set_num_threads(job.threads)
    # Plain float32 outside of trainings, so that a digest means the same arithmetic everywhere.
    set_tf32(False)
    if job.device != "cpu":
        torch.cuda.set_device(job.device)
    session = Session(job, emit, stop)
    if isinstance(job.config, CellConfig):
        run_cell(session, job.config)
    else:
        run_reference(session)
    session.record_done()


def run_reference(session: Session) -> None:
    """Write the test split as PNG files, train the scorer, score the real photos themselves."""
    session.record("start", step=0)
    session.record_data()
    reference = ensure_reference_images(session)
    scorer = first_scorer(session)
    # LPIPS and pixel scores of an image against itself are constants.
    families = needed_scores(session.entry, session.job.config.direction)
    measured = [f for f in families if f not in ("lpips", "pixel", "hole")]
    sheet = score(session, reference / "targets", reference, measured, scorer)
    test = session.data.test
    if scorer is not None and test.labels is not None:
        classes = len(session.data.class_names)
        at_most, settings = MOST_PHOTOS, session.job.scorer
        if isinstance(settings, PretrainedProfile):  # few in `smoke`, which measures nothing
            at_most = min(at_most, settings.photos)
        found = yardstick(scorer, test.pictures, test.labels, classes, at_most)
        sheet.settings["yardstick"] = found
    score_by_others(session, reference / "targets", reference, sheet)
    finish(session, sheet)


def first_scorer(session: Session) -> Scorer | None:
    """The scorer that decides; None where the data set and the direction need none."""
    settings = session.job.scorer
    return ensure_scorer(session, session.job.reference, settings) if settings else None


def run_cell(session: Session, config: CellConfig) -> None:
    """Train, translate the test split, score the PNG files."""
    job = session.job
    checkpoints = CheckpointSeries(job.directory, config.digest)
    weights = job.directory / "generator.pt"
    generator = kept_generator(session, config, weights)
    if generator is None:
        # Cells that share a training: no two workers do it.
        lock = job.directory.parent / f".{config.as_trained.digest}.lock"
        with waiting(session, lock, "the same training of another cell"):
            if not taken_from_another(session, config, weights):
                train_cell(session, config)
        if session.device.type == "cuda":
            torch.cuda.empty_cache()  # for the scorer and for other workers
        generator, _ = load_generator(weights)
    # Keep the last checkpoint until the scores are written: a generator that is damaged before
    # is then not trained from the start.
    checkpoints.keep(1)
    generator.to(session.device)
    batch = config.training.batch
    translate_cell(session, config, generator, "translations")
    if batch > 1:  # and as it was trained: BatchNorm sees several test images at once
        translate_cell(session, config, generator, BATCHED, batch)
    scorer = first_scorer(session)  # now, because scores of another scorer are outdated
    scored = last(session.journal.records(), "scores") is not None
    if not scored or not scores_current(job):
        session.emit({"event": "phase", "phase": "scoring"})
        wanted = needed_scores(session.entry, job.config.direction)
        reference, translations = ensure_reference_images(session), job.directory / "translations"
        sheet = score(session, translations, reference, wanted, scorer)
        score_by_others(session, translations, reference, sheet)
        if "labels" in wanted:
            score_at_full_size(session, translations, sheet)
        if batch > 1:
            batched = score(session, job.directory / BATCHED, reference, wanted, scorer)
            sheet.values |= {f"{name}/batch-{batch}": v for name, v in batched.values.items()}
        sheet.settings["test_batches"] = sorted({1, batch})
        if job.draws:
            session.emit({"event": "phase", "phase": "drawing again"})
            add_diversity(session, generator, tested_inputs(session, config), config.seed, sheet)
        if gamut := last(session.journal.records(), "gamut"):
            sheet.settings["beyond_gamut"] = gamut["beyond"]
        finish(session, sheet)
    checkpoints.keep(0)


def kept_generator(session: Session, config: CellConfig, weights: Path) -> torch.nn.Module | None:
    """The generator of an earlier session; None if there is no intact one of this cell.

    Raises Unreadable, and leaves the file in place, if the disk or the memory fails.
    """
    if not weights.exists():
        return None
    try:
        generator, content = load_generator(weights)
        if content["origin"].get("digest") != config.digest:
            raise ForeignCheckpoint(f"{weights}: a generator of another cell")
    except Unreadable:
        raise
    except UserError as error:
        ending = "foreign" if isinstance(error, ForeignCheckpoint) else "damaged"
        session.record_set_aside(set_aside(weights, ending), error)
        return None
    session.record("start", step=config.training.total_steps(len(session.data.train)))
    return generator


def taken_from_another(session: Session, config: CellConfig, weights: Path) -> bool:
    """Take the generator of another cell that shares this training, where there is an intact one:
    of the cell that differs in the test alone, or of the other direction."""
    for other in config.sharing:
        name = "generator.pt" if other.direction == config.direction else "generator_back.pt"
        generator = _intact_generator(session, other.digest, name)
        if generator is not None:
            keep_generator(session, config, generator, weights)
            session.record("start", step=config.training.total_steps(len(session.data.train)))
            session.record_data()
            return True
    return False


def _intact_generator(session: Session, digest: str, name: str) -> torch.nn.Module | None:
    """A generator of another cell's run directory; None where none is, or a damaged one."""
    path = session.job.directory.parent / digest / name
    if not path.exists():
        return None
    try:
        generator, content = load_generator(path)
    except Unreadable:
        raise
    except UserError:
        return None
    return generator if content["origin"].get("digest") == digest else None


def train_cell(session: Session, config: CellConfig) -> None:
    """Train to the last step and keep the generators."""
    train_split, val = session.data.train, session.data.val
    total = config.training.total_steps(len(train_split))
    train_sides = (train_split.inputs, train_split.targets)
    val_sides = (val.inputs, val.targets)
    # A derived input has one direction alone.
    first_inputs = {session.entry.roles(None)[0], session.entry.derived_role(config.direction)}
    turned = config.both_ways and session.input_role not in first_inputs
    if turned:  # the two directions are one training
        train_sides, val_sides = train_sides[::-1], val_sides[::-1]
    session.emit({"event": "phase", "phase": "training", "total": total})
    session.record_data()
    # Delete images and scores of another generator.
    for folder in ("translations", BATCHED):
        shutil.rmtree(session.job.directory / folder, ignore_errors=True)
    (session.job.directory / "scores.json").unlink(missing_ok=True)
    with session.stop.in_order():
        generators = train(
            config,
            train_sides,
            val_sides,
            session.job.directory,
            device=session.device,
            record=session.record,
            pace=Pace(
                max(1, total // RECORDS),
                max(1, total // SAMPLE_GRIDS),
                session.job.checkpoint_seconds,
            ),
            stop=session.stop,
            flush=session.journal.flush,
        )
    if turned:
        generators = dict(zip(generators, reversed(generators.values()), strict=True))
    for name in sorted(generators, reverse=True):  # where generator.pt is, all are
        path = session.job.directory / f"{name}.pt"
        keep_generator(session, config, generators[name], path, back=name == "generator_back")


def keep_generator(
    session: Session,
    config: CellConfig,
    generator: torch.nn.Module,
    path: Path,
    *,
    back: bool = False,
) -> None:
    """Write a generator, of this cell's direction or `back`, with where it is from."""
    train_split = session.data.train
    inputs, targets = train_split.inputs.shape[-1], train_split.targets.shape[-1]
    save_generator(
        path,
        generator,
        as_tested(config),
        channels=(targets, inputs) if back else (inputs, targets),
        size=config.size,
        origin={
            **{name: getattr(config, name) for name in ("digest", "dataset", "seed")},
            "direction": (config.turned if back else config).direction,
        },
    )


def as_tested(config: CellConfig) -> GeneratorSettings:
    """The generator's settings for translation, with which its file is written."""
    if config.translation.dropout:
        return config.generator
    return config.generator.model_copy(update={"dropout": 0.0})


def tested_inputs(session: Session, config: CellConfig) -> np.ndarray:
    """The inputs of the test split, (N, H, W, C), or of twice the size."""
    scale = config.translation.scale
    if scale == 1:
        return session.data.test.inputs
    larger = prepare(
        session.entry,
        Path(session.job.data.root),
        (scale * config.size[0], scale * config.size[1]),
        config.direction,
        Path(session.job.data.cache),
    )
    return larger.test.inputs


def translate_cell(
    session: Session, config: CellConfig, generator: torch.nn.Module, name: str, batch: int = 1
) -> None:
    """Write the missing translations of the test split as PNG files.

    In batches, all are made again where one is missing.
    """
    test, folder = session.data.test, session.job.directory / name
    left = lacking(folder, test.names, test.shown)
    if left and batch > 1:
        left = list(range(len(test.names)))
    if left:
        session.emit({"event": "phase", "phase": "translating"})
    names = [test.names[index] for index in left]
    beyond_gamut: list[float] = []
    images = translate(
        *(generator, tested_inputs(session, config)[left], names),
        seed=config.seed,
        device=session.device,
        batch=batch,
        beyond_gamut=beyond_gamut,
    )
    for (name, image), index in zip(images, left, strict=True):
        if config.translation.scale > 1:  # shown at the size of the training, as in Table 4
            image = np.asarray(Image.fromarray(image).reduce(config.translation.scale))
        height, width = test.shown[index]  # padding is cut off
        write_image(folder / f"{name}.png", image[:height, :width])
    if beyond_gamut:
        share = sum(beyond_gamut) / len(beyond_gamut)
        session.record("gamut", images=len(beyond_gamut), beyond=share)
