"""What the page draws with and translates by: classes, label maps to load, generators."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pix2pix.common.errors import UserError
from pix2pix.data import procedural
from pix2pix.data.decode import check_image, read_image
from pix2pix.data.labels import class_positions, index_table, paint
from pix2pix.data.layouts import find_pairs
from pix2pix.data.pairs import read_pair
from pix2pix.data.registry import IGNORED, DatasetEntry, find_entry, load_registry
from pix2pix.export import open_exported
from pix2pix.generator_files import SavedGenerator, open_generator
from pix2pix.translation import translate

EXPORTED = ".onnx"
"""The suffix of files that pix2pix.export wrote."""
MOST_EXAMPLES = 300
"""Label maps of the test split that the page offers."""


@dataclass(frozen=True)
class Model:
    """A generator with the name under which the page shows it."""

    name: str
    description: str
    translate: Callable[[np.ndarray, int], np.ndarray]
    """((H, W, 3) uint8 painted labels, number of the noise) to (H, W, 3) uint8."""


@dataclass(frozen=True)
class Demo:
    """Everything behind the page."""

    entry: DatasetEntry
    size: tuple[int, int]
    """(H, W) of the drawing in pixels."""
    models: tuple[Model, ...]
    examples: tuple[str, ...]
    """Names of label maps of the test split; empty where the data are not on this machine."""
    example: Callable[[int], np.ndarray]
    """The position of an example to (H, W) uint8 class positions, 255 ignored."""

    def translation(self, model: int, labels: np.ndarray, draw: int) -> np.ndarray:
        """(H, W) uint8 class positions to (H, W, 3) uint8. One call at a time: the noise is drawn
        from torch's global generator."""
        return self.models[model].translate(paint(labels, self.entry), draw)

    def read_labels(self, content: bytes) -> np.ndarray:
        """The label map of an image file of the user's, resized to the drawing, (H, W) uint8.

        Raises UserError if it is no image, or has values or colours of no class.
        """
        table = index_table(self.entry)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            try:
                header = check_image(file.name, "labels")
                image = read_image(file.name, "labels")
                labels = class_positions(self.entry, "the file", image, header, table)
            except UserError as error:
                raise UserError(str(error).replace(file.name, "the file")) from None
        return resized(labels, self.size)


def resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) to (H, W), by the nearest pixel."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]


def load_demo(options: argparse.Namespace) -> Demo:
    """Everything that the options name; UserError where generators and data set do not fit."""
    torch.set_num_threads(max(1, options.threads))
    device = _device(options.device)
    opened = [(name, path, _open(path)) for name, path in options.checkpoint]
    entry = _entry(options, [(path, saved) for _, path, saved in opened])
    size = options.size or opened[0][2].size
    models: list[Model] = []
    names: set[str] = set()
    for name, path, saved in opened:
        _check(path, saved, entry, size)
        title = name or path.parent.name or path.stem
        title = title if title not in names else f"{title} ({len(names) + 1})"
        names.add(title)
        models.append(Model(title, saved.description, _translator(saved, device)))
    examples, example = _examples(entry, options.data_root, size)
    return Demo(entry, size, tuple(models), examples, example)


def _open(path: Path) -> SavedGenerator:
    return open_exported(path) if path.suffix == EXPORTED else open_generator(path)


def _translator(
    saved: SavedGenerator, device: torch.device
) -> Callable[[np.ndarray, int], np.ndarray]:
    network = saved.network.to(device)

    def translated(image: np.ndarray, draw: int) -> np.ndarray:
        ((_, found),) = translate(network, image[None], [str(draw)], seed=saved.seed, device=device)
        return np.repeat(found, 3, axis=-1) if found.shape[-1] == 1 else found

    return translated


def _entry(options: argparse.Namespace, opened: list[tuple[Path, SavedGenerator]]) -> DatasetEntry:
    """The data set of --dataset or of the files, which must have classes."""
    registry = load_registry(options.datasets)
    path, first = opened[0]
    name = options.dataset or first.dataset
    if not name:
        raise UserError(f"{path}: does not name its data set; add --dataset NAME")
    if name not in registry and not options.dataset:
        raise UserError(
            f"{path}: was trained on {name}, which is not in the registry; name the file that"
            " describes it with --datasets, or a data set of the same classes with --dataset"
        )
    entry = find_entry(registry, name)
    if not entry.classes:
        raise UserError(f"--dataset {name}: has no classes to draw with")
    return entry


def _check(path: Path, saved: SavedGenerator, entry: DatasetEntry, size: tuple[int, int]) -> None:
    if "->" in saved.direction and saved.direction.partition("->")[0] != entry.label_role:
        raise UserError(
            f"{path}: translates {saved.direction}; the page draws {entry.label_role}, so it needs"
            f" a generator from {entry.label_role}"
        )
    if saved.channels[0] != 3 or saved.channels[1] not in (1, 3):
        raise UserError(f"{path}: translates {saved.channels[0]} to {saved.channels[1]} channels")
    if path.suffix == EXPORTED and size != saved.size:
        raise UserError(
            f"{path}: was exported for {saved.size[0]}×{saved.size[1]} pixels, not"
            f" {size[0]}×{size[1]}"
        )
    if any(side % saved.multiple for side in size):
        raise UserError(
            f"{path}: takes sides that are multiples of {saved.multiple}, not"
            f" {size[0]}×{size[1]}; change --size"
        )


def _device(name: str | None) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that torch can use")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _examples(
    entry: DatasetEntry, data_root: Path, size: tuple[int, int]
) -> tuple[tuple[str, ...], Callable[[int], np.ndarray]]:
    if entry.layout == "procedural":
        names = tuple(f"{i:04d}" for i in range(procedural.COUNTS["test"]))
        return names, lambda i: resized(procedural.draw_labels("test", i, max(size)), size)
    try:
        pairs = find_pairs(entry, data_root)["test"][:MOST_EXAMPLES]
    except UserError:  # the page works without
        return (), lambda _: np.full(size, IGNORED, np.uint8)

    def example(position: int) -> np.ndarray:
        labels = read_pair(entry, pairs[position], size).labels
        assert labels is not None, "the data set has classes"
        return labels

    return tuple(pair.name for pair in pairs), example
