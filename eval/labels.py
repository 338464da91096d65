"""How the label maps of a folder are read with the classes of a data set in `datasets.yaml`.

Index maps hold class positions (0 to C − 1, 255 ignored), as those in the `labels` folder of a run
do, or the values of the data set's own files. docs/scoring_a_folder.md has the rules that decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.matching import COLOURS, LABEL_IDS, TRAIN_IDS, Matched
from eval.metrics import LABEL_VALUES
from pix2pix.common.errors import UserError
from pix2pix.data.decode import check_image, read_image
from pix2pix.data.labels import (
    NO_CLASS,
    class_positions,
    is_display,
    paints,
    stored_values,
    with_black,
)
from pix2pix.data.registry import IGNORED, DatasetEntry

POSITIONS, OWN = LABEL_VALUES


def label_endings(entry: DatasetEntry) -> tuple[str, ...]:
    """Which of the label files of Cityscapes a data set's classes describe, the best first."""
    own = [LABEL_IDS] if _has_own_indices(entry) and not _is_painted(entry) else []
    return (TRAIN_IDS, *own, COLOURS)


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
        image = read_image(path, "labels")
        header = check_image(path, "labels")
        return class_positions(self.entry, path, image, header, self._table_of(image))

    def is_painted(self, path: Path) -> bool:
        """Whether a file is read by its colours."""
        if check_image(path, "labels").kind.startswith("grey"):
            return False
        image = read_image(path, "labels")
        return paints(self.entry, image, self._table_of(image))

    def _table_of(self, image: Image.Image) -> np.ndarray | None:
        """The table of indices; None if the file's palette paints labels that are painted."""
        painted = self.entry.sides[self.entry.label_role or ""].kind == "palette"
        if painted and image.mode == "P" and not is_display(image):
            return None
        return self.table

    def record(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What to record about the reading of these files."""
        painted = sum(map(self.is_painted, paths))
        by_index = "class positions" if self.values == POSITIONS else "the data set's own values"
        kinds = [by_index] * (painted < len(paths)) + ["colours"] * (painted > 0)
        return {"read_as": " and ".join(kinds), "read_by_colours": painted}


def choose_reader(entry: DatasetEntry, values: str | None, matched: Matched) -> LabelReader:
    """How the matched label maps are read.

    Args:
        values: what index maps hold, one of LABEL_VALUES; None: detected from the files.

    Raises:
        UserError: the files' names contradict `values`, or their values could be both.
    """
    positions, own = (
        LabelReader(held, _table(entry, held), with_black(entry)) for held in LABEL_VALUES
    )
    if not _has_own_indices(entry):
        return positions  # the two are the same
    by_name = {TRAIN_IDS: POSITIONS, LABEL_IDS: OWN}.get(matched.label_ending or "")
    if by_name and values not in (None, by_name):
        raise UserError(f"--label-values {values}: NAME{matched.label_ending} files hold {by_name}")
    decided = by_name or values or _detect_values(matched.labels or (), positions, own)
    return own if decided == OWN else positions


def _detect_values(paths: Sequence[Path], positions: LabelReader, own: LabelReader) -> str:
    """What index maps hold, one of LABEL_VALUES; UserError if they could hold either."""
    if paths and (paths[0].parent.parent / "journal.jsonl").is_file():
        return POSITIONS  # the folder of a run
    maps = [path for path in paths if not positions.is_painted(path)]
    seen = np.array(sorted({v for m in maps for v in np.unique(_values(m))}), int)
    by_position, by_own = positions.table[seen], own.table[seen]
    if _is_painted(own.entry) and not seen.any():
        return POSITIONS  # black is mostly no class of painted labels
    if (by_position == NO_CLASS).any():
        return OWN
    if (by_own == NO_CLASS).any() or (by_position == by_own).all():
        return POSITIONS
    if own.entry.ignore == "rest" and IGNORED in seen[by_own == IGNORED]:
        return POSITIONS  # the data set's own files never hold 255
    raise UserError(
        f"--labels: these index maps may hold the values of {own.entry.name}'s own files or class"
        f" positions; choose with --label-values {OWN} or {POSITIONS}"
    )


def _values(path: Path) -> np.ndarray:
    return stored_values(read_image(path, "labels"), check_image(path, "labels"))


def _is_painted(entry: DatasetEntry) -> bool:
    """Whether the data set's own labels are painted."""
    return entry.sides[entry.label_role or ""].kind == "palette"


def _own_values(entry: DatasetEntry) -> dict[int, int]:
    """{value of one channel in the data set's own files: class position}; greys of painted ones."""
    if not _is_painted(entry):
        return {one.index: position for position, one in enumerate(entry.classes)}
    greys = ((one.colour, position) for position, one in enumerate(entry.classes))
    return {colour[0]: position for colour, position in greys if len({*colour}) == 1}


def _has_own_indices(entry: DatasetEntry) -> bool:
    """Whether the values of the data set's own one-channel maps are not the class positions."""
    return any(value != position for value, position in _own_values(entry).items())


def _table(entry: DatasetEntry, values: str) -> np.ndarray:
    """(256,) uint8: what index maps hold to class positions, 255 if ignored, or NO_CLASS."""
    table = np.full(256, NO_CLASS, np.uint8)
    if (values == OWN or not _has_own_indices(entry)) and not _is_painted(entry):
        ignored = range(256) if entry.ignore == "rest" else entry.ignore
        table[[value for value in ignored if isinstance(value, int)]] = IGNORED
    if values == POSITIONS:
        table[IGNORED] = IGNORED
        table[: len(entry.classes)] = range(len(entry.classes))
        return table
    for value, position in _own_values(entry).items():
        table[value] = position
    return table
