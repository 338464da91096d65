"""What a data set's entry in `datasets.yaml` tells scoring: classes, palette, how labels are read.

The only room of eval that knows pix2pix, and the command alone asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.errors import ScoringError
from eval.images import check_image, decode, is_lossy
from eval.matching import COLOURS, LABEL_IDS, TRAIN_IDS, Matched
from pix2pix.dataset_entry import IGNORED, DatasetEntry
from pix2pix.datasets import find_entry, load_registry
from pix2pix.errors import UserError
from pix2pix.label_positions import from_colours

NO_CLASS = 254
BLACK = (0, 0, 0)


@dataclass(frozen=True)
class DataSet:
    """A data set's classes.

    Attributes:
        labels_are: "input" or "target" of its default direction; None without labels.
    """

    name: str
    direction: str
    class_names: tuple[str, ...]
    labels_are: str | None
    entry: DatasetEntry

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8: the colour of each class."""
        return np.array([one.colour for one in self.entry.classes], np.uint8)

    @property
    def label_endings(self) -> tuple[str, ...]:
        """Of Cityscapes' label files, those that this data set's classes describe."""
        own = [LABEL_IDS] if self._has_indices_of_its_own() else []
        return (TRAIN_IDS, *own, COLOURS)

    def label_reader(self, matched: Matched) -> LabelReader:
        """How the label maps that were found are to be read; ScoringError where nobody can say.

        Index maps hold class positions and 255, as a run's own `labels` folder does, or the
        values that the data set's own files have.
        """
        positions = np.full(256, NO_CLASS, np.uint8)
        positions[: len(self.class_names)] = range(len(self.class_names))
        positions[IGNORED] = IGNORED
        reader = LabelReader(positions, self._painted())
        if not self._has_indices_of_its_own() or matched.label_ending == TRAIN_IDS:
            listed = self.entry.ignore if self.entry.ignore != "rest" else ()
            for value in listed:
                if isinstance(value, int) and positions[value] == NO_CLASS:
                    positions[value] = IGNORED
            return reader
        own = LabelReader(self._own_values(), self._painted())
        if matched.label_ending == LABEL_IDS:
            return own
        seen = _values_in(matched.labels or ())
        as_positions, as_own = (not (r.table[seen] == NO_CLASS).any() for r in (reader, own))
        if as_positions and as_own and self.entry.ignore != "rest" and len(seen):
            raise ScoringError(
                f"--labels: these index maps may hold the values of {self.name} or class positions;"
                " leave --dataset out to read them as positions"
            )
        return reader if as_positions else own

    def _has_indices_of_its_own(self) -> bool:
        return any(one.index != place for place, one in enumerate(self.entry.classes))

    def _own_values(self) -> np.ndarray:
        """(256,) value in the data set's own index maps to class position."""
        rest = self.entry.ignore == "rest"
        table = np.full(256, IGNORED if rest else NO_CLASS, np.uint8)
        for value in () if rest else self.entry.ignore:
            if isinstance(value, int):
                table[value] = IGNORED
        for place, one in enumerate(self.entry.classes):
            table[one.index] = place
        return table

    def _painted(self) -> DatasetEntry:
        """The entry as its painted maps are read: black is what painting gives ignored pixels."""
        taken = any(one.colour == BLACK for one in self.entry.classes)
        if taken or self.entry.ignore == "rest":
            return self.entry
        return self.entry.model_copy(update={"ignore": (*self.entry.ignore, BLACK)})


@dataclass(frozen=True)
class LabelReader:
    """Reads one label file: an index map, or a map painted in the classes' colours.

    Attributes:
        table: (256,) uint8, an index map's value to the class position, 255, or NO_CLASS.
    """

    table: np.ndarray
    entry: DatasetEntry

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class positions, 255 ignored; ScoringError on an unknown value or colour."""
        header = check_image(path, ("grey", "palette", "RGB"))
        values = decode(path)
        if values.ndim == 3:
            return self._from_colours(path, values, is_lossy(header.format))
        positions = self.table[values]
        unknown = np.unique(values[positions == NO_CLASS])
        if unknown.size:
            raise ScoringError(
                f"{path}: the value {unknown[0]} is no class of {self.entry.name}"
                f" ({len(self.entry.classes)} classes; {IGNORED} is ignored)"
            )
        return positions

    def _from_colours(self, path: Path, colours: np.ndarray, lossy: bool) -> np.ndarray:
        role = self.entry.label_role
        assert role is not None, "a data set with classes has a side that holds them"
        try:
            side = self.entry.sides[role]
            return from_colours(self.entry, side, str(path), colours, lossy)
        except UserError as error:
            raise ScoringError(str(error)) from None


def read_data_set(name: str, file: Path | None = None) -> DataSet:
    """The data set of that name in `datasets.yaml` or in `file`; ScoringError where none is."""
    try:
        entry = find_entry(load_registry(file), name)
        inputs, _ = entry.roles()
    except UserError as error:
        raise ScoringError(str(error)) from None
    side = entry.label_role
    return DataSet(
        name=name,
        direction=entry.default_direction,
        class_names=tuple(one.name for one in entry.classes),
        labels_are=None if side is None else "input" if side == inputs else "target",
        entry=entry,
    )


def _values_in(paths: Sequence[Path]) -> np.ndarray:
    """The values that a folder's index maps hold, of all files together."""
    seen = np.zeros(256, bool)
    for path in paths:
        if check_image(path, ("grey", "palette", "RGB")).format == "PNG":
            values = decode(path)
            if values.ndim == 2:
                seen[np.unique(values)] = True
    return np.flatnonzero(seen)
