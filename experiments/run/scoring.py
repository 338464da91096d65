"""Scores of a job's PNG files: the references' images, the scorer, the sheet, the record."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from eval.fcn_score import confusion_matrix, nearest_class, scores
from eval.lpips import NotMeasured, load_lpips
from eval.metrics import of_family
from eval.score import ScoreResults, Scoring, score_folders
from eval.scorer.file import check_scorer, load_scorer, save_scorer
from eval.scorer.pretrained import HeadSettings, train_heads
from eval.scorer.train import ScorerSettings, hold_out, segment, train_scorer
from experiments.run.jobs import FULL_SIZE, exact_labels, label_side, scorer_path, sheet_checksums
from experiments.run.journal import Journal, clear_leftovers, is_done, last, write_json
from experiments.run.session import Session, waiting
from experiments.spec import PretrainedProfile, ScorerProfile
from pix2pix.common.errors import UserError
from pix2pix.common.files import replacing, set_aside
from pix2pix.data import tasks
from pix2pix.data.backbones import on_disk
from pix2pix.data.cache import Split, find_source
from pix2pix.data.pairs import read_labels

if TYPE_CHECKING:
    from eval.scorer.file import Scorer


def score(
    session: Session,
    translations: Path,
    reference: Path,
    families: list[str],
    scorer: Scorer | None,
) -> ScoreResults:
    """Score PNG files against the reference's, of `ensure_reference_images`."""
    lpips: Any = None
    if "lpips" in families:
        # One download is enough, whichever job gets there first.
        with waiting(session, Path(session.job.out) / "scorers" / "lpips.lock", "LPIPS's weights"):
            try:
                lpips = load_lpips(device=session.job.device)
            except NotMeasured as reason:
                lpips = reason
    sheet = score_folders(
        translations,
        reference / "targets",
        reference / "labels" if session.data.test.labels is not None else None,
        Scoring(
            families=families,
            scorer=scorer,
            palette=session.data.palette,
            class_names=session.data.class_names or None,
            lpips=lpips,
            clip=session.entry.clip,
        ),
        holes=reference / "holes" if "hole" in families else None,
    )
    side = label_side(session.entry, session.job.config.direction)
    for family, needed in (("fcn", "input"), ("labels", "target")):
        if session.job.kind == "cell" and family not in families:
            why = f"the direction {session.job.config.direction} has no labels as {needed}"
            why = why if side or session.entry.classes else "the data set has no labels"
            sheet.not_measured.update(dict.fromkeys(of_family(family), why))
    if session.job.kind == "cell" and not session.entry.paired(session.job.config.direction):
        why = f"the images of {session.entry.name} do not belong together"
        for family in ("lpips", "pixel"):
            sheet.not_measured.update(dict.fromkeys(of_family(family), why))
    if session.job.kind == "cell" and "hole" not in families:
        sheet.not_measured["hole"] = f"the direction {session.job.config.direction} has no holes"
    return sheet


def ensure_reference_images(session: Session) -> Path:
    """The test split as PNG files, written by whichever job comes first; their folder."""
    folder, test = Path(session.job.out) / "references" / session.job.reference, session.data.test
    folder.mkdir(parents=True, exist_ok=True)
    with waiting(session, folder / "images.lock", "the reference's images"):
        for images in ("inputs", "targets", "labels", "holes"):  # all that this lock is of
            clear_leftovers(folder / images)
        inputs = test.inputs
        if inputs.dtype != np.uint8:
            inputs = np.stack([tasks.picture(image) for image in inputs])
        write_images(folder / "inputs", test, inputs)
        write_images(folder / "targets", test, test.pictures)
        if hole := tasks.HOLES.get(session.input_role):
            holes = [hole(session.job.config.size, name) for name in test.names]
            write_images(folder / "holes", test, np.stack(holes).astype(np.uint8) * 255)
        if test.labels is not None:
            write_images(folder / "labels", test, test.labels)
    return folder


def finish(session: Session, sheet: ScoreResults) -> None:
    """Write the scores, and record them with the checksums of their files."""
    sheet.settings["reference"] = session.job.reference
    sheet.settings["class_names"] = list(session.data.class_names)
    sheet.settings["lpips_backbone_on_disk"] = on_disk("alex")
    sheet.write(session.job.directory)
    session.record(
        "scores",
        values=sheet.values,
        not_measured=sheet.not_measured,
        sha256=sheet_checksums(session.job.directory),
    )


def score_by_others(
    session: Session, translations: Path, reference: Path, sheet: ScoreResults
) -> None:
    """Add what the other scorers say: `fcn.class_iou/NAME` and the like, and their weights."""
    for name, other in session.job.others.items():
        found = score_folders(
            translations,
            reference / "targets",
            reference / "labels",
            Scoring(
                families=["fcn"],
                scorer=ensure_scorer(session, other.reference, other.settings),
                class_names=session.data.class_names,
            ),
        )
        sheet.values |= {f"{score}/{name}": value for score, value in found.values.items()}
        weights = found.settings["fcn"]["weights_sha256"]
        sheet.settings.setdefault("other_scorers", {})[name] = weights


def score_at_full_size(session: Session, translations: Path, sheet: ScoreResults) -> None:
    """Add what painted label maps score against the data set's own, where these are larger: each
    pixel of a translation stands for all that it covers (nearest). The paper's Table 6 compares so.
    """
    test, palette = session.data.test, session.data.palette
    if session.job.data.decoded:  # the label files are on another machine
        return
    source = find_source(session.entry, Path(session.job.data.root), session.job.config.size)
    if not exact_labels(session.entry) or source.pairs is None or palette is None:
        return
    total = np.zeros((len(palette), len(palette)), np.int64)
    for pair, name, shown in zip(source.pairs["test"], test.names, test.shown, strict=True):
        session.stop.check()
        labels = read_labels(source.entry, pair)
        if labels.shape == shown:
            return
        with Image.open(translations / f"{name}.png", formats=["PNG"]) as image:
            classes = Image.fromarray(nearest_class(np.asarray(image.convert("RGB")), palette))
        enlarged = classes.resize(labels.shape[::-1], Image.Resampling.NEAREST)
        total += confusion_matrix(np.asarray(enlarged), labels, len(palette))
    sheet.values |= {f"labels.{name}/{FULL_SIZE}": value for name, value in scores(total).items()}


def ensure_scorer(
    session: Session, reference: str, settings: ScorerProfile | PretrainedProfile
) -> Scorer:
    """A scorer for this data and size: from its file, or trained now by whoever comes first.

    It has a run directory of its own, `scorers/REFERENCE`, whichever job trains it: a job's
    journal holds its own training alone, and its seconds are its own. An interrupted training
    starts anew. A file that is damaged or was altered is set aside, and the scorer trained again.
    """
    path = scorer_path(session.job.out, reference)
    folder = path.with_suffix("")
    if path.exists() and is_done(folder):
        with contextlib.suppress(UserError):
            return open_scorer(session, path)
    with waiting(session, Path(f"{path}.lock"), "the scorer"):
        began = time.monotonic()
        if path.exists():  # by now
            try:
                load_scorer(path)
            except UserError as error:
                session.record_set_aside(set_aside(path), error)
        clear_leftovers(path.parent, f"{path.name}.")
        if not path.exists():
            train_scorer_now(session, folder, path, settings)
        journal = Journal(folder)
        trained = last(journal.records(), "trained")
        if trained and not is_done(folder):
            journal.append("done", seconds=trained["seconds"])
        session.waited += time.monotonic() - began
    session.emit({"event": "phase", "phase": "scoring"})  # no longer waiting, nor training it
    return open_scorer(session, path)


def open_scorer(session: Session, path: Path) -> Scorer:
    """The scorer of a file; UserError where it is damaged, or of other data or classes."""
    model, metadata = load_scorer(path, session.device)
    check_scorer(path, metadata, session.data.class_names, scorer_source(session))
    return model


def scorer_source(session: Session) -> dict[str, Any]:
    """What a scorer is trained on, as its file records it."""
    return {
        "dataset": session.entry.name,
        "fingerprint": session.data.fingerprint,
        "size": list(session.job.config.size),
    }


def train_scorer_now(
    session: Session, folder: Path, path: Path, profile: ScorerProfile | PretrainedProfile
) -> None:
    """Train a scorer on the real training photos and their labels, and save it."""
    given = profile.model_dump()
    pretrained = isinstance(profile, PretrainedProfile)
    settings = HeadSettings(**given) if pretrained else ScorerSettings(**given)
    photos, labels = session.data.train.pictures, session.data.train.labels
    assert labels is not None
    held = hold_out(labels)
    config = {"digest": path.stem, **scorer_source(session)}
    write_json(folder / "config.json", config | {"scorer": dataclasses.asdict(settings)})
    journal, trained_by = Journal(folder), f"{session.job.kind} {session.job.digest}"
    journal.append("start", provenance=session.provenance, step=0, trained_by=trained_by)
    counts = {"train": len(photos) - len(held), "val": len(held)}
    journal.append("data", fingerprint=session.data.fingerprint, **counts)
    session.emit({"event": "phase", "phase": "training the scorer", "total": settings.batches})
    curves = ScorerCurves(session, journal, settings.batches)
    try:
        classes, device = len(session.data.class_names), session.job.device
        model: Scorer
        if isinstance(settings, HeadSettings):
            model = train_heads(
                photos, labels, classes, settings, curves.batch, device, held_out=held
            )
            if len(held):
                found = confusion_matrix(segment(model, photos[held]), labels[held], classes)
                curves.validated(settings.batches, scores(found))
        else:
            model = train_scorer(
                *(photos, labels, classes, settings, curves.batch, device),
                held_out=held,
                validated=curves.validated,
            )
    except UserError as error:
        journal.append("failed", error=str(error), log="")
        raise
    curves.write()
    journal.append("parameters", scorer=sum(p.numel() for p in model.parameters()))
    seconds = round(time.monotonic() - curves.began, 3)
    journal.append("trained", step=curves.step, seconds=seconds, kept_step=curves.best[1])
    save_scorer(path, model, settings, session.data.class_names, scorer_source(session))


class ScorerCurves:
    """Writes a scorer's losses and validations into its journal, and stops it when asked to."""

    def __init__(self, session: Session, journal: Journal, batches: int) -> None:
        self.session, self.journal = session, journal
        self.every = max(1, batches // 50)
        self.began = time.monotonic()
        self.losses: list[float] = []
        self.step, self.learning_rate = 0, 0.0
        self.best = (-1.0, 0)
        """Class IoU of the photos held out, and the batches done; 0 where none is held out."""

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        self.session.stop.check()
        self.step, self.learning_rate = step, learning_rate
        self.losses.append(loss)
        if step % self.every == 0:
            self.write()

    def write(self) -> None:
        """The mean loss since the last record, if there were batches since."""
        if not self.losses:
            return
        event = {
            "step": self.step,
            "values": {"scorer": sum(self.losses) / len(self.losses)},
            "seconds_per_step": (time.monotonic() - self.began) / self.step,
            "learning_rate": self.learning_rate,
        }
        self.losses.clear()
        self.journal.append("losses", **event)
        self.session.emit({"event": "losses", **event})

    def validated(self, step: int, values: dict[str, float]) -> None:
        self.journal.append("validation", step=step, values=values)
        if values["class_iou"] > self.best[0]:
            self.best = (values["class_iou"], step)


def lacking(folder: Path, names: Sequence[str], sizes: Sequence[Sequence[int]]) -> list[int]:
    """Positions of the names whose NAME.png is missing, damaged (every chunk of a PNG file has a
    checksum) or not of its size (H, W)."""
    wanted = enumerate(zip(names, sizes, strict=True))
    return [i for i, (name, size) in wanted if not _intact(folder / f"{name}.png", size)]


def _intact(path: Path, size: Sequence[int]) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.verify()
            return image.size == (size[1], size[0])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def write_images(folder: Path, split: Split, images: np.ndarray) -> None:
    """(N, H, W, 3) or (N, H, W) uint8 of a split, without their padding, as NAME.png: those that
    are not there whole."""
    for index in lacking(folder, split.names, split.shown):
        height, width = split.shown[index]
        image = np.asarray(images[index, :height, :width])
        write_image(folder / f"{split.names[index]}.png", image)


def write_image(path: Path, image: np.ndarray) -> None:
    with replacing(path) as file:
        Image.fromarray(image).save(file, format="PNG")
