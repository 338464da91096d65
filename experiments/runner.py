"""One job: train, translate, score, record. The only place that joins pix2pix, eval and journal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image

from eval.backbone import on_disk
from eval.lpips_distance import NotMeasured, load_lpips
from eval.metrics import of_family
from eval.score_folder import ScoreSheet, score_folders
from eval.scorer import ScorerSettings, train_scorer
from eval.scorer_file import load_scorer, save_scorer
from experiments.jobs import Job, label_side, needed_scores, scores_current
from experiments.journal import Journal, Record, last, write_json
from experiments.provenance import machine, versions
from pix2pix.atomic import replacing
from pix2pix.checkpoint import load_generator, save_generator
from pix2pix.config import CellConfig
from pix2pix.datasets import DatasetEntry, find_entry, load_registry
from pix2pix.errors import Interrupted, UserError
from pix2pix.pairs import PairedData, prepare
from pix2pix.train import Pace, train
from pix2pix.translate import translate

RECORDS = 200
"""Loss records of a whole training, about."""
SAMPLE_GRIDS = 8

Emit = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]


class Work:
    """What a job's phases share: its data, its journal, where progress goes, when to stop."""

    def __init__(self, job: Job, emit: Emit, stop: Stop) -> None:
        self.job = job
        self.emit = emit
        self.stop = stop
        self.journal = Journal(job.directory)
        self.began = time.monotonic()
        self.waited = 0.0
        """Seconds of this sitting in which another job was waited for."""
        self.device = torch.device(job.device)
        registry = load_registry(Path(job.data.registry) if job.data.registry else None)
        self.entry: DatasetEntry = find_entry(registry, job.data.name)
        size = job.config["size"]
        self.data: PairedData = prepare(
            self.entry,
            Path(job.data.root),
            (size[0], size[1]),
            job.config["direction"],
            Path(job.data.cache),
            in_memory=False,  # mapped, so that all workers share the pages
        )
        if self.data.fingerprint != job.config["fingerprint"]:
            raise UserError(
                f"data set {job.data.name} changed while the suite ran (fingerprint "
                f"{self.data.fingerprint[:12]} instead of {job.config['fingerprint'][:12]}): "
                "start the suite again"
            )
        self.provenance = {
            "commit": job.commit,
            "versions": versions(),
            **machine(job.device, job.threads),
        }

    def record(self, event: str, **fields: Any) -> None:
        if event == "start":
            fields["provenance"] = self.provenance
        self.journal.append(event, **fields)
        self.emit({"event": event, **fields})

    def record_data(self) -> None:
        splits = {s: len(getattr(self.data, s).names) for s in ("train", "val", "test")}
        self.record("data", fingerprint=self.data.fingerprint, **splits)

    def record_done(self) -> None:
        """The last word, with the time of all sittings: this one, and the earlier ones' spans."""
        earlier = sittings(self.journal.records())[:-1]
        before = sum(one[-1]["time"] - one[0]["time"] for one in earlier)
        here = time.monotonic() - self.began - self.waited
        self.record("done", seconds=round(before + here, 3))


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


def score(
    work: Work, translations: Path, families: list[str], scorer: torch.nn.Module | None
) -> ScoreSheet:
    """Score PNG files against the reference's PNG files."""
    reference = ensure_reference_images(work)
    lpips: Any = None
    if "lpips" in families:
        # One download is enough, whichever job gets there first.
        with waiting(work, Path(work.job.out) / "scorers" / "lpips.lock", "LPIPS's weights"):
            try:
                lpips = load_lpips(device=work.job.device)
            except NotMeasured as reason:
                lpips = reason
    sheet = score_folders(
        translations,
        reference / "targets",
        reference / "labels" if work.data.test.labels is not None else None,
        families=families,
        scorer=scorer,
        palette=work.data.palette,
        classes=len(work.data.class_names) or None,
        lpips=lpips,
    )
    side = label_side(work.entry, work.job.config["direction"])
    for family, needed in (("fcn", "input"), ("labels", "target")):
        if work.job.kind == "cell" and family not in families:
            why = f"the direction {work.job.config['direction']} has no labels as {needed}"
            why = why if side else "the data set has no labels"
            sheet.not_measured.update(dict.fromkeys(of_family(family), why))
    return sheet


def ensure_reference_images(work: Work) -> Path:
    """The test split as PNG files, written by whichever job comes first; their folder."""
    folder, test = Path(work.job.out) / "references" / work.job.reference, work.data.test
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "images.lock"):
        write_images(folder / "inputs", test.names, test.inputs)
        write_images(folder / "targets", test.names, test.targets)
        if test.labels is not None:
            write_images(folder / "labels", test.names, test.labels)
    return folder


def finish(work: Work, sheet: ScoreSheet) -> None:
    """Write the scores, then the journal's last word."""
    sheet.settings["reference"] = work.job.reference
    sheet.settings["lpips_backbone_on_disk"] = on_disk("alex")
    sheet.write(work.job.directory)
    work.record("scores", values=sheet.values, not_measured=sheet.not_measured)
    work.record_done()


def ensure_scorer(work: Work) -> torch.nn.Module | None:
    """The FCN-8s for this data and size: from its file, or trained now by whoever comes first."""
    if work.job.scorer is None:
        return None
    settings = ScorerSettings(**work.job.scorer)
    path = Path(work.job.out) / "scorers" / f"{work.job.reference}.safetensors"
    if not path.exists():
        with waiting(work, Path(f"{path}.lock"), "the scorer"):
            if not path.exists():
                train_scorer_now(work, settings, path)
    model, _ = load_scorer(path, work.device)
    return model


def train_scorer_now(work: Work, settings: ScorerSettings, path: Path) -> None:
    """Train the scorer on the real training photos and their labels."""
    every = max(1, settings.batches // 50)
    began = time.perf_counter()
    work.emit({"event": "phase", "phase": "training the scorer", "total": settings.batches})

    def progress(batch: int, loss: float) -> None:
        if work.stop():
            raise Interrupted
        if batch % every == 0 or batch == settings.batches:
            pace = (time.perf_counter() - began) / batch
            event = {"step": batch, "values": {"scorer": loss}, "seconds_per_step": pace}
            if work.job.kind == "reference":  # a cell's journal holds its own training alone
                work.record("losses", **event)
            else:
                work.emit({"event": "losses", **event})

    photos = work.data.train.targets
    labels, classes = work.data.train.labels, len(work.data.class_names)
    model = train_scorer(photos, labels, classes, settings, progress, work.job.device)
    save_scorer(path, model, settings, work.data.class_names, work.data.fingerprint)


@contextmanager
def waiting(work: Work, lock: Path, what: str) -> Iterator[None]:
    """Hold a lock, waiting for whoever has it; Interrupted when asked to stop meanwhile."""
    began, guard = time.monotonic(), FileLock(lock)
    while True:
        try:
            guard.acquire(timeout=0.5)
            break
        except Timeout:
            work.emit({"event": "phase", "phase": f"waiting for {what}"})
            if work.stop():
                raise Interrupted from None
    work.waited += time.monotonic() - began
    try:
        yield
    finally:
        guard.release()


def sittings(records: list[Record]) -> list[list[Record]]:
    """A journal's records by sitting; every sitting begins with `start`."""
    parts: list[list[Record]] = []
    for record in records:
        if record["event"] == "start" or not parts:
            parts.append([])
        parts[-1].append(record)
    return parts


def complete(folder: Path, names: tuple[str, ...]) -> bool:
    """Whether every image is there; files are only ever renamed into place whole."""
    return folder.is_dir() and {p.stem for p in folder.glob("*.png")} >= set(names)


def write_images(folder: Path, names: tuple[str, ...], images: np.ndarray) -> None:
    """(N, H, W, 3) or (N, H, W) uint8 as NAME.png, unless they are all there."""
    if complete(folder, names):
        return
    for name, image in zip(names, images, strict=True):
        write_image(folder / f"{name}.png", np.asarray(image))


def write_image(path: Path, image: np.ndarray) -> None:
    with replacing(path) as file:
        Image.fromarray(image).save(file, format="PNG")
