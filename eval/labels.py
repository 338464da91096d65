"""What a data set's entry in `datasets.yaml` tells scoring: classes, palette, how labels are read.

The only room of eval that knows pix2pix, and the command alone asks it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.matching import COLOURS, LABEL_IDS, TRAIN_IDS, Matched
from eval.metrics import LABEL_VALUES
from pix2pix.common.errors import ScoringError, UserError
from pix2pix.data.decode import (
    LABEL_KINDS,
    check_image,
    from_colours,
    is_lossy,
    read_palette,
    read_pixels,
)
from pix2pix.data.registry import IGNORED, DatasetEntry, find_entry, load_registry

NO_CLASS = 254
BLACK = (0, 0, 0)
POSITIONS, OWN = LABEL_VALUES


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

    def label_reader(self, values: str | None = None) -> Callable[[Matched], LabelReader]:
        """How the label maps that will be found are to be read.

        Args:
            values: what index maps hold, one of LABEL_VALUES; None finds it out from the files.
        """
        return functools.partial(self._reader, values)

    def _reader(self, values: str | None, matched: Matched) -> LabelReader:
        """Index maps hold class positions and 255, as a run's own `labels` folder does, or the
        values that the data set's own files have; ScoringError where nobody can say."""
        named = {TRAIN_IDS: POSITIONS, LABEL_IDS: OWN}.get(matched.label_ending or "")
        if not self._has_indices_of_its_own():
            named = values = POSITIONS  # the same thing
        if named and values not in (None, named):
            raise ScoringError(
                f"--label-values {values}: NAME{matched.label_ending} files hold {named}"
            )
        values = named or values
        positions, own = self._positions(), self._own_values()
        if values is None:
            values = self._found_out(matched, positions, own)
        table = positions if values == POSITIONS else own
        return LabelReader(values, table, self._painted())

    def _found_out(self, matched: Matched, positions: np.ndarray, own: np.ndarray) -> str:
        labels = matched.labels or ()
        if labels and (labels[0].parent.parent / "journal.jsonl").is_file():
            return POSITIONS  # the folder of a run
        seen = _values_in(labels, LabelReader(POSITIONS, positions, self._painted()))
        as_positions, as_own = (not (table[seen] == NO_CLASS).any() for table in (positions, own))
        if not (as_positions and as_own):
            return POSITIONS if as_positions else OWN
        no_class = all(one.index != IGNORED for one in self.entry.classes)
        if self.entry.ignore == "rest" and IGNORED in seen and no_class:
            return POSITIONS  # a value that only they have: the data set's own files never name it
        if (positions[seen] == own[seen]).all():
            return POSITIONS
        raise ScoringError(
            f"--labels: these index maps may hold the values of {self.name}'s own files or class"
            f" positions; say which by --label-values {OWN} or {POSITIONS}"
        )

    def _positions(self) -> np.ndarray:
        """(256,) class position to itself, and what the data set ignores where no class is."""
        table = np.full(256, NO_CLASS, np.uint8)
        table[: len(self.class_names)] = range(len(self.class_names))
        table[IGNORED] = IGNORED
        listed = self.entry.ignore if self.entry.ignore != "rest" else ()
        if not self._has_indices_of_its_own():
            for value in listed:
                if isinstance(value, int) and table[value] == NO_CLASS:
                    table[value] = IGNORED
        return table

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
        values: what index maps hold, one of LABEL_VALUES.
        table: (256,) uint8, an index map's value to the class position, 255, or NO_CLASS.
    """

    values: str
    table: np.ndarray
    entry: DatasetEntry

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class positions, 255 ignored; ScoringError on an unknown value or colour."""
        header = check_image(path, LABEL_KINDS)
        values = read_pixels(path, LABEL_KINDS)
        if values.ndim == 3:
            if values.shape[-1] == 4 and values[..., 3].min() < 255:
                raise ScoringError(f"{path}: a painted label map must be opaque")
            return self._from_colours(path, values[..., :3], is_lossy(header.format))
        palette = read_palette(path)
        if palette is not None and self._is_painted(palette):
            return self._from_palette(path, values, palette)
        if palette is not None:
            self._check_display_colours(path, np.unique(values), palette)
        positions = self.table[values]
        unknown = np.unique(values[positions == NO_CLASS])
        if unknown.size:
            raise ScoringError(
                f"{path}: the value {unknown[0]} is no class of {self.entry.name}"
                f" ({len(self.entry.classes)} classes; {IGNORED} is ignored)"
            )
        return positions

    def record(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What is to be recorded of how these files are read."""
        painted = sum(map(self.is_painted, paths))
        by_index = "class positions" if self.values == POSITIONS else "the data set's own values"
        return {
            "read_as": " and ".join(
                [by_index] * (painted < len(paths)) + ["colours"] * (painted > 0)
            ),
            "read_by_colours": painted,
        }

    def is_painted(self, path: Path) -> bool:
        """Whether a file is read by its colours, from its header and palette alone."""
        palette = read_palette(path)
        if palette is not None:
            return self._is_painted(palette)
        return check_image(path, LABEL_KINDS).kind.startswith("RGB")

    def _is_painted(self, palette: np.ndarray) -> bool:
        """Whether a palette has a class's colour, other than the grey of its own index."""
        classes = {one.colour for one in self.entry.classes}
        colours = enumerate(map(tuple, palette.tolist()))
        return any(colour in classes and colour != (i, i, i) for i, colour in colours)

    def _from_palette(self, path: Path, values: np.ndarray, palette: np.ndarray) -> np.ndarray:
        table = np.zeros((256, 3), np.uint8)
        table[: len(palette)] = palette
        known = {one.colour for one in self.entry.classes} | {BLACK}
        if self.entry.ignore != "rest":
            known |= {value for value in self.entry.ignore if not isinstance(value, int)}
        for value in np.unique(values).tolist():
            colour = tuple(table[value].tolist())
            if value >= len(palette) or colour not in known:
                raise ScoringError(
                    f"{path}: its palette has colours of {self.entry.name}'s classes, but index"
                    f" {value} has {colour}, which is none; save it as RGB to have it read by its"
                    " colours, or as grey to have it read by its indices"
                )
        return self._from_colours(path, table[values], False)

    def _check_display_colours(self, path: Path, used: np.ndarray, palette: np.ndarray) -> None:
        """Colours of no class mean nothing in an index map, but a painted one has none of them."""
        role = self.entry.label_role
        if role is not None and self.entry.sides[role].kind == "index":
            return
        for value in used[used < len(palette)].tolist():
            colour = tuple(palette[value].tolist())
            if colour != (value, value, value):
                raise ScoringError(
                    f"{path}: its palette's colour {colour} is of no class of {self.entry.name};"
                    " save it as grey to have it read by its indices"
                )

    def _from_colours(self, path: Path, colours: np.ndarray, lossy: bool) -> np.ndarray:
        role = self.entry.label_role
        assert role is not None, "a data set with classes has a side that holds them"
        return from_colours(self.entry, self.entry.sides[role], str(path), colours, lossy)


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


def _values_in(paths: Sequence[Path], reader: LabelReader) -> np.ndarray:
    """The values that a folder's index maps hold, of all files together."""
    seen = np.zeros(256, bool)
    for path in paths:
        if not reader.is_painted(path):
            seen[np.unique(read_pixels(path, LABEL_KINDS))] = True
    return np.flatnonzero(seen)
