"""From the options of the command line to results: what is loaded, checked and recorded."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.families import Scoring
from eval.labels import DataSet, read_data_set
from eval.lpips import LPIPSDistance, load_lpips
from eval.matching import match
from eval.metrics import PROTOCOLS, of_family
from eval.results import ScoreResults
from eval.score import score_folders
from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import file_sha256
from pix2pix.data.decode import check_image, is_lossy

# Measured (docs/scores.md): the photos saved at quality 75 against the same pixels as PNG.
JPEG_EFFECT = (
    "JPEG changes scores: CamVid's 101 val photos at 128x128, saved at quality 75 and scored as"
    " translations, go from 0.874/0.613/0.488 to 0.869/0.605/0.481 in FCN-score (an in-suite"
    " scorer of 700 batches), from 1 to 0.982, 0.883 and 0.881 in color.L, a and b, and to"
    " L1 0.014, PSNR 33.9 dB, SSIM 0.947. Save PNG instead."
)
NEEDS_CLASSES = "needs --labels DIR and a --dataset NAME with classes"


def score(
    options: argparse.Namespace, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[ScoreResults, list[str]]:
    """Score what the options name; returns the results, and warnings and notes for the user.

    Raises:
        UserError: something does not fit; one line.
    """
    if options.device == "cuda":
        check_cuda()
    if options.datasets is not None and options.dataset is None:
        raise UserError("--datasets: needs --dataset NAME, one of the data sets in the file")
    data = read_data_set(options.dataset, options.datasets) if options.dataset else None
    families = _families(options, data)
    scoring = _with_data_set(Scoring(families=families), options, data)
    missing: dict[str, str] = {}
    record: dict[str, Any] = {}
    notes: list[str] = []
    if "fcn" in families:
        try:
            scoring, record = _with_scorer(scoring, options, data, notes)
        except NotMeasured as reason:
            if options.scores is not None:
                raise UserError(f"--scores fcn: {reason}") from None
            missing = dict.fromkeys(of_family("fcn"), str(reason))
    if "lpips" in families:
        lpips = _lpips(options)
        if families == ("lpips",) and isinstance(lpips, NotMeasured):
            raise UserError(f"--scores lpips: {lpips}")
        scoring = dataclasses.replace(scoring, lpips=lpips)
    labels = options.labels if {"fcn", "labels"} & set(families) else None
    results = score_folders(
        options.translations, options.targets, labels, scoring, workers=workers, progress=progress
    )
    results.not_measured.update(missing)
    if options.scores is not None and not results.values:
        why = "; ".join(dict.fromkeys(results.not_measured.values()))
        raise UserError(f"--scores {','.join(options.scores)}: nothing was scored: {why}")
    results.settings.update(
        command=shlex.join(["python", "-m", "eval", *options.command_line]),
        device=options.device,
        dataset=options.dataset,
        direction=data.direction if data else None,
        **record,
    )
    return results, [*notes, *_warnings(options, results)]


def check_cuda() -> None:
    """Set plain single precision on the GPU; UserError if there is none."""
    import torch

    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device; leave the option out")
    # As cells are scored: a GPU would otherwise round to TF32.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def _families(options: argparse.Namespace, data: DataSet | None) -> tuple[str, ...]:
    """The families to score; UserError if one cannot be, or if an option would do nothing."""
    classes = data is not None and bool(data.class_names)
    network = options.scorer is not None or options.protocol is not None or data is not None
    if options.scores is None and options.labels is not None and not network:
        raise UserError("--labels: needs --scorer FILE or --dataset NAME to score with")
    families = tuple(options.scores or _default_families(options, data))
    if "fcn" in families and "labels" in families:
        raise UserError("--scores: translations are photos (fcn) or label maps (labels)")
    if "fcn" in families and (options.labels is None or not network):
        raise UserError("--scores fcn: needs --labels DIR and --scorer FILE or --dataset NAME")
    if "labels" in families and (options.labels is None or not classes):
        raise UserError(f"--scores labels: {NEEDS_CLASSES}")
    for name, family, why in (
        ("scorer", "fcn", "is for fcn, which is not scored here; fcn needs --labels DIR"),
        ("protocol", "fcn", "is for fcn, which is not scored here; fcn needs --labels DIR"),
        ("lpips_weights", "lpips", "is for lpips, which is not scored here"),
        ("lpips_net", "lpips", "is for lpips, which is not scored here"),
    ):
        if getattr(options, name) is not None and family not in families:
            raise UserError(f"--{name.replace('_', '-')}: {why}")
    if options.labels is not None and not {"fcn", "labels"} & set(families):
        raise UserError("--labels: is for fcn and labels, which are not scored here")
    if options.protocol is not None and (data is not None or options.label_values is not None):
        raise UserError(
            f"--protocol {options.protocol}: defines the labels itself;"
            " leave --dataset, --datasets and --label-values out"
        )
    if options.label_values is not None and not (classes and options.labels is not None):
        raise UserError(f"--label-values: {NEEDS_CLASSES}")
    return families


def _default_families(options: argparse.Namespace, data: DataSet | None) -> tuple[str, ...]:
    """All families that the options allow."""
    always = ("lpips", "color", "pixel")
    if options.labels is None:
        return always
    painted = data is not None and data.labels_are == "target" and options.protocol is None
    return ("labels" if painted else "fcn", *always)


def _with_data_set(scoring: Scoring, options: argparse.Namespace, data: DataSet | None) -> Scoring:
    """Adds the classes and the palette of a data set, and how its label maps are read."""
    if data is None or not data.class_names:
        return scoring
    return dataclasses.replace(
        scoring,
        palette=data.palette,
        classes=len(data.class_names),
        class_names=data.class_names,
        label_reader=data.label_reader(options.label_values),
        label_endings=data.label_endings,
    )


def _with_scorer(
    scoring: Scoring, options: argparse.Namespace, data: DataSet | None, notes: list[str]
) -> tuple[Scoring, dict[str, Any]]:
    """Adds the network of fcn; returns also what is recorded about it.

    Raises:
        NotMeasured: the data set has no labels, or no scorer of it was found.
        UserError: the scorer cannot be read or does not fit.
    """
    from eval.scorer.cityscapes import load_published_scorer
    from eval.scorer.file import check_scorer, find_scorer, is_published, load_scorer

    path = options.scorer
    if options.protocol is not None:
        if path is None:
            raise UserError(
                f"--protocol {options.protocol}: needs --scorer FILE, the converted network"
            )
        network = load_published_scorer(path, options.device)
        scoring = dataclasses.replace(scoring, scorer=network, protocol=options.protocol)
        return scoring, {"scorer": {"file": str(path), "file_sha256": file_sha256(path)}}
    if data is not None and not data.class_names:
        raise NotMeasured(f"{data.name} has no labels")
    if path is None:
        assert data is not None, "checked by _families"
        matched = match(
            options.translations,
            options.targets,
            options.labels,
            label_endings=data.label_endings,
        )
        size = check_image(matched.translations[0]).size
        path = find_scorer(data.name, size, data.class_names, datasets=options.datasets)
        notes.append(f"scorer: {path}")
    scorer, known = load_scorer(path, options.device)
    if is_published(known):
        raise UserError(
            f"{path}: is the published scorer; use it with --protocol {PROTOCOLS[0]}, which applies"
            " its preprocessing"
        )
    if data is not None:
        check_scorer(path, known, data.class_names, {"dataset": data.name})
    record = {
        "file": str(path),
        "file_sha256": file_sha256(path),
        **{key: known[key] for key in ("source", "settings", "class_names")},
        "weights_sha256": known["sha256"],
    }
    scoring = dataclasses.replace(scoring, scorer=scorer, class_names=known["class_names"])
    return scoring, {"scorer": record}


def _lpips(options: argparse.Namespace) -> LPIPSDistance | NotMeasured:
    net = options.lpips_net or "alex"
    try:
        return load_lpips(net, options.lpips_weights, device=options.device)
    except NotMeasured as reason:
        return reason


def _warnings(options: argparse.Namespace, results: ScoreResults) -> list[str]:
    """What the user has to know about files that were scored all the same."""
    warnings = []
    for side, formats in results.settings["formats"].items():
        lossy = {name: count for name, count in formats.items() if is_lossy(name)}
        if lossy and side != "labels":
            files = ", ".join(f"{count} {name}" for name, count in lossy.items())
            warnings.append(f"warning: {side}: {files} files. {JPEG_EFFECT}")
        elif lossy and "label_maps" in results.settings:
            share = results.settings["label_maps"]["ignored_share"]
            warnings.append(
                f"warning: labels: {sum(lossy.values())} lossy files, read by the nearest colour of"
                f" a class. {share:.2%} of all label pixels are ignored, including those too far"
                " from any class. Save PNG instead."
            )
    same = options.targets is not None and options.translations.samefile(options.targets)
    if same and results.settings["matched_by"] == "equal names":
        warnings.append("note: translations and targets are one folder: these scores are a ceiling")
    return warnings + _size_warnings(results)


def _size_warnings(results: ScoreResults) -> list[str]:
    """A warning if the scorer was trained at a size that is not the size of all images."""
    scorer = results.settings.get("scorer")
    if scorer is None:
        return []
    if results.original_script is not None:
        from eval.scorer.cityscapes import PHOTO_SIZE

        trained: Any = PHOTO_SIZE
    else:
        trained = scorer.get("source", {}).get("size")
    smallest, largest = results.settings["smallest"], results.settings["largest"]
    several = results.settings["sizes"] > 1
    if trained is None or (not several and smallest == list(trained)):
        return []
    sizes = "x".join(map(str, smallest)) + (f" to {'x'.join(map(str, largest))}" * several)
    return [
        f"warning: {Path(scorer['file']).name} was trained at {trained[0]}x{trained[1]} pixels and"
        f" scores images of {sizes}: such scores are not comparable with others"
    ]
