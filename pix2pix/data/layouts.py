"""Which files of a data set form its pairs: folders and names, no pixels."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pix2pix.common.errors import UserError
from pix2pix.data.registry import SPLITS, DatasetEntry

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_NAME = 200
"""Bytes of a file's name; translations get the same names with a longer ending."""
LISTED = 3
"""Names that an error lists before an ellipsis."""


@dataclass(frozen=True)
class SourcePair:
    """The files of one pair; side-by-side pairs name the same file twice."""

    name: str
    files: tuple[tuple[str, str], ...]
    """(role, path), in the order of the entry's sides."""


Pairs = dict[str, tuple[SourcePair, ...]]


def find_pairs(entry: DatasetEntry, data_root: Path) -> Pairs:
    """The pairs of each split, sorted by name; no file is opened.

    Raises UserError for a missing folder, an empty split, and names that do not match.
    """
    root = entry.location(data_root)
    if not root.is_dir():
        raise UserError(f"{entry.name}: there is no folder {root}; {entry.how_to_get(data_root)}")
    splits = {split: getattr(entry.splits, split) for split in SPLITS}
    if entry.layout == "side-by-side":
        found = {split: _halves(entry, root / folder) for split, folder in splits.items()}
    elif entry.layout == "cityscapes":
        found = {split: _trees(entry, root, folder) for split, folder in splits.items()}
    elif all("{split}" in (side.folder or "") for side in entry.sides.values()):
        found = {split: _folders(entry, root, "", folder) for split, folder in splits.items()}
    else:
        found = _unsplit(entry, root)
    for split, pairs in found.items():
        if not pairs:
            endings = [side.ending for side in entry.sides.values() if side.ending] or SUFFIXES
            raise UserError(
                f"{entry.name}: the split {split} is empty: no {' or '.join(endings)} files in its"
                f" folder below {root}"
            )
    return found


def listing_digest(pairs: Pairs, root: Path) -> str:
    """sha256 over path (below the root), size and modification time of every file."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for pair in pairs[split]:
            for role, path in pair.files:
                found = os.stat(path)
                below = path.removeprefix(str(root))
                line = (split, pair.name, role, below, found.st_size, found.st_mtime_ns)
                digest.update(repr(line).encode())
    return digest.hexdigest()


def _halves(entry: DatasetEntry, folder: Path) -> tuple[SourcePair, ...]:
    return tuple(
        SourcePair(name, tuple((role, path) for role in entry.sides))
        for name, path in sorted(images_in(folder).items())
    )


def _folders(entry: DatasetEntry, root: Path, below: str, split: str) -> tuple[SourcePair, ...]:
    sides = {}
    for role, side in entry.sides.items():
        folder = root / (side.folder or "").replace("{split}", split) / below
        sides[role] = images_in(folder, side.ending or "")
    return _match(entry, split or below, sides)


def _trees(entry: DatasetEntry, root: Path, split: str) -> tuple[SourcePair, ...]:
    """Cityscapes' own tree: FOLDER/SPLIT/CITY/name + ending."""
    sides: dict[str, dict[str, str]] = {}
    for role, side in entry.sides.items():
        cities = sorted(e.path for e in _entries(root / (side.folder or "") / split) if e.is_dir())
        known = sides[role] = {}
        for city in cities:
            images = images_in(Path(city), side.ending or "")
            for name in sorted(images.keys() & known):
                raise UserError(f"{images[name]}: has the name of {known[name]}; keep one of them")
            known |= images
    return _match(entry, split, sides)


def _unsplit(entry: DatasetEntry, root: Path) -> Pairs:
    """Folders that name no split: train, val, test below each of them, or a fixed division."""
    folders = [root / (side.folder or "") for side in entry.sides.values()]
    if any((folder / "train").is_dir() for folder in folders):
        present = [s for s in SPLITS if any((folder / s).is_dir() for folder in folders)]
        if len(present) < 2:
            raise UserError(f"{entry.name}: {folders[0]} has train, but neither val nor test")
        found = {split: _folders(entry, root, split, "") for split in present}
        return {s: found.get(s) or found["test" if s == "val" else "val"] for s in SPLITS}
    pairs = _folders(entry, root, "", "")
    if len(pairs) < 3:
        raise UserError(
            f"{entry.name}: {folders[0]} and {folders[1]} hold {len(pairs)} pairs; "
            "at least 3 are needed, one each for train, val and test"
        )
    val_from = 5 if len(pairs) > 5 else 1
    return {
        "train": tuple(pair for i, pair in enumerate(pairs) if i % 10 not in (0, val_from)),
        "val": pairs[val_from::10],
        "test": pairs[::10],
    }


def _match(
    entry: DatasetEntry, split: str, sides: dict[str, dict[str, str]]
) -> tuple[SourcePair, ...]:
    """Pairs by equal names; UserError lists the first names without a counterpart."""
    everywhere = set.intersection(*(set(images) for images in sides.values()))
    problems = []
    for role, images in sides.items():
        unmatched = sorted(set(images) - everywhere)
        if unmatched:
            others = " or ".join(other for other in sides if other != role)
            more = ["…"] if len(unmatched) > LISTED else []
            names = ", ".join(unmatched[:LISTED] + more)
            problems.append(f"{len(unmatched)} of {role} without {others}: {names}")
    if problems:
        where = f"{entry.name}: {split}" if split else entry.name
        raise UserError(f"{where}: names do not match: {'; '.join(problems)}")
    return tuple(
        SourcePair(name, tuple((role, images[name]) for role, images in sides.items()))
        for name in sorted(everywhere)
    )


def images_in(folder: Path, ending: str = "") -> dict[str, str]:
    """Paths of a folder's images by name: what comes before the ending (or the suffix).

    Raises UserError for a missing folder, two images of one name, and a name that is not printable.
    """
    found: dict[str, str] = {}
    for item in _entries(folder):
        stem, suffix = os.path.splitext(item.name)
        if ending:
            if not item.name.endswith(ending):
                continue
            stem = item.name[: -len(ending)]
        elif suffix.lower() not in SUFFIXES:
            continue
        if item.name.startswith(".") or not item.is_file():
            continue
        # The same name is composed differently on different file systems.
        name = unicodedata.normalize("NFC", stem)
        if not name.isprintable() or not name:
            raise UserError(f"{item.path!a}: the name is not printable text; rename the file")
        if len(item.name.encode()) > MAX_NAME:
            raise UserError(f"{item.path}: the name has more than {MAX_NAME} bytes; shorten it")
        if name in found:
            raise UserError(f"{item.path}: has the name of {found[name]}; keep one of them")
        found[name] = item.path
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no folder {folder}") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
