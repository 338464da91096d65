"""From the options of the command line to results: what is loaded, checked and recorded."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval.families import Scoring
from eval.labels import choose_reader, label_endings
from eval.lpips import LPIPSDistance, load_lpips
from eval.matching import match
from eval.metrics import PROTOCOLS, of_family
from eval.results import ScoreResults
from eval.score import score_folders
from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import file_sha256
from pix2pix.data.decode import check_image, is_lossy
from pix2pix.data.registry import DatasetEntry, find_entry, load_registry

# Measured (docs/scores.md): the photos saved at quality 75 against the same pixels as PNG.
JPEG_EFFECT = (
    "JPEG changes scores: CamVid's 233 test photos at 128x128, saved at quality 75 and scored as"
    " translations, go from 0.823/0.499/0.421 to 0.804/0.470/0.388 in FCN-score (the"
    " in-suite scorer on VGG16), from 1 to 0.984, 0.941 and 0.913 in color.L, a and b, and to"
    " LPIPS 0.021, L1 0.013, PSNR 34.5 dB, SSIM 0.951. Save PNG instead."
)
MUCH_IGNORED = 0.25
"""Share of label pixels of no class above which a note becomes a warning."""
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
    data = None
    if options.dataset is not None:
        data = find_entry(load_registry(options.datasets), options.dataset)
    families = _families(options, data)
    scoring = Scoring(families=families)
    if data is not None and data.classes:
        scoring = dataclasses.replace(
            scoring,
            palette=np.array([one.colour for one in data.classes], np.uint8),
            class_names=[one.name for one in data.classes],
            label_reader=functools.partial(choose_reader, data, options.label_values),
            label_endings=label_endings(data),
        )
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
        lpips: LPIPSDistance | NotMeasured
        try:
            net = options.lpips_net or "alex"
            lpips = load_lpips(net, options.lpips_weights, device=options.device)
        except NotMeasured as reason:
            lpips = reason
        scoring = dataclasses.replace(scoring, lpips=lpips)
    sides = options.translations, options.targets, options.labels
    results = score_folders(
        *sides, scoring, holes=options.holes, workers=workers, progress=progress
    )
    results.not_measured.update(missing)
    if options.scores is not None and not results.values:
        why = "; ".join(dict.fromkeys(results.not_measured.values()))
        raise UserError(f"--scores {','.join(options.scores)}: nothing was scored: {why}")
    results.settings.update(
        command=shlex.join(["python", "-m", "eval", *options.command_line]),
        device=options.device,
        dataset=options.dataset,
        direction=data.default_direction if data else None,
        **record,
    )
    return results, [*notes, *_warnings(options, results)]


def check_cuda() -> None:
    """Set plain single precision on the GPU; UserError if there is none."""
    import torch

    from pix2pix.common.tf32 import set_tf32

    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device; leave the option out")
    # As cells are scored: a GPU would otherwise round to TF32.
    set_tf32(False)
    torch.set_float32_matmul_precision("highest")


def _families(options: argparse.Namespace, data: DatasetEntry | None) -> tuple[str, ...]:
    """The families to score; UserError if one cannot be, or if an option would do nothing."""
    labelled = options.labels is not None
    classes = labelled and data is not None and bool(data.classes)
    network = labelled and bool(options.scorer or options.protocol or data)
    families = options.scores
    if families is None:
        painted = classes and data is not None and data.label_role == data.roles()[1]
        families = ("labels" if painted and not options.protocol else "fcn",) if network else ()
        families += ("lpips", "color", "pixel", *("hole",) * (options.holes is not None))
    fcn, labels, lpips = (family in families for family in ("fcn", "labels", "lpips"))
    if fcn and labels:
        raise UserError("--scores: translations are photos (fcn) or label maps (labels)")
    if fcn and not network:
        raise UserError("--scores fcn: needs --labels DIR and --scorer FILE or --dataset NAME")
    if labels and not classes:
        raise UserError(f"--scores labels: {NEEDS_CLASSES}")
    if "hole" in families and options.holes is None:
        raise UserError("--scores hole: needs --holes DIR, the masks of the images")
    for name, useful, why in (
        ("holes", "hole" in families, "is for hole, which is not scored here"),
        ("labels", fcn or labels, "is for fcn and labels; needs --scorer FILE or --dataset NAME"),
        ("scorer", fcn, "is for fcn, which is not scored here; fcn needs --labels DIR"),
        ("protocol", fcn, "is for fcn, which is not scored here; fcn needs --labels DIR"),
        ("lpips_weights", lpips, "is for lpips, which is not scored here"),
        ("lpips_net", lpips, "is for lpips, which is not scored here"),
        ("datasets", data, "needs --dataset NAME, one of the data sets in the file"),
        ("label_values", classes, NEEDS_CLASSES),
        ("dataset", not options.protocol, "cannot go with --protocol, which defines the labels"),
    ):
        if getattr(options, name) is not None and not useful:
            raise UserError(f"--{name.replace('_', '-')}: {why}")
    return tuple(families)


def _with_scorer(
    scoring: Scoring, options: argparse.Namespace, data: DatasetEntry | None, notes: list[str]
) -> tuple[Scoring, dict[str, Any]]:
    """Adds the network of fcn; returns also what is recorded about it.

    Raises:
        NotMeasured: the data set has no labels, or no scorer of it was found.
        UserError: the scorer cannot be read or does not fit.
    """
    from eval.scorer.cityscapes import load_published_scorer
    from eval.scorer.file import check_scorer, find_scorer, is_published, load_scorer

    path, protocol = options.scorer, options.protocol
    if path is None and protocol is not None:
        raise UserError(f"--protocol {protocol}: needs --scorer FILE, the converted network")
    if protocol is not None:
        network = load_published_scorer(path, options.device)
        scoring = dataclasses.replace(scoring, scorer=network, protocol=protocol)
        return scoring, {"scorer": {"file": str(path), "file_sha256": file_sha256(path)}}
    if path is None:
        assert data is not None, "checked by _families"
        if not data.classes:
            raise NotMeasured(f"{data.name} has no labels")
        endings = scoring.label_endings
        sides = options.translations, options.targets, options.labels
        size = check_image(match(*sides, label_endings=endings).translations[0]).size
        path = find_scorer(data.name, size, scoring.class_names or (), datasets=options.datasets)
        notes.append(f"scorer: {path}")
    scorer, known = load_scorer(path, options.device)
    if is_published(known):
        raise UserError(
            f"{path}: is the published scorer; use it with --protocol {PROTOCOLS[0]}, which applies"
            " its preprocessing"
        )
    if data is not None:
        check_scorer(path, known, scoring.class_names, {"dataset": data.name})
    record = {
        "file": str(path),
        "file_sha256": file_sha256(path),
        **{key: known[key] for key in ("source", "settings", "class_names")},
        "weights_sha256": known["sha256"],
    }
    scoring = dataclasses.replace(scoring, scorer=scorer, class_names=known["class_names"])
    return scoring, {"scorer": record}


def _label_notes(label_maps: dict[str, Any]) -> list[str]:
    """Which part of the label maps was scored."""
    if "ignored_share" not in label_maps:
        return []
    share, absent = label_maps["ignored_share"], label_maps["absent_classes"]
    word = "warning" if share > MUCH_IGNORED else "note"
    notes = [f"{word}: labels: {share:.2%} of the pixels are of no class and not scored"]
    never = [f"note: labels: classes that never occur: {', '.join(absent)}"]
    return notes * bool(share) + never * bool(absent)


def _warnings(options: argparse.Namespace, results: ScoreResults) -> list[str]:
    """What the user has to know about files that were scored all the same, or passed over."""
    warnings = [f"warning: {text}" for text in results.settings.get("passed_over", ())]
    for side, counts in results.settings.get("read_as", {}).items():
        warnings += [
            f"note: {side}: {count} file{'s' * (count > 1)}: {text}"
            for text, count in counts.items()
        ]
    warnings += _label_notes(results.settings.get("label_maps", {}))
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
    scorer = results.settings.get("scorer", {})
    trained = scorer.get("source", {}).get("size")
    if results.original_script is not None:
        from eval.scorer.cityscapes import PHOTO_SIZE

        trained = list(PHOTO_SIZE)
    smallest, largest = results.settings["smallest"], results.settings["largest"]
    if trained is not None and not trained == smallest == largest:
        sizes = ["x".join(map(str, size)) for size in (trained, smallest, largest)]
        warnings.append(
            f"warning: {Path(scorer['file']).name} was trained at {sizes[0]} pixels and scores"
            f" images of {' to '.join(dict.fromkeys(sizes[1:]))}: such scores are not comparable"
            " with others"
        )
    return warnings
