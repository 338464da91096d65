"""What a scored run directory gives MLflow as artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from eval.fcn_score import per_class
from pix2pix.common.files import read_json

FIXED_IMAGES = 8
"""Test images whose translations are kept in MLflow, evenly spaced by name: in a split taken from
video the first ones would all be the same street."""

T = TypeVar("T")


TABLES = ("per_image.json", "per_class.json")
"""Artifacts that MLflow's web interface shows as tables."""


def stage_scores(directory: Path, folder: Path) -> None:
    """Lay out what a scored run directory gives MLflow: tables, summed counts, fixed images."""
    for name in ("scores.json", "per_image.csv"):
        if (directory / name).is_file():
            shutil.copyfile(directory / name, folder / name)
    if (folder / "per_image.csv").is_file():
        with open(folder / "per_image.csv", encoding="utf-8") as file:
            scores = [column for column in file.readline().strip().split(",") if column != "name"]
        table = pd.read_csv(
            folder / "per_image.csv",
            dtype={"name": str},
            encoding="utf-8",
            keep_default_na=False,  # an image may be called "NA"; only a score may be missing
            na_values={score: [""] for score in scores},
        )
        # MLflow's table view takes a dot in a column's name for a path and shows nothing.
        table.columns = table.columns.str.replace(".", "/", regex=False)
        # The form that MLflow's log_table writes; log_table itself appends to what is there.
        table.to_json(folder / "per_image.json", orient="split", index=False)
    if (directory / "per_image.npz").is_file():
        with np.load(directory / "per_image.npz", allow_pickle=False) as arrays:
            for key, name in (("lab", "histograms.json"), ("confusion", "confusion.json")):
                if key in arrays:
                    counts = arrays[key]
                    sums = {key: counts.sum(axis=0).tolist(), "images": len(counts)}
                    (folder / name).write_text(json.dumps(sums), encoding="utf-8")
    stage_classes(directory, folder)
    for kind in ("inputs", "targets", "translations"):
        for image in evenly_spaced(sorted((directory / kind).glob("*.png")), FIXED_IMAGES):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copyfile(image, folder / kind / image.name)


def stage_classes(directory: Path, folder: Path) -> None:
    """per_class.json: a row a class, of the confusion matrix summed over all test images."""
    try:
        settings = read_json(directory / "scores.json")["settings"]
        with np.load(directory / "per_image.npz", allow_pickle=False) as arrays:
            confusion = arrays["confusion"].sum(axis=0)
    except (FileNotFoundError, KeyError):
        return  # not scored by class
    accuracy, iou = per_class(confusion)
    table = pd.DataFrame(
        {
            "class": settings.get("class_names") or [str(i) for i in range(len(confusion))],
            "share of pixels": confusion.sum(axis=1) / max(1, confusion.sum()),
            "accuracy": accuracy,
            "IoU": iou,
        }
    )
    table.to_json(folder / "per_class.json", orient="split", index=False, double_precision=15)


def evenly_spaced(items: list[T], count: int) -> list[T]:
    """At most `count` items, the first among them, at equal distances."""
    if len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]
