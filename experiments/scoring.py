"""Scores of a job's PNG files: the references' images, the scorer, the sheet, the record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image

from eval.backbone import on_disk
from eval.lpips_distance import NotMeasured, load_lpips
from eval.metrics import of_family
from eval.score_folder import ScoreSheet, score_folders
from eval.scorer import ScorerSettings, train_scorer
from eval.scorer_file import load_scorer, save_scorer
from experiments.jobs import label_side
from experiments.work import Work, waiting
from pix2pix.atomic import replacing
from pix2pix.errors import Interrupted


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
