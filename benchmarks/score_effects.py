"""What moves a score that should not move: real photos scored as if they were translations.

    python benchmarks/score_effects.py --data-root DIR [--size 128] [--json FILE] [--scorer FILE]

Takes a data set with labels (`--dataset`, default camvid), trains the in-suite scorer on VGG16 on
its training photos as the quick profile does (or loads one), and scores the test photos against
themselves: untouched, after JPEG, and brought to the working size in other ways than the suite's
own. Untouched they must give the ceiling exactly: otherwise the exit status is 1. Prints Markdown
(docs/scores.md quotes it); times are CPU seconds of this process on one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from eval.color import BIN_WIDTHS, CHANNELS
from eval.fcn_score import confusion_matrix, per_class, scores
from eval.lpips import load_lpips
from eval.metrics import METRICS
from eval.score import Scoring, score_folders
from eval.scorer.file import check_scorer, load_scorer, save_scorer
from eval.scorer.pretrained import HeadSettings, train_heads
from eval.scorer.train import hold_out, segment
from experiments.spec import load_profiles
from pix2pix.common.errors import NotMeasured
from pix2pix.data.cache import PairedData, prepare
from pix2pix.data.layouts import find_pairs
from pix2pix.data.registry import find_entry, load_registry

Image3 = np.ndarray
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "Lanczos": Image.Resampling.LANCZOS,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--dataset", default="camvid")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--scorer", type=Path, help="a scorer of this data and size; else trained")
    parser.add_argument("--save-scorer", type=Path, metavar="FILE")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    entry = find_entry(load_registry(None), options.dataset)
    direction = "labels->photo"
    size = (options.size, options.size)
    data = prepare(entry, options.data_root, size, direction, options.cache)
    source = {"dataset": entry.name, "fingerprint": data.fingerprint, "size": list(size)}
    cost: dict[str, Any] = {}
    if options.scorer:
        model, metadata = load_scorer(options.scorer)
        check_scorer(options.scorer, metadata, data.class_names, source)
    else:
        model, settings, cost = trained(data)
        if options.save_scorer:
            save_scorer(options.save_scorer, model, settings, data.class_names, source)
    confusion = confusion_matrix(
        segment(model, data.test.targets), data.test.labels, len(data.class_names)
    )
    ceiling = {f"fcn.{name}": value for name, value in scores(confusion).items()}
    print(f"\n{entry.name}, {size[0]}×{size[1]}, {len(data.test)} test photos\n")
    print(class_table(data.class_names, confusion))
    # The files in the order of the pairs, so that other roads to the working size can be taken.
    roles = dict(zip(("input", "target"), entry.roles(direction), strict=True))
    originals = [
        Path(dict(p.files)[roles["target"]]) for p in find_pairs(entry, options.data_root)["test"]
    ]
    table = effects(data, originals, model)
    print(effects_table(table))
    print(bins_table(table))
    if options.json:
        record = {"size": options.size, "cost": cost, "ceiling": ceiling, "effects": table}
        record["confusion"] = confusion.tolist()
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    same = {name: table["untouched"]["scores"][name] for name in ceiling} == ceiling
    print(f"untouched photos give the ceiling exactly: {'yes' if same else 'NO'}")
    return 0 if same else 1


def trained(data: PairedData) -> tuple[torch.nn.Module, HeadSettings, dict[str, Any]]:
    """The quick profile's scorer on VGG16, and what its training cost."""
    settings = HeadSettings(**load_profiles()["quick"].scorer.model_dump())
    held = hold_out(data.train.labels)
    photos, labels, classes = data.train.targets, data.train.labels, len(data.class_names)
    began = time.process_time()
    model = train_heads(photos, labels, classes, settings, held_out=held)
    seconds = time.process_time() - began
    print(f"scorer: {settings.batches} batches, {seconds:.0f} CPU seconds")
    return model, settings, {"cpu_seconds": seconds, "settings": dataclasses.asdict(settings)}


def effects(data: PairedData, originals: list[Path], model: torch.nn.Module) -> dict[str, Any]:
    """{what was done to the photos: {"scores": …, "not_measured": …, "intersections": …}}."""
    try:
        lpips: Any = load_lpips()
    except NotMeasured as reason:
        lpips = reason
    test, table = data.test, {}
    with tempfile.TemporaryDirectory() as root:
        targets, labels = Path(root, "targets"), Path(root, "labels")
        write(targets, test.names, test.targets)
        write(labels, test.names, test.labels)
        for name, change in changes(test.targets, originals).items():
            images = np.stack([change(i) for i in range(len(test))])
            write(Path(root, "changed"), test.names, images)
            sheet = score_folders(
                Path(root, "changed"),
                targets,
                labels,
                Scoring(scorer=model, lpips=lpips),
            )
            table[name] = {
                "scores": sheet.values,
                "not_measured": sheet.not_measured,
                "intersections": sheet.color_by_bin_width,
            }
            print(f"scored: {name}", file=sys.stderr, flush=True)
    return table


def changes(photos: np.ndarray, originals: list[Path]) -> dict[str, Callable[[int], Image3]]:
    """{what is done: photo number to (H, W, 3) uint8}."""
    height, width = photos.shape[1:3]
    made: dict[str, Callable[[int], Image3]] = {"untouched": lambda i: photos[i]}
    for quality in (95, 75):
        made[f"JPEG {quality}"] = lambda i, q=quality: jpeg(photos[i], q)
    for name, how in FILTERS.items():
        made[f"original to size, {name}"] = lambda i, how=how: resized(
            opened(originals[i]), (width, height), how
        )
    made["original to size, bilinear without antialiasing"] = lambda i: not_antialiased(
        opened(originals[i]), (height, width)
    )
    for name in ("nearest", "bilinear", "bicubic"):
        made[f"half the size and back, {name}"] = lambda i, how=FILTERS[name]: resized(
            resized(photos[i], (width // 2, height // 2), how), (width, height), how
        )
    return made


def opened(file: Path | io.BytesIO) -> Image3:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def jpeg(photo: Image3, quality: int) -> Image3:
    """Saved as Pillow saves by default, with subsampled chroma, and read back."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format="JPEG", quality=quality)
    return opened(buffer)


def resized(photo: Image3, size: tuple[int, int], how: Image.Resampling) -> Image3:
    """To (width, height) by Pillow, whose filters grow with the reduction (antialiasing)."""
    return np.asarray(Image.fromarray(photo).resize(size, how))


def not_antialiased(photo: Image3, size: tuple[int, int]) -> Image3:
    """To (height, width) as OpenCV and torch do by default: four neighbours, whatever the step."""
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float()
    small = functional.interpolate(tensor, size, mode="bilinear", align_corners=False)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def write(folder: Path, names: tuple[str, ...], images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(np.asarray(image)).save(folder / f"{name}.png")


def class_table(names: tuple[str, ...], confusion: np.ndarray) -> str:
    accuracy, iou = per_class(confusion)
    share = confusion.sum(1) / confusion.sum()
    lines = ["| class | share of pixels | accuracy | IoU |", "|---|---|---|---|"]
    for row in zip(names, share, accuracy, iou, strict=True):
        lines.append("| {} | {:.3f} | {:.3f} | {:.3f} |".format(*row))
    means = scores(confusion)
    lines.append(
        f"| mean (pixel accuracy {means['pixel_accuracy']:.3f}) | | "
        f"{means['class_accuracy']:.3f} | {means['class_iou']:.3f} |"
    )
    return "\n".join([*lines, ""])


def effects_table(table: dict[str, Any]) -> str:
    names = [
        n
        for n in METRICS
        if any(n in row["scores"] or n in row["not_measured"] for row in table.values())
    ]
    lines = [f"| photos | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for what, row in table.items():
        values = [
            f"{row['scores'][n]:.3f}" if n in row["scores"] else "not measured" for n in names
        ]
        lines.append(f"| {what} | {' | '.join(values)} |")
    return "\n".join([*lines, ""])


def bins_table(table: dict[str, Any]) -> str:
    heads = [f"{channel} {width}" for channel in CHANNELS for width in BIN_WIDTHS]
    lines = [f"| photos | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for what, row in table.items():
        by_width = row["intersections"]
        values = [by_width[str(w)][f"color.{c}"] for c in CHANNELS for w in BIN_WIDTHS]
        lines.append(f"| {what} | {' | '.join(f'{v:.3f}' for v in values)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
