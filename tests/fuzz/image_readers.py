"""The readers of images and label maps, called on one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pictures
from document_readers import shipped
from PIL import Image

from pix2pix.data.layouts import SourcePair
from pix2pix.data.registry import DatasetEntry


def entry(kind: str) -> DatasetEntry:
    colours = {"sky": [10, 20, 30], "road": [200, 100, 0], "car": [0, 0, 255]}
    sides: dict[str, Any] = {"a": {"folder": "A"}, "b": {"folder": "B", "kind": kind}}
    labelled = {"classes": colours, "ignore": [9] if kind == "index" else "rest"}
    written = {"name": "mine", "layout": "folders", "sides": sides}
    return DatasetEntry.model_validate(written | (labelled if kind != "photo" else {}))


def read_pair(entry: DatasetEntry, pair: SourcePair) -> None:
    from pix2pix.data.decode import check_pair, read_pair

    check_pair(entry, pair)
    decoded = read_pair(entry, pair, (16, 16))
    for image in decoded.images.values():
        assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    assert (decoded.labels is not None) == bool(entry.classes)
    if decoded.labels is not None:
        known = decoded.labels[decoded.labels != 255]
        assert decoded.labels.shape == (16, 16) and (known < len(entry.classes)).all()


def read_photo(path: Path) -> None:
    read_pair(entry("photo"), SourcePair("x", (("a", str(path)), ("b", str(path)))))


def read_labels(kind: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        photo = path.with_name("photo.png")
        read_pair(entry(kind), SourcePair("x", (("a", str(photo)), ("b", str(path)))))

    return read


def photo() -> dict[str, bytes]:
    return {"photo.png": pictures.encoded(Image.fromarray(pictures.photo()), "PNG")}


def read_halves(name: str) -> Callable[[Path], None]:
    entry = shipped()[name]
    return lambda path: read_pair(
        entry, SourcePair("x", tuple((role, str(path)) for role in entry.sides))
    )


def read_scored_photo(path: Path) -> None:
    from pix2pix.data.decode import read_rgb

    image = read_rgb(path)
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8


def read_scored_labels(path: Path) -> None:
    from pix2pix.data.decode import read_labels

    labels = read_labels(path, 10)
    assert labels.ndim == 2 and labels.dtype == np.uint8
