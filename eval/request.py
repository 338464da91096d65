"""From the command line's options to a sheet of scores: what is loaded, checked and recorded."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.backbone import file_sha256
from eval.errors import NotMeasured, ScoringError
from eval.images import check_image, is_lossy
from eval.matching import LABEL_IDS, TRAIN_IDS, match
from eval.metrics import of_family
from eval.score_folder import score_folders
from eval.sheet import ScoreSheet

# Measured (docs/scores.md): the photos saved at quality 75 against the same pixels as PNG.
JPEG_EFFECT = (
    "JPEG moves scores: CamVid's 101 val photos at 128x128, saved at quality 75 and scored as"
    " translations, go from 0.866/0.571/0.462 to 0.864/0.568/0.459 in FCN-score (an in-suite"
    " scorer of 700 batches), from 1 to 0.982, 0.883 and 0.881 in color.L, a and b, and to"
    " L1 0.014, PSNR 33.9 dB, SSIM 0.948. Save PNG instead."
)


def score(
    options: argparse.Namespace, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[ScoreSheet, list[str]]:
    """Score what the options name; the sheet, and warnings for people.

    Raises:
        ScoringError: anything that does not fit; one line.
    """
    if options.device == "cuda":
        _check_cuda()
    data = None
    if options.dataset is not None:
        # pix2pix is only loaded by whoever names a data set.
        from eval.registry import read_data_set

        data = read_data_set(options.dataset, options.datasets)
    elif options.datasets is not None:
        raise ScoringError("--datasets: needs --dataset NAME, one of the file's data sets")
    data_classes = (data.class_names or None) if data else None
    families = _families(options, data)
    labels = options.labels if {"fcn", "labels"} & set(families) else None
    arguments: dict[str, Any] = {"families": families, "class_names": data_classes}
    if data is not None and data_classes and options.protocol is None:
        arguments |= {
            "label_endings": data.label_endings,
            "label_reader": data.label_reader,
            "classes": len(data_classes),
        }
    if "labels" in families and data is not None:
        arguments["palette"] = data.palette
    missing: dict[str, str] = {}
    record: dict[str, Any] = {}
    warnings: list[str] = []
    if "fcn" in families:
        try:
            arguments |= _scorer(options, data, record, warnings)
        except NotMeasured as reason:
            if options.scores is not None:
                raise ScoringError(f"--scores fcn: {reason}") from None
            missing = dict.fromkeys(of_family("fcn"), str(reason))
    if "lpips" in families:
        arguments["lpips"] = _lpips(options)
    sheet = score_folders(
        options.translations,
        options.targets,
        labels,
        workers=workers,
        progress=progress,
        **arguments,
    )
    sheet.not_measured.update(missing)
    sheet.settings.update(
        command=shlex.join(["python", "-m", "eval", *options.written]),
        device=options.device,
        dataset=options.dataset,
        direction=data.direction if data else None,
        **record,
    )
    return sheet, [*warnings, *_warnings(options, sheet)]


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ScoringError("--device cuda: torch finds no CUDA device here; leave it out")


def _families(options: argparse.Namespace, data: Any) -> tuple[str, ...]:
    """What is to be scored, and a refusal where it cannot be, or an option would be idle."""
    classes = data is not None and bool(data.class_names)
    network = options.scorer is not None or options.protocol is not None or data is not None
    if options.scores is None:
        painted = classes and data.labels_are == "target" and options.protocol is None
        by_class = ("labels",) if painted else ("fcn",)
        asked = (*(by_class if options.labels is not None else ()), "lpips", "color", "pixel")
        if options.labels is not None and not network:
            raise ScoringError("--labels: needs --scorer FILE or --dataset NAME to score with")
    else:
        asked = tuple(options.scores)
    if "fcn" in asked and "labels" in asked:
        raise ScoringError("--scores: translations are photos (fcn) or label maps (labels)")
    if "fcn" in asked and (options.labels is None or not network):
        raise ScoringError("--scores fcn: needs --labels DIR and --scorer FILE or --dataset NAME")
    if "labels" in asked and (options.labels is None or not classes):
        raise ScoringError("--scores labels: needs --labels DIR and a --dataset NAME with classes")
    for name in ("scorer", "protocol"):
        if getattr(options, name) is not None and "fcn" not in asked:
            raise ScoringError(f"--{name}: is for fcn, which needs --labels DIR and is not scored")
    return asked


def _scorer(
    options: argparse.Namespace, data: Any, record: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    """The arguments that make fcn measurable; fills what is to be recorded of the scorer.

    Raises NotMeasured where the data set has no labels, or no scorer was found for it.
    """
    if options.protocol is not None:
        if options.scorer is None:
            raise ScoringError(f"--protocol {options.protocol}: needs --scorer FILE, converted")
        from eval.published import load_protocol, published_class_names

        protocol = load_protocol(options.protocol, options.scorer, options.device)
        record["scorer"] = _scorer_record(options.scorer, None)
        return {
            "protocol": protocol,
            "label_endings": (LABEL_IDS, TRAIN_IDS),
            "class_names": published_class_names(),
        }
    if data is not None and not data.class_names:
        raise NotMeasured(f"{data.name} has no labels")
    from eval.find_scorer import find_scorer
    from eval.scorer_file import check_scorer, load_scorer

    size = _first_size(options, data)
    path = options.scorer
    if path is None:
        path = find_scorer(data.name, size, data.class_names)
        warnings.append(f"scorer: {path}")
    scorer, known = load_scorer(path, options.device)
    if data is not None:
        check_scorer(path, known, data.class_names, {"dataset": data.name})
    trained = known["source"].get("size") if isinstance(known["source"], dict) else None
    if trained is not None and list(trained) != list(size):
        warnings.append(
            f"warning: {path.name} was trained at {trained[0]}x{trained[1]} pixels and scores"
            f" images of {size[0]}x{size[1]}: such scores compare with no others"
        )
    record["scorer"] = _scorer_record(path, known)
    return {"scorer": scorer, "class_names": known["class_names"]}


def _scorer_record(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"file": str(path), "file_sha256": file_sha256(path)}
    if known is not None:
        told = ("source", "settings", "class_names", "sha256")
        found |= {"weights_sha256" if key == "sha256" else key: known[key] for key in told}
    return found


def _first_size(options: argparse.Namespace, data: Any) -> tuple[int, int]:
    endings = data.label_endings if data is not None else (TRAIN_IDS,)
    matched = match(options.translations, options.targets, options.labels, label_endings=endings)
    return check_image(matched.translations[0]).size


def _lpips(options: argparse.Namespace) -> Any:
    from eval.lpips_distance import load_lpips

    try:
        return load_lpips(options.lpips_net, options.lpips_weights, device=options.device)
    except NotMeasured as reason:
        return reason


def _warnings(options: argparse.Namespace, sheet: ScoreSheet) -> list[str]:
    """What a reader has to know of files that were scored all the same."""
    told = []
    for side, formats in sheet.settings["formats"].items():
        lossy = {name: count for name, count in formats.items() if is_lossy(name)}
        if lossy and side != "labels":
            files = ", ".join(f"{count} {name}" for name, count in lossy.items())
            told.append(f"warning: {side}: {files} files. {JPEG_EFFECT}")
    same = options.targets is not None and options.translations.samefile(options.targets)
    if same and sheet.settings["matched_by"] == "equal names":
        told.append("note: translations and targets are one folder: these scores are a ceiling")
    if sheet.original_script is not None and sheet.settings["smallest"] != [256, 256]:
        told.append("warning: the published scorer knows photos of 256x256 pixels only")
    return told


def show(lines: list[str]) -> None:
    """Warnings, apart from the table."""
    for line in lines:
        print(line, file=sys.stderr)
