"""A small labelled data set that tests draw."""

import numpy as np
from PIL import Image

DATASET = """\
streets:
  title: Two-class streets
  layout: folders
  path: .
  sides:
    photo: {folder: "photos/{split}"}
    labels: {folder: "labels/{split}", kind: index}
  classes: {road: [128, 64, 128], sky: [70, 130, 180]}
  ignore: [9]
"""


def draw_streets(folder, counts=(8, 3, 3), side=48):
    """Labelled photos: sky above a horizon of varying height, road below, a void stripe."""
    rng = np.random.default_rng(0)
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for kind in ("photos", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            labels = np.ones((side, side), np.uint8)
            labels[rng.integers(10, side - 10) :] = 0
            labels[:, :2] = 9
            colours = np.array([[90, 90, 95], [110, 160, 220]], np.uint8)
            photo = colours[labels % 9] + rng.integers(0, 30, (side, side, 3), dtype=np.uint8)
            Image.fromarray(photo).save(folder / "photos" / split / f"{index}.png")
            Image.fromarray(labels).save(folder / "labels" / split / f"{index}.png")
