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
    from pix2pix.data.pairs import check_pair, read_pair

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


def read_alike(path: Path) -> None:
    """Training, scoring and translating read the same pixels of a photo, the same classes and
    colours of a label map and the same halves, or refuse the file in the same words."""
    import argparse

    import torch

    from eval.labels import OWN, choose_reader
    from eval.matching import Matched
    from pix2pix.common.errors import UserError
    from pix2pix.data.decode import check_image, read_rgb
    from pix2pix.data.pairs import read_pair
    from pix2pix.generator_files import SavedGenerator
    from pix2pix.translate import read_input

    def outcome(read: Callable[[], np.ndarray]) -> tuple[str, bytes]:
        try:
            pixels = read()
        except UserError as error:
            return str(error), b""
        return str(pixels.shape), pixels.tobytes()

    def trained(kind: str, painted: bool = False) -> np.ndarray:
        made = own if kind == "index" else entry(kind)
        photo = path if kind == "photo" else path.with_name("photo.png")
        pair = SourcePair("x", (("a", str(photo)), ("b", str(path))))
        header = check_image(path, "photo" if kind == "photo" else "labels")
        if kind != "photo" and header.size != photo_size:
            raise UserError(f"{path}: another size than its photo")
        decoded = read_pair(made, pair, header.size)
        pixels = decoded.images["b"] if kind == "photo" or painted else decoded.labels
        assert pixels is not None
        return pixels

    def scored() -> np.ndarray:
        check_image(path)
        return read_rgb(path)

    def translated(made: DatasetEntry | None = None, side: str | None = None) -> np.ndarray:
        if made and not side and check_image(path, "labels").size != photo_size:
            raise UserError(f"{path}: another size than its photo")
        identity = SavedGenerator(torch.nn.Identity(), "", (3, 3), 1, 0)
        options = argparse.Namespace(side=side, size=None, labels=False, fit=None, protocol="paper")
        return read_input(str(path), options, identity, made)[0][0]

    def halves() -> None:
        made = shipped()["facades"]
        pair = SourcePair("x", tuple((role, str(path)) for role in made.sides))
        try:
            height, width = check_image(path).size
            decoded = read_pair(made, pair, (height, width // 2))
        except UserError:  # colours of no class, which only the training needs
            return
        for role, side in made.sides.items():
            pixels = translated(made if side.kind == "palette" else None, side.half)
            assert np.array_equal(pixels, decoded.images[role]), f"another half: {role}"

    def scored_labels() -> np.ndarray:
        header = check_image(path, "labels")
        if header.size != photo_size:
            raise UserError(f"{path}: another size than its photo")
        files = Matched(("x",), (path,), (path,), (path,), "")
        return choose_reader(own, OWN, files)(path)

    def kind_of_labels() -> str:
        try:
            return check_image(path, "labels").kind
        except UserError:
            return ""

    # Label maps of a run hold 255, which scoring therefore always allows.
    own, photo_size = entry("index"), (pictures.HEIGHT, pictures.WIDTH)
    own = own.model_copy(update={"ignore": (9, 255)})
    photos = [outcome(read) for read in (lambda: trained("photo"), scored, translated)]
    assert photos[0] == photos[1] == photos[2], [text for text, _ in photos]
    labels = [outcome(read) for read in (lambda: trained("index"), scored_labels)]
    assert labels[0] == labels[1], [text for text, _ in labels]
    painted = [outcome(lambda: trained("index", painted=True)), outcome(lambda: translated(own))]
    assert painted[0] == painted[1], [text for text, _ in painted]
    coloured = [
        outcome(lambda: trained("palette", painted=True)),
        outcome(lambda: translated(entry("palette"))),
    ]
    # Translating also takes a run's label maps, which are grey.
    grey = kind_of_labels().startswith(("grey", "black"))
    assert grey or coloured[0] == coloured[1], [text for text, _ in coloured]
    halves()
    if not photos[0][1]:
        raise UserError(photos[0][0])


def read_scored_labels(path: Path) -> None:
    from pix2pix.data.decode import read_labels

    labels = read_labels(path, 10)
    assert labels.ndim == 2 and labels.dtype == np.uint8
