"""From the command line's options to a sheet of scores: what is loaded, checked and recorded."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.backbones import file_sha256
from eval.matching import LABEL_IDS, TRAIN_IDS, match
from eval.metrics import PROTOCOLS, of_family
from eval.results import ScoreSheet
from eval.score import score_folders
from pix2pix.common.errors import NotMeasured, ScoringError
from pix2pix.data.decode import check_image, is_lossy

# Measured (docs/scores.md): the photos saved at quality 75 against the same pixels as PNG.
JPEG_EFFECT = (
    "JPEG moves scores: CamVid's 101 val photos at 128x128, saved at quality 75 and scored as"
    " translations, go from 0.874/0.613/0.488 to 0.869/0.605/0.481 in FCN-score (an in-suite"
    " scorer of 700 batches), from 1 to 0.982, 0.883 and 0.881 in color.L, a and b, and to"
    " L1 0.014, PSNR 33.9 dB, SSIM 0.947. Save PNG instead."
)


def score(
    options: argparse.Namespace, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[ScoreSheet, list[str]]:
    """Score what the options name; the sheet, and warnings for people.

    Raises:
        ScoringError: anything that does not fit; one line.
    """
    if options.device == "cuda":
        check_cuda()
    data = None
    if options.dataset is not None:
        # pix2pix is only loaded by whoever names a data set.
        from eval.labels import read_data_set

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
            "label_reader": data.label_reader(options.label_values),
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
        if families == ("lpips",) and isinstance(arguments["lpips"], NotMeasured):
            raise ScoringError(f"--scores lpips: {arguments['lpips']}")
    sheet = score_folders(
        options.translations,
        options.targets,
        labels,
        workers=workers,
        progress=progress,
        **arguments,
    )
    sheet.not_measured.update(missing)
    if options.scores is not None and not sheet.values:
        why = "; ".join(dict.fromkeys(sheet.not_measured.values()))
        raise ScoringError(f"--scores {','.join(options.scores)}: nothing was scored: {why}")
    sheet.settings.update(
        command=shlex.join(["python", "-m", "eval", *options.written]),
        device=options.device,
        dataset=options.dataset,
        direction=data.direction if data else None,
        **record,
    )
    return sheet, [*warnings, *_warnings(options, sheet)]


def check_cuda() -> None:
    """ScoringError without a GPU; with one, its arithmetic is set to plain single precision."""
    import torch

    if not torch.cuda.is_available():
        raise ScoringError("--device cuda: torch finds no CUDA device here; leave it out")
    # Plain float32, as cells are scored: a GPU would otherwise round to TF32.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


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
    for name in ("lpips_weights", "lpips_net"):
        if getattr(options, name) is not None and "lpips" not in asked:
            raise ScoringError(f"--{name.replace('_', '-')}: is for lpips, which is not scored")
    if options.labels is not None and not {"fcn", "labels"} & set(asked):
        raise ScoringError("--labels: is for fcn and labels, which are not scored")
    if options.protocol is not None and (data is not None or options.label_values is not None):
        raise ScoringError(
            f"--protocol {options.protocol}: says itself what labels mean;"
            " leave --dataset, --datasets and --label-values out"
        )
    if options.label_values is not None and not (classes and options.labels is not None):
        raise ScoringError("--label-values: needs --labels DIR and a --dataset NAME with classes")
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
        from eval.scorer.published import load_protocol, published_class_names

        protocol = load_protocol(options.protocol, options.scorer, options.device)
        record["scorer"] = _scorer_record(options.scorer, None)
        return {
            "protocol": protocol,
            "label_endings": (LABEL_IDS, TRAIN_IDS),
            "class_names": published_class_names(),
        }
    if data is not None and not data.class_names:
        raise NotMeasured(f"{data.name} has no labels")
    from eval.scorer.file import check_scorer, load_scorer
    from eval.scorer.find_scorer import find_scorer

    path = options.scorer
    if path is None:
        size = _first_size(options, data)
        path = find_scorer(data.name, size, data.class_names, datasets=options.datasets)
        warnings.append(f"scorer: {path}")
    scorer, known = load_scorer(path, options.device)
    if isinstance(known["source"], dict) and "caffemodel_sha256" in known["source"]:
        raise ScoringError(
            f"{path}: is the published scorer, which only --protocol {PROTOCOLS[0]} feeds rightly"
        )
    if data is not None:
        check_scorer(path, known, data.class_names, {"dataset": data.name})
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
    from eval.lpips import load_lpips

    try:
        net = options.lpips_net or "alex"
        return load_lpips(net, options.lpips_weights, device=options.device)
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
        elif lossy and "label_maps" in sheet.settings:
            share = sheet.settings["label_maps"]["ignored_share"]
            told.append(
                f"warning: labels: {sum(lossy.values())} lossy files, read by the nearest colour of"
                f" a class; {share:.2%} of all label pixels are ignored, those too far from any"
                " among them. Save PNG instead."
            )
    same = options.targets is not None and options.translations.samefile(options.targets)
    if same and sheet.settings["matched_by"] == "equal names":
        told.append("note: translations and targets are one folder: these scores are a ceiling")
    return told + _size_warnings(sheet)


def _size_warnings(sheet: ScoreSheet) -> list[str]:
    """A scorer knows photos of one size: other sizes are scored, but compare with nothing."""
    scorer = sheet.settings.get("scorer")
    if scorer is None:
        return []
    if sheet.original_script is not None:
        from eval.scorer.cityscapes import PHOTO_SIZE

        trained: Any = PHOTO_SIZE
    else:
        trained = scorer["source"].get("size") if isinstance(scorer["source"], dict) else None
    smallest, largest = sheet.settings["smallest"], sheet.settings["largest"]
    several = sheet.settings["sizes"] > 1
    if trained is None or (not several and smallest == list(trained)):
        return []
    sizes = "x".join(map(str, smallest)) + (f" to {'x'.join(map(str, largest))}" * several)
    return [
        f"warning: {Path(scorer['file']).name} was trained at {trained[0]}x{trained[1]} pixels and"
        f" scores images of {sizes}: such scores compare with no others"
    ]


def show(lines: list[str]) -> None:
    """Warnings, apart from the table."""
    for line in lines:
        print(line, file=sys.stderr)
