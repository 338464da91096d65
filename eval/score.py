"""Score a folder of translated images, from the files alone, one image at a time.

The measurement of an image depends only on its files, and measurements are added in the order of
the images, so the number of processes changes no bit of any score. Each process has one thread,
because sums of floating-point numbers depend on how they are split.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import math
import multiprocessing
import os
import pickle
import platform
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from eval import bootstrap, fcn_score
from eval.color import BIN_WIDTHS
from eval.families import ClassScores, ColorScores, FamilyScores, Scoring, build_family
from eval.matching import LABEL_IDS, TRAIN_IDS, ImageFiles, Matched, match
from eval.metrics import FAMILIES, of_family
from eval.pixel import SSIM_MINIMUM
from eval.results import ScoreResults
from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.data.decode import Reading, check_image, read_labels, read_pixels, read_rgb

PACKAGES = ["numpy", "pillow", "torch", "torchmetrics", "scikit-image", "lpips"]

Size = tuple[int, int]
Measured = dict[str, Any]


def score_folders(
    translations: Path,
    targets: Path | None,
    labels: Path | None,
    scoring: Scoring,
    *,
    holes: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreResults:
    """Score translations against targets and label maps, matched by name (eval.matching).

    Args:
        translations, targets: folders of 8-bit RGB images, of equal size pair by pair. `targets`
            may be None if the translations' folder holds them too.
        labels: folder of label maps, by default 8-bit index PNG files, 255 ignored. Needed for
            "fcn" and "labels".
        holes: folder of 8-bit grey images, not 0 where an inpainting had to fill. Needed for
            "hole".
        workers: processes that measure; the scores do not depend on their number.
        progress: called with (images done, images in all).

    Returns:
        Results in which every score of `scoring.families` has a value, or a reason why not.

    Raises:
        UserError: images that are missing, unmatched, unreadable or of different size; labels
            out of range; or a process that died.
    """
    label_size: Size | None = None
    if scoring.protocol is not None:
        from eval.scorer import cityscapes

        label_size, names = cityscapes.SIZE, cityscapes.CLASS_NAMES[: cityscapes.SCORED]
        endings = (LABEL_IDS, TRAIN_IDS)
        scoring = dataclasses.replace(
            scoring, class_names=names, label_endings=endings, label_reader=None
        )
    matched = match(
        translations,
        targets,
        labels,
        labels_are="target" if "labels" in scoring.families else "input",
        label_endings=scoring.label_endings,
    )
    if holes is not None:
        matched = matched.with_holes(holes)
    label_maps_as: Reading = "labels" if scoring.label_reader else "index"
    sizes, formats, read_as = check_headers(matched, label_maps_as, label_size)
    smallest = min(sizes, key=lambda size: (min(size), size))
    families, reasons = _build_families(scoring, labels is not None, smallest)
    labelled = next((one for one in families.values() if isinstance(one, ClassScores)), None)
    read: Callable[[Path], np.ndarray] | None = None
    label_maps: dict[str, Any] = {}
    if labelled is not None:
        read, label_maps = _label_reading(scoring, matched, labelled.classes)
    clips = bootstrap.clip_numbers(matched.names, scoring.clip) if scoring.clip else None
    for measured in measure_all(matched, ImageMeasurement(families, read), workers, progress):
        for name, family in families.items():
            family.measured.append(measured[name])
    if labelled is not None:
        pixels = sum(n * math.prod(label_size or size) for size, n in sizes.items())
        confusion = labelled.confusions().sum(0)
        label_maps["ignored_share"] = 1 - int(confusion.sum()) / pixels
        scored = confusion[: labelled.scored] if labelled.scored else confusion
        absent = np.flatnonzero(scored.sum(1) == 0).tolist()
        label_maps["absent_classes"] = [
            scoring.class_names[index] if scoring.class_names else str(index) for index in absent
        ]
    settings = {
        "images": len(matched.names),
        "smallest": list(smallest),
        "largest": list(max(sizes)),
        "sizes": len(sizes),
        "matched_by": matched.convention,
        **({"passed_over": list(matched.passed_over)} if matched.passed_over else {}),
        "formats": formats,
        **({"read_as": read_as} if read_as else {}),
        **({"label_maps": label_maps} if label_maps else {}),
        **({"protocol": scoring.protocol} if scoring.protocol else {}),
        **{name: family.settings for name, family in families.items()},
        "bootstrap": bootstrap.settings(
            len(matched.names), None if clips is None else int(clips.max()) + 1
        ),
        "versions": _versions(),
    }
    return _results(matched.names, scoring, families, reasons, settings, clips)


def _build_families(
    scoring: Scoring, labelled: bool, smallest: Size
) -> tuple[dict[str, FamilyScores], dict[str, str]]:
    """The families that can be measured, and {score: why not} of the others."""
    measured: dict[str, FamilyScores] = {}
    reasons: dict[str, str] = {}
    for family in FAMILIES:
        if family not in scoring.families:
            continue
        try:
            measured[family] = build_family(family, scoring, labelled, smallest)
        except NotMeasured as reason:
            reasons.update(dict.fromkeys(of_family(family), str(reason)))
    if min(smallest) < SSIM_MINIMUM and "pixel" in scoring.families:
        reasons["pixel.ssim"] = (
            f"an image of {_text(smallest)} pixels is below {SSIM_MINIMUM} pixels per side"
        )
    return measured, reasons


def _label_reading(
    scoring: Scoring, matched: Matched, classes: int
) -> tuple[Callable[[Path], np.ndarray], dict[str, Any]]:
    """How label maps are read, and what is recorded about it."""
    record = {"ending": matched.label_ending, "read_as": "class positions"}
    if scoring.protocol is not None:
        from eval.scorer.cityscapes import read_train_ids

        return read_train_ids, record | {"read_as": "Cityscapes' trainIds"}
    if scoring.label_reader is not None:
        reader = scoring.label_reader(matched)
        return reader, record | reader.record(matched.labels or ())
    return functools.partial(read_labels, classes=classes), record


def _results(
    names: tuple[str, ...],
    scoring: Scoring,
    families: Mapping[str, FamilyScores],
    reasons: dict[str, str],
    settings: dict[str, Any],
    clips: np.ndarray | None,
) -> ScoreResults:
    """The results of all families once every image is added."""
    wanted = [name for family in scoring.families for name in of_family(family)]
    values = {name: v for family in families.values() for name, v in family.values().items()}
    intervals = {n: i for family in families.values() for n, i in family.intervals(clips).items()}
    unlabelled = [name for name, value in values.items() if not math.isfinite(value)]
    reasons = reasons | dict.fromkeys(unlabelled, "no pixel is labelled")
    results = ScoreResults(
        names=names,
        values={name: values[name] for name in wanted if name not in reasons},
        not_measured={name: reasons[name] for name in wanted if name in reasons},
        intervals={name: intervals[name] for name in wanted if name in intervals},
        per_image={n: c for family in families.values() for n, c in family.per_image().items()},
        settings=settings,
    )
    for family in families.values():
        if isinstance(family, ClassScores):
            results.confusion = family.confusions()
            results.per_class = _by_class(results.confusion, family.scored, scoring.class_names)
        if isinstance(family, ColorScores):
            results.lab, results.lab_targets = family.counts()
            results.color_by_bin_width = {f"{w:g}": family.values(w) for w in BIN_WIDTHS}
    if scoring.protocol is not None and results.confusion is not None:
        from eval.scorer.cityscapes import original_script_scores

        script = original_script_scores(results.confusion)
        script["dropped_images"] = [names[index] for index in script["dropped_images"]]
        results.original_script = script
    return results


def _by_class(
    confusion: np.ndarray, scored: int | None, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """A row per scored class: name, accuracy and IoU; None if the class is absent."""
    found = fcn_score.per_class(confusion.sum(0), scored)
    accuracy, iou = ([None if math.isnan(x) else x for x in one.tolist()] for one in found)
    rows = zip(names or map(str, range(len(iou))), accuracy, iou, strict=False)
    return [{"class": name, "accuracy": share, "iou": union} for name, share, union in rows]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("pix2pix-ablations", *PACKAGES):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def check_headers(
    matched: Matched, labels_as: Reading, label_size: Size | None
) -> tuple[Counter[Size], dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Check the kind and size of every file by its header, before anything is measured.

    Args:
        labels_as: as what label maps are read.
        label_size: the size of all label maps; None: each has the size of its image.

    Returns:
        How many images have which (H, W), how many files per side have which format, and how many
        are no plain 8-bit files, by how they are read.

    Raises:
        UserError: a wrong kind, or unequal sizes.
    """
    sizes: Counter[Size] = Counter()
    formats: dict[str, Counter[str]] = {}
    read_as: dict[str, Counter[str]] = {}
    for translation, target, label, hole in matched.files():
        size: Size | None = None
        files: list[tuple[str, Path, Reading]]
        files = [("translations", translation, "photo"), ("targets", target, "photo")]
        if label is not None:
            files.append(("labels", label, labels_as))
        if hole is not None:
            files.append(("holes", hole, "grey"))
        for side, path, reading in files:
            found = check_image(path, reading)
            formats.setdefault(side, Counter())[found.format] += 1
            if found.read_as:
                read_as.setdefault(side, Counter())[found.read_as] += 1
            size = size or found.size
            wanted = (label_size or size) if side == "labels" else size
            if found.size != wanted:
                needed = f"{_text(wanted)} pixels (height x width), not {_text(found.size)}"
                like = "" if side == "labels" and label_size else f", as {translation} has"
                raise UserError(f"{path}: must have {needed}{like}")
        assert size is not None
        sizes[size] += 1
    return sizes, {k: dict(v) for k, v in formats.items()}, {k: dict(v) for k, v in read_as.items()}


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


@dataclass(frozen=True)
class ImageMeasurement:
    """Measures one image with every family; pickled for the worker processes."""

    families: Mapping[str, FamilyScores]
    read_labels: Callable[[Path], np.ndarray] | None

    def __call__(self, files: ImageFiles) -> Measured:
        translation, target = read_rgb(files.translation), read_rgb(files.target)
        labels = None
        if self.read_labels is not None and files.labels is not None:
            labels = self.read_labels(files.labels)
        hole = None if files.hole is None else read_pixels(files.hole, "grey")
        if hole is not None and not hole.any():
            raise UserError(f"{files.hole}: is 0 everywhere, so there is no hole")
        return {
            name: family.measure(translation, target, hole if name == "hole" else labels)
            for name, family in self.families.items()
        }

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[None]:
        """torch uses one thread in this block, if one of the families needs it."""
        if set(self.families) <= {"color", "labels"}:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def measure_all(
    matched: Matched,
    measurement: ImageMeasurement,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Measured]:
    """What each family measures, in the order of the images.

    Args:
        workers, progress: of `score_folders`; 1 measures in this process.

    Raises:
        UserError: an image cannot be scored, or a worker process died.
    """
    images = list(matched.files())
    workers = min(workers, len(images))
    if workers == 1:
        results = _measure_here(images, measurement)
    else:
        results = _measure_in(workers, images, measurement)
    for done, measured in enumerate(results, 1):
        yield measured
        if progress is not None:
            progress(done, len(images))


def _measure_here(
    images: Sequence[ImageFiles], measurement: ImageMeasurement
) -> Iterator[Measured]:
    with measurement.one_thread():
        yield from map(measurement, images)


def _measure_in(
    workers: int, images: Sequence[ImageFiles], measurement: ImageMeasurement
) -> Iterator[Measured]:
    """In worker processes. They end at once when this generator or this process ends."""
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    reading, lifeline = context.Pipe(duplex=False)
    # torch would share its tensors with the processes if they pickled the measurement.
    initial = (pickle.dumps(measurement), reading)
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=initial)
    try:
        # Processes start here, and leave Ctrl-C to this one. They would first run a user's script
        # again, from its top, if they knew it; only a distance of the script's own needs that.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        script = sys.modules["__main__"]
        if b"__main__" not in initial[0]:
            sys.modules["__main__"] = ModuleType("__main__")
        try:
            results = pool.map(_measure, images)
        finally:
            sys.modules["__main__"] = script
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield from results
    except BrokenProcessPool:
        raise UserError(
            "a worker process died, possibly out of memory; try fewer --workers"
        ) from None
    finally:
        lifeline.close()
        pool.shutdown(cancel_futures=True)
        reading.close()


_measurement: ImageMeasurement
"""Of a worker process: what it measures."""


def _start_worker(pickled: bytes, lifeline: Connection) -> None:
    """Initialise a worker process, which ends when the other end of `lifeline` is closed."""
    global _measurement
    threading.Thread(target=_exit_after, args=(lifeline,), daemon=True).start()
    _measurement = pickle.loads(pickled)


def _exit_after(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _measure(files: ImageFiles) -> Measured:
    with _measurement.one_thread():
        return _measurement(files)
