"""Makes the miniature study that the golden report is of: run it when run directories change.

    python tests/reports/make_miniature.py

The suite itself trains it: `losses`, two seeds, 23 pairs of 64×64 drawn by the program. What a
report needs is then kept in `tests/reports/miniature/`; weights, samples and logs are not.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MINIATURE = Path(__file__).parent / "miniature"
SIDE = 64
COUNTS = {"train": 16, "val": 3, "test": 4}
DATA_SET = """\
miniature:
  title: Miniature facades
  layout: folders
  path: .
  sides:
    photo: {folder: "photos/{split}"}
    labels: {folder: "labels/{split}", kind: index}
"""
COMMAND = "--suite losses --profile smoke --dataset miniature --datasets sets.yaml --data-root data"
SETTINGS = f"--set size={SIDE} --set training.steps=60 --set discriminator.patch=16 --seeds 2"
KEPT = ("config.json", "journal.jsonl", "scores.json", "per_image.csv", "per_image.npz")
IMAGES = ("translations", "inputs", "targets")


def main() -> int:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder)
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        command = [sys.executable, str(ROOT / "run_ablations.py"), *COMMAND.split()]
        ran = subprocess.run([*command, *SETTINGS.split()], cwd=folder, env=environment)
        if ran.returncode:
            return ran.returncode
        shutil.rmtree(MINIATURE, ignore_errors=True)
        keep(folder / "runs")
    size = sum(path.stat().st_size for path in MINIATURE.rglob("*") if path.is_file())
    print(f"{MINIATURE}: {size / 1000:.0f} kB")
    return 0


def draw(folder: Path) -> None:
    """Facades of the embedded data set as a user's own folders."""
    from pix2pix.data.procedural import CLASSES
    from pix2pix.data.procedural import draw as draw_facade

    for split, count in COUNTS.items():
        for kind in ("photos", "labels"):
            (folder / "data" / kind / split).mkdir(parents=True)
        for index in range(count):
            labels, photo = draw_facade(split, index, SIDE)
            name = f"{split}-{index}.png"
            Image.fromarray(photo).save(folder / "data" / "photos" / split / name)
            Image.fromarray(labels).save(folder / "data" / "labels" / split / name)
    classes = {name: list(colour) for name, colour in CLASSES}
    (folder / "sets.yaml").write_text(f"{DATA_SET}  classes: {json.dumps(classes)}\n")


def keep(runs: Path) -> None:
    """Copy what a report needs; the machine's own name for itself is nobody's business."""
    for path in sorted(runs.rglob("*")):
        place = path.relative_to(runs)
        wanted = path.name in KEPT or place.parts[0] == "suites" or path.parent.name in IMAGES
        if not path.is_file() or path.name.startswith(".") or path.suffix == ".lock" or not wanted:
            continue
        target = MINIATURE / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for path in MINIATURE.rglob("*.json*"):
        text = path.read_text().replace(str(Path.home()), "~")
        path.write_text(text.replace(json.dumps(platform.platform()), '"Linux"'))


if __name__ == "__main__":
    sys.exit(main())
