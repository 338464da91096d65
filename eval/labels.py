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
from pix2pix.data.registry import IGNORED, DatasetEntry

NO_CLASS = 254
BLACK = (0, 0, 0)
POSITIONS, OWN = LABEL_VALUES


def label_endings(entry: DatasetEntry) -> tuple[str, ...]:
    """Which of the label files of Cityscapes a data set's classes describe, the best first."""
    own = [LABEL_IDS] if _has_own_indices(entry) else []
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
        pixels = read_pixels(path, LABEL_KINDS)
        if self.is_painted(path):
            if pixels.ndim == 2:
                return self._from_palette(path, pixels)
            if pixels.shape[-1] == 4 and pixels[..., 3].min() < 255:
                raise UserError(f"{path}: a painted label map must be opaque")
            lossy = is_lossy(check_image(path, LABEL_KINDS).format)
            return self._from_colours(self.entry, path, pixels[..., :3], lossy)
        positions = self.table[pixels]
        unknown = pixels[positions == NO_CLASS]
        if unknown.size:
            raise UserError(
                f"{path}: the value {unknown.min()} is not a class of {self.entry.name}"
                f" ({len(self.entry.classes)} classes; {IGNORED} is ignored)"
            )
        return positions

    def _from_palette(self, path: Path, indices: np.ndarray) -> np.ndarray:
        """By its colours. As a palette may be for display, those of no class are never ignored."""
        palette = read_palette(path)
        assert palette is not None, "only a palette paints one channel"
        pixels = np.pad(palette, ((0, 256 - len(palette)), (0, 0)))[indices]
        entry = self.entry
        if entry.ignore == "rest":
            entry = _with_black(entry.model_copy(update={"ignore": ()}))
        try:
            return self._from_colours(entry, path, pixels, False)
        except UserError as error:
            raise UserError(f"{error}, or save the file as grey to have its indices read") from None

    def _from_colours(
        self, entry: DatasetEntry, path: Path, pixels: np.ndarray, lossy: bool
    ) -> np.ndarray:
        return from_colours(entry, entry.sides[entry.label_role or ""], str(path), pixels, lossy)

    def is_painted(self, path: Path) -> bool:
        """Whether a file is read by its colours; its header and palette tell.

        A palette of an index map is for display, unless it has colours of classes. Black fills
        palettes, and greys show the indices themselves.
        """
        palette = read_palette(path)
        if palette is None:
            return check_image(path, LABEL_KINDS).kind.startswith("RGB")
        colours = {
            (r, g, b) for i, (r, g, b) in enumerate(palette.tolist()) if {r, g, b} not in ({i}, {0})
        }
        if self.entry.sides[self.entry.label_role or ""].kind == "palette":
            return bool(colours)
        return any(one.colour in colours for one in self.entry.classes)

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
        LabelReader(held, _table(entry, held), _with_black(entry)) for held in LABEL_VALUES
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
    seen = np.array(sorted({v for m in maps for v in np.unique(read_pixels(m, LABEL_KINDS))}), int)
    by_position, by_own = positions.table[seen], own.table[seen]
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


def _has_own_indices(entry: DatasetEntry) -> bool:
    """Whether the values of the data set's own index maps are not the class positions."""
    return any(one.index != position for position, one in enumerate(entry.classes))


def _table(entry: DatasetEntry, values: str) -> np.ndarray:
    """(256,) uint8: what index maps hold to class positions, 255 if ignored, or NO_CLASS."""
    table = np.full(256, NO_CLASS, np.uint8)
    if values == OWN or not _has_own_indices(entry):
        ignored = range(256) if entry.ignore == "rest" else entry.ignore
        table[[value for value in ignored if isinstance(value, int)]] = IGNORED
    if values == POSITIONS:
        table[IGNORED] = IGNORED
    for position, one in enumerate(entry.classes):
        table[position if values == POSITIONS else one.index] = position
    return table


def _with_black(entry: DatasetEntry) -> DatasetEntry:
    """The entry for painted maps: black is ignored, unless it is the colour of a class."""
    taken = any(one.colour == BLACK for one in entry.classes)
    if taken or entry.ignore == "rest":
        return entry
    return entry.model_copy(update={"ignore": (*entry.ignore, BLACK)})
