"""The classes of a data set in `datasets.yaml`, and how the label maps of a folder are read.

Index maps hold class positions (0 to C − 1, 255 ignored), as those in the `labels` folder of a run
do, or the values of the data set's own files. docs/scoring_a_folder.md has the rules that decide.
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
from pix2pix.common.errors import UserError
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
    """The classes of a data set.

    Attributes:
        direction: the default one, "INPUT->TARGET".
        labels_are: the side of `direction` that holds labels, "input" or "target"; None: neither.
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
        """Which of the label files of Cityscapes these classes describe, the best first."""
        own = [LABEL_IDS] if _has_own_indices(self.entry) else []
        return (TRAIN_IDS, *own, COLOURS)

    def label_reader(self, values: str | None = None) -> Callable[[Matched], LabelReader]:
        """How the matched label maps are read.

        Args:
            values: what index maps hold, one of LABEL_VALUES; None: detected from the files.

        Returns:
            A function that raises UserError if the files contradict `values`, or could be both.
        """
        return functools.partial(_choose_reader, self.entry, values)


def read_data_set(name: str, file: Path | None = None) -> DataSet:
    """The data set `name` in `datasets.yaml` or in `file`; UserError if there is none."""
    entry = find_entry(load_registry(file), name)
    inputs, _ = entry.roles()
    side = entry.label_role
    return DataSet(
        name=name,
        direction=entry.default_direction,
        class_names=tuple(one.name for one in entry.classes),
        labels_are=None if side is None else "input" if side == inputs else "target",
        entry=entry,
    )


@dataclass(frozen=True)
class LabelReader:
    """Reads a label file: an index map, or a map painted in the colours of the classes.

    Attributes:
        values: what index maps hold, one of LABEL_VALUES.
        table: (256,) uint8: value in an index map to class position, 255 or NO_CLASS.
    """

    values: str
    table: np.ndarray
    entry: DatasetEntry

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class positions, 255 ignored; UserError on an unknown value or colour."""
        header = check_image(path, LABEL_KINDS)
        values = read_pixels(path, LABEL_KINDS)
        if values.ndim == 3:
            if values.shape[-1] == 4 and values[..., 3].min() < 255:
                raise UserError(f"{path}: a painted label map must be opaque")
            return self._from_colours(path, values[..., :3], is_lossy(header.format))
        palette = read_palette(path)
        if palette is not None and self._has_class_colour(palette):
            return self._from_palette(path, values, palette)
        if palette is not None:
            self._check_display_colours(path, values, palette)
        positions = self.table[values]
        unknown = np.unique(values[positions == NO_CLASS])
        if unknown.size:
            raise UserError(
                f"{path}: the value {unknown[0]} is not a class of {self.entry.name}"
                f" ({len(self.entry.classes)} classes; {IGNORED} is ignored)"
            )
        return positions

    def record(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What to record about the reading of these files."""
        painted = sum(map(self.is_painted, paths))
        by_index = "class positions" if self.values == POSITIONS else "the data set's own values"
        kinds = [by_index] * (painted < len(paths)) + ["colours"] * (painted > 0)
        return {"read_as": " and ".join(kinds), "read_by_colours": painted}

    def is_painted(self, path: Path) -> bool:
        """Whether a file is read by its colours; its header and palette tell."""
        palette = read_palette(path)
        if palette is not None:
            return self._has_class_colour(palette)
        return check_image(path, LABEL_KINDS).kind.startswith("RGB")

    def _has_class_colour(self, palette: np.ndarray) -> bool:
        """Whether a palette has the colour of a class, other than the grey of its own index."""
        classes = {one.colour for one in self.entry.classes}
        colours = enumerate(map(tuple, palette.tolist()))
        return any(colour in classes and colour != (i, i, i) for i, colour in colours)

    def _from_palette(self, path: Path, values: np.ndarray, palette: np.ndarray) -> np.ndarray:
        """Read by colour a palette image that uses only colours of classes or ignored ones."""
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        known = {one.colour for one in self.entry.classes} | {BLACK}
        if self.entry.ignore != "rest":
            known |= {value for value in self.entry.ignore if not isinstance(value, int)}
        for value in np.unique(values).tolist():
            colour = tuple(colours[value].tolist())
            if value >= len(palette) or colour not in known:
                raise UserError(
                    f"{path}: its palette has class colours of {self.entry.name}, but the colour"
                    f" {colour} of index {value} is not one; save it as RGB to have it read by"
                    " its colours, or as grey to have it read by its indices"
                )
        return self._from_colours(path, colours[values], False)

    def _check_display_colours(self, path: Path, values: np.ndarray, palette: np.ndarray) -> None:
        """Refuse colours of no class in the palette, unless the data set's labels are index maps.

        In an index map they are only for display; a painted map cannot have them.
        """
        role = self.entry.label_role
        if role is not None and self.entry.sides[role].kind == "index":
            return
        for value in np.unique(values[values < len(palette)]).tolist():
            colour = tuple(palette[value].tolist())
            if colour != (value, value, value):
                raise UserError(
                    f"{path}: the colour {colour} in its palette is not a class of"
                    f" {self.entry.name}; save it as grey to have it read by its indices"
                )

    def _from_colours(self, path: Path, colours: np.ndarray, lossy: bool) -> np.ndarray:
        role = self.entry.label_role
        assert role is not None, "a data set with classes has a side that holds them"
        return from_colours(self.entry, self.entry.sides[role], str(path), colours, lossy)


def _choose_reader(entry: DatasetEntry, values: str | None, matched: Matched) -> LabelReader:
    """A reader for these files; UserError if `values` is wrong, or cannot be detected."""
    readers = {
        POSITIONS: LabelReader(POSITIONS, _position_table(entry), _with_black(entry)),
        OWN: LabelReader(OWN, _own_table(entry), _with_black(entry)),
    }
    if not _has_own_indices(entry):
        return readers[POSITIONS]  # the two are the same
    by_name = {TRAIN_IDS: POSITIONS, LABEL_IDS: OWN}.get(matched.label_ending or "")
    if by_name and values not in (None, by_name):
        raise UserError(f"--label-values {values}: NAME{matched.label_ending} files hold {by_name}")
    return readers[by_name or values or _detect_values(matched, readers)]


def _detect_values(matched: Matched, readers: dict[str, LabelReader]) -> str:
    """What index maps hold, one of LABEL_VALUES; UserError if they could hold either."""
    labels, entry = matched.labels or (), readers[POSITIONS].entry
    if labels and (labels[0].parent.parent / "journal.jsonl").is_file():
        return POSITIONS  # the folder of a run
    seen = _values_in(labels, readers[POSITIONS])
    positions, own = (readers[values].table[seen] for values in (POSITIONS, OWN))
    if (positions == NO_CLASS).any():
        return OWN
    if (own == NO_CLASS).any() or (positions == own).all():
        return POSITIONS
    ignored_is_a_class = any(one.index == IGNORED for one in entry.classes)
    if entry.ignore == "rest" and IGNORED in seen and not ignored_is_a_class:
        return POSITIONS  # the data set's own files never hold 255
    raise UserError(
        f"--labels: these index maps may hold the values of {entry.name}'s own files or class"
        f" positions; choose with --label-values {OWN} or {POSITIONS}"
    )


def _values_in(paths: Sequence[Path], reader: LabelReader) -> np.ndarray:
    """The values that the index maps among these files hold."""
    seen = np.zeros(256, bool)
    for path in paths:
        if not reader.is_painted(path):
            seen[np.unique(read_pixels(path, LABEL_KINDS))] = True
    return np.flatnonzero(seen)


def _has_own_indices(entry: DatasetEntry) -> bool:
    """Whether the values of the data set's own index maps are not the class positions."""
    return any(one.index != position for position, one in enumerate(entry.classes))


def _position_table(entry: DatasetEntry) -> np.ndarray:
    """(256,) uint8: class positions to themselves, ignored values to 255, others to NO_CLASS."""
    table = np.full(256, NO_CLASS, np.uint8)
    if not _has_own_indices(entry):
        table[_ignored_values(entry)] = IGNORED
    table[IGNORED] = IGNORED
    table[: len(entry.classes)] = range(len(entry.classes))
    return table


def _own_table(entry: DatasetEntry) -> np.ndarray:
    """(256,) uint8: values of the data set's own index maps to positions, 255 or NO_CLASS."""
    table = np.full(256, IGNORED if entry.ignore == "rest" else NO_CLASS, np.uint8)
    table[_ignored_values(entry)] = IGNORED
    for position, one in enumerate(entry.classes):
        table[one.index] = position
    return table


def _ignored_values(entry: DatasetEntry) -> list[int]:
    listed = () if entry.ignore == "rest" else entry.ignore
    return [value for value in listed if isinstance(value, int)]


def _with_black(entry: DatasetEntry) -> DatasetEntry:
    """The entry for painted maps: black is ignored, unless it is the colour of a class."""
    taken = any(one.colour == BLACK for one in entry.classes)
    if taken or entry.ignore == "rest":
        return entry
    return entry.model_copy(update={"ignore": (*entry.ignore, BLACK)})
