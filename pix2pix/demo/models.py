"""What the page translates by, and the images of the test split that it offers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data import procedural, tasks
from pix2pix.data.layouts import find_pairs
from pix2pix.data.pairs import read_pair
from pix2pix.data.recognise import located
from pix2pix.data.registry import IGNORED, DatasetEntry, find_entry, load_registry
from pix2pix.demo.drawing import EDGES, Drawing, drawing_of, resized
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
    """(what `Drawing.image` gives, number of the noise) to (H, W, 3) uint8. One call at a time: the
    noise is drawn from torch's global generator."""


@dataclass(frozen=True)
class Demo:
    """Everything behind the page."""

    entry: DatasetEntry
    drawing: Drawing
    size: tuple[int, int]
    """(H, W) of the drawing in pixels."""
    models: tuple[Model, ...]
    examples: tuple[str, ...]
    """Names of the test split's images; empty where the data are not on this machine."""
    example: Callable[[int], np.ndarray]
    """The position of an example to the values of its drawing."""


def load_demo(options: argparse.Namespace) -> Demo:
    """Everything that the options name; UserError where generators and data set do not fit."""
    torch.set_num_threads(max(1, options.threads))
    device = _device(options.device)
    opened = [(name, path, _open(path)) for name, path in options.checkpoint]
    entry, drawing = _entry(options, [(path, saved) for _, path, saved in opened])
    size = options.size or opened[0][2].size
    models: list[Model] = []
    names: set[str] = set()
    for name, path, saved in opened:
        _check(path, saved, drawing, size)
        title = name or path.parent.name or path.stem
        title = title if title not in names else f"{title} ({len(names) + 1})"
        names.add(title)
        models.append(Model(title, saved.description, _translator(saved, device)))
    examples, example = _examples(entry, drawing, opened[0][2].direction, options.data_root, size)
    return Demo(entry, drawing, size, tuple(models), examples, example)


def _open(path: Path) -> SavedGenerator:
    return open_exported(path) if path.suffix == EXPORTED else open_generator(path)


def _translator(
    saved: SavedGenerator, device: torch.device
) -> Callable[[np.ndarray, int], np.ndarray]:
    network = saved.network.to(device)

    def translated(image: np.ndarray, draw: int) -> np.ndarray:
        ((_, found),) = translate(network, image[None], [str(draw)], seed=saved.seed, device=device)
        return tasks.picture(found)

    return translated


def _entry(
    options: argparse.Namespace, opened: list[tuple[Path, SavedGenerator]]
) -> tuple[DatasetEntry, Drawing]:
    """The data set of --dataset or of the files, and how the input of the first is drawn."""
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
    direction = first.direction or entry.default_direction
    drawing = drawing_of(direction.partition("->")[0], entry)
    if drawing is None:
        raise UserError(
            f"{path}: translates {direction} of {name}; the page draws label maps with classes,"
            f" {EDGES}, and photos in grey ({', '.join(tasks.COLOURS)})"
        )
    return entry, drawing


def _check(path: Path, saved: SavedGenerator, drawing: Drawing, size: tuple[int, int]) -> None:
    if "->" in saved.direction and saved.direction.partition("->")[0] != drawing.role:
        raise UserError(
            f"{path}: translates {saved.direction}; the page draws {drawing.role}, so it needs"
            f" a generator from {drawing.role}"
        )
    allowed = ((1, 2),) if drawing.role == tasks.LAB else ((3, 1), (3, 3))
    if saved.channels not in allowed:
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
    entry: DatasetEntry, drawing: Drawing, direction: str, data_root: Path, size: tuple[int, int]
) -> tuple[tuple[str, ...], Callable[[int], np.ndarray]]:
    """Names of the test split's images, and the drawing of each."""
    target = (direction or entry.default_direction).partition("->")[2]
    if entry.layout == "procedural":
        names = tuple(f"{i:04d}" for i in range(procedural.COUNTS["test"]))

        def drawn(position: int) -> np.ndarray:
            if drawing.role == entry.label_role:
                return resized(procedural.draw_labels("test", position, max(size)), size)
            photo = Image.fromarray(procedural.draw("test", position, max(size))[1])
            return drawing.of_photo(np.asarray(photo.resize((size[1], size[0]))))

        return names, drawn
    try:
        entry, _ = located(entry, data_root, direction or None)
        pairs = find_pairs(entry, data_root)["test"][:MOST_EXAMPLES]
    except UserError:  # the page works without
        return (), lambda _: np.full(size, IGNORED, np.uint8)

    def example(position: int) -> np.ndarray:
        pair = read_pair(entry, pairs[position], size)
        if drawing.role == entry.label_role:
            assert pair.labels is not None, "the data set has classes"
            return pair.labels
        if drawing.role in pair.images:
            return drawing.of_input(pair.images[drawing.role])
        return drawing.of_photo(pair.images[target])

    return tuple(pair.name for pair in pairs), example
