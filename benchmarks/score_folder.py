"""How fast and in how much memory a folder is scored: random images, every family.

    python benchmarks/score_folder.py [--images 1000] [--side 256] [--workers 2] [--json FILE]

LPIPS is measured where AlexNet's weights are on the disk (`make weights`). Prints images per second
by family on one process, seconds of the whole command (without LPIPS), the bootstrap's seconds for
500 images, and the peak memory of the command and its workers at a tenth of the images and at all
of them.
Bars: 1,000 images of 256×256 within 3 minutes on two cores, at least 50 images per second for
colour, the bootstrap of 500 images below 5 seconds on one core, memory flat in the images. Those
that were measured (other sizes and fewer images have no bar of speed) are compared, and the exit
status is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 11
FAMILIES = ("color", "pixel", "fcn", "lpips")
IMAGES_A_FAMILY = 40
IMAGES, SIDE, SECONDS = 1000, 256, 180
COLOUR_A_SECOND = 50
BOOTSTRAP_SECONDS = 5
# An image leaves its counts, 3×440 cells of both sides and a confusion matrix (12 KiB), of which
# the bootstrap makes some copies; an image of 256×256 kept would be 192 KiB.
KIB_AN_IMAGE = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_images(place, options.images, options.side)
        found = {
            "images": options.images,
            "side": options.side,
            "workers": options.workers,
            "images_per_second_one_process": by_family(place, options.images),
            "bootstrap_seconds_500_images": bootstrap_seconds(),
            "command": [
                command(place, count, options.workers)
                for count in (max(2, options.images // 10), options.images)
            ],
        }
    found["bars"] = bars(found)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(bar["kept"] for bar in found["bars"].values()) else 1


def bars(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{bar: what was measured, its limit, whether it is kept}."""
    few, many = found["command"]
    grown = (many["peak_mib_of_a_process"] - few["peak_mib_of_a_process"]) * 1024
    added = many["images"] - few["images"]
    most = {
        "bootstrap, seconds": (found["bootstrap_seconds_500_images"]["all"], BOOTSTRAP_SECONDS),
        "memory, KiB an image": (round(grown / max(1, added)), KIB_AN_IMAGE),
    }
    told = {}
    if found["side"] == SIDE:
        a_second = found["images_per_second_one_process"]["color"]
        told["colour, images per second"] = (a_second, COLOUR_A_SECOND, a_second >= COLOUR_A_SECOND)
        if many["images"] >= IMAGES:  # of fewer, the start is most
            seconds = round(many["seconds"] / many["images"], 3)
            most["command, seconds an image"] = (seconds, SECONDS / IMAGES)
    told |= {name: (value, limit, value <= limit) for name, (value, limit) in most.items()}
    return {
        name: {"measured": value, "limit": limit, "kept": kept}
        for name, (value, limit, kept) in told.items()
    }


def make_images(place: Path, count: int, side: int) -> None:
    """Smooth random photos, noisy copies as translations, and blocks of classes; a scorer."""
    import torch

    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.file import save_scorer
    from eval.scorer.train import ScorerSettings

    random = np.random.default_rng(0)
    for kind in ("translations", "targets", "labels"):
        (place / kind).mkdir()
    for index in range(count):
        small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        target = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        noise = random.integers(-20, 21, (side, side, 3))
        translation = np.clip(np.asarray(target) + noise, 0, 255).astype(np.uint8)
        labels = random.integers(0, CLASSES, (8, 8), dtype=np.uint8).repeat(side // 8, 0)
        labels = labels.repeat(side // 8, 1)
        name = f"{index:05d}.png"
        target.save(place / "targets" / name)
        Image.fromarray(translation).save(place / "translations" / name)
        Image.fromarray(labels).save(place / "labels" / name)
    torch.manual_seed(0)
    network = FCN8s(CLASSES, width=16, batch_norm=True, padding="same")
    names = [str(index) for index in range(CLASSES)]
    save_scorer(place / "scorer.safetensors", network, ScorerSettings(), names, {"dataset": "-"})


def by_family(place: Path, count: int) -> dict[str, float]:
    """Images a second of each family alone, reading included, in this process."""
    import torch

    from eval.families import Scoring, build_family
    from eval.lpips import load_lpips
    from eval.scorer.file import load_scorer
    from pix2pix.data.backbones import on_disk
    from pix2pix.data.decode import read_labels, read_rgb

    torch.set_num_threads(1)
    scorer, _ = load_scorer(place / "scorer.safetensors")
    names = sorted(path.name for path in (place / "targets").iterdir())
    names = names[: min(IMAGES_A_FAMILY, count)]
    found = {}
    lpips = load_lpips(download=False) if on_disk("alex") else None
    for family in FAMILIES if lpips else FAMILIES[:-1]:
        scoring = Scoring(scorer=scorer, lpips=lpips)
        ready = build_family(family, scoring, True, (64, 64))
        for index, name in enumerate([names[0], *names]):
            if index == 1:  # the first one loads libraries
                began = time.perf_counter()
            ready.measure(
                read_rgb(place / "translations" / name),
                read_rgb(place / "targets" / name),
                read_labels(place / "labels" / name, CLASSES),
            )
        found[family] = round(len(names) / (time.perf_counter() - began), 1)
    return found


def bootstrap_seconds() -> dict[str, float]:
    """Of 500 images with all families, in this process."""
    from eval import bootstrap
    from eval.color import BINS

    random = np.random.default_rng(0)
    lab = random.integers(0, 300, (2, 500, 3, BINS)).astype(np.int32)
    confusion = random.integers(0, 300, (500, 20, 20))
    values = {name: random.random(500) for name in ("l1", "psnr", "ssim", "lpips")}
    found = {}
    for name, run in (
        ("color", lambda: bootstrap.color_intervals(*lab)),
        ("fcn", lambda: bootstrap.class_intervals(confusion, "fcn")),
        ("pixel and lpips", lambda: bootstrap.mean_intervals(values)),
    ):
        began = time.perf_counter()
        run()
        found[name] = round(time.perf_counter() - began, 2)
    return found | {"all": round(sum(found.values()), 2)}


def command(place: Path, count: int, workers: int) -> dict[str, float]:
    """Seconds and peak memory (MiB, the largest process) of the whole command."""
    part = place / f"first-{count}"
    for kind in ("translations", "targets", "labels"):
        (part / kind).mkdir(parents=True)
        for path in sorted((place / kind).iterdir())[:count]:
            os.link(path, part / kind / path.name)
    arguments = [sys.executable, "-m", "eval", "--scores", "fcn,color,pixel"]
    for kind in ("translations", "targets", "labels"):
        arguments += [f"--{kind}", str(part / kind)]
    arguments += ["--scorer", str(place / "scorer.safetensors"), "--workers", str(workers)]
    # A process of its own, so that the peak is of this command and no earlier one.
    measured = [sys.executable, __file__, "--measure", *arguments]
    began = time.perf_counter()
    done = subprocess.run(
        measured, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    seconds = time.perf_counter() - began
    peak = float(done.stdout.splitlines()[-1]) / 1024
    return {"images": count, "seconds": round(seconds, 1), "peak_mib_of_a_process": round(peak)}


def measure(arguments: list[str]) -> int:
    """Run a command and print the largest resident size, in KiB, of it and its children."""
    subprocess.run(arguments, check=True)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return 0


if __name__ == "__main__":
    measuring = sys.argv[1:2] == ["--measure"]
    sys.exit(measure(sys.argv[2:]) if measuring else main())
