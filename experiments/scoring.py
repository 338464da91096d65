"""Scores of a job's PNG files: the references' images, the scorer, the sheet, the record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from eval.backbone import on_disk
from eval.errors import ScoringError
from eval.lpips_distance import NotMeasured, load_lpips
from eval.metrics import of_family
from eval.score_folder import ScoreSheet, score_folders
from eval.scorer import ScorerSettings, train_scorer
from eval.scorer_file import load_scorer, save_scorer
from experiments.jobs import label_side, sheet_checksums
from experiments.work import Work, waiting
from pix2pix.atomic import replacing, set_aside


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
    with waiting(work, folder / "images.lock", "the reference's images"):
        for images in ("inputs", "targets", "labels"):  # all that this lock is of
            clear_leftovers(folder / images)
        write_images(folder / "inputs", test.names, test.inputs)
        write_images(folder / "targets", test.names, test.targets)
        if test.labels is not None:
            write_images(folder / "labels", test.names, test.labels)
    return folder


def finish(work: Work, sheet: ScoreSheet) -> None:
    """Write the scores, and record them with the checksums of their files."""
    sheet.settings["reference"] = work.job.reference
    sheet.settings["lpips_backbone_on_disk"] = on_disk("alex")
    sheet.write(work.job.directory)
    work.record(
        "scores",
        values=sheet.values,
        not_measured=sheet.not_measured,
        sha256=sheet_checksums(work.job.directory),
    )


def ensure_scorer(work: Work) -> torch.nn.Module | None:
    """The FCN-8s for this data and size: from its file, or trained now by whoever comes first.

    A file that is damaged or was altered is set aside, and the scorer trained again.
    """
    if work.job.scorer is None:
        return None
    settings = ScorerSettings(**work.job.scorer)
    path = Path(work.job.out) / "scorers" / f"{work.job.reference}.safetensors"
    if path.exists():
        with contextlib.suppress(ScoringError):
            return load_scorer(path, work.device)[0]
    with waiting(work, Path(f"{path}.lock"), "the scorer"):
        if path.exists():  # by now
            try:
                return load_scorer(path, work.device)[0]
            except ScoringError as error:
                work.record_set_aside(set_aside(path), error)
        clear_leftovers(path.parent, f"{path.name}.")
        train_scorer_now(work, settings, path)
    return load_scorer(path, work.device)[0]


def train_scorer_now(work: Work, settings: ScorerSettings, path: Path) -> None:
    """Train the scorer on the real training photos and their labels."""
    every = max(1, settings.batches // 50)
    began = time.perf_counter()
    work.emit({"event": "phase", "phase": "training the scorer", "total": settings.batches})

    def progress(batch: int, loss: float) -> None:
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


def lacking(folder: Path, names: tuple[str, ...], size: Sequence[int]) -> list[int]:
    """Positions of the names whose NAME.png is missing, damaged (every chunk of a PNG file has a
    checksum) or not of `size` (H, W)."""
    return [i for i, name in enumerate(names) if not _intact(folder / f"{name}.png", size)]


def _intact(path: Path, size: Sequence[int]) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.verify()
            return image.size == (size[1], size[0])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def write_images(folder: Path, names: tuple[str, ...], images: np.ndarray) -> None:
    """(N, H, W, 3) or (N, H, W) uint8 as NAME.png, those that are not there whole."""
    for index in lacking(folder, names, images.shape[1:3]):
        write_image(folder / f"{names[index]}.png", np.asarray(images[index]))


def write_image(path: Path, image: np.ndarray) -> None:
    with replacing(path) as file:
        Image.fromarray(image).save(file, format="PNG")


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Delete what a writer of `name` (of anything, where that is empty) left when it was killed."""
    for leftover in folder.glob(f".{name}*.tmp"):
        if ".lock." not in leftover.name:
            leftover.unlink(missing_ok=True)
