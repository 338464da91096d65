"""The layouts that everybody has, for pairs that nobody has described.

- `A B` with equal names, perhaps with `train val test` below: the entry as it is written;
- `trainA trainB testA testB`: CycleGAN;
- `train/A train/B test/A test/B`;
- `train val test` of images that hold both halves: the PyTorch port, pix2pix's own archives;
- one folder with `NAME.png` and `NAME_B.png`, or another ending: raw CamVid;
- for a direction such as `grey->photo`: photos, perhaps with `train val test` above them.

Of unpaired images, the first three.

Names of folders are compared in any case.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.decode import FORMATS
from pix2pix.data.layouts import SPLIT_NAMES, SUFFIXES, folder_entries, images_in
from pix2pix.data.registry import SPLITS, DatasetEntry

LISTED = 8
"""Folders that an error lists."""
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


def located(
    entry: DatasetEntry, data_root: Path, direction: str | None = None
) -> tuple[DatasetEntry, str]:
    """The entry as its folders lie on the disk, and in words what was taken; empty if the entry
    needs no recognition.

    UserError if no known layout fits, or several do.
    """
    root = entry.location(data_root)
    if not entry.recognise or not root.is_dir():
        return entry, ""
    names = sorted(item.name for item in folder_entries(root) if item.is_dir())
    if entry.takes_photos(direction):
        return _photos(entry, root, names), f"every image below {root} as a photo"
    readers = [_two_folders, _split_and_side, _side_in_split]
    readers += [] if entry.unpaired else [_halves]
    options = [found for find in readers if (found := find(root, names))]
    if not options and not entry.unpaired:
        options = list(filter(None, [_two_endings(root)]))
    if len(options) == 1:
        fields, text = options[0]
        if not fields:
            return entry, text
        written = entry.model_dump(by_alias=True)
        for role, side in fields.pop("sides", {}).items():
            written["sides"][role] |= side  # keeps `grey`
        return DatasetEntry.model_validate(written | fields), text
    what = f"{root}: " + (
        f"fits several layouts ({'; '.join(text for _, text in options)})"
        if options
        else f"has none of the known layouts; {_contents(root, names)}; if these are plain photos,"
        " train with --direction grey->photo (docs/tasks.md)"
    )
    begun = {s for s, of in SPLIT_NAMES.items() for n in names if n.lower().startswith(of)}
    if not options and begun == {"train"}:
        raise UserError(
            f"{root}: has images for training, but none for val or test; {_contents(root, names)};"
            " add a folder named test as the training's is named train"
        )
    unpaired = "unpaired: true, " * entry.unpaired
    raise UserError(
        f"{what}; name the folders in a file: mine: {{layout: folders, path: ., {unpaired}sides: "
        '{A: {folder: "INPUTS/{split}"}, B: {folder: "TARGETS/{split}"}}}, and give --datasets '
        "FILE --dataset mine (docs/datasets.md)"
    )


Found = tuple[dict[str, Any], str]
"""Fields of an entry, and what was taken in words."""


def _sides(**folders: str) -> dict[str, Any]:
    return {"sides": {side: {"folder": folder} for side, folder in folders.items()}}


def _photos(entry: DatasetEntry, root: Path, names: list[str]) -> DatasetEntry:
    """Plain photos: in the folder itself, or in train, val and test below it."""
    by_side = {"A", "B"} <= {name.upper() for name in names}
    if by_side or _split_and_side(root, names) or _side_in_split(root, names):
        raise UserError(
            f"{root}: holds images of two sides, A and B; say which of them are the photos, as in "
            "--direction grey->B"
        )
    written = entry.model_dump(by_alias=True)
    photos = {"sides": {"photo": {"folder": "."}}, "direction": ""}
    no_pairs = {"recognise": False, "unpaired": False}
    return DatasetEntry.model_validate(written | photos | no_pairs)


def _two_folders(root: Path, names: list[str]) -> Found | None:
    """A and B; no field for exactly these names."""
    given = {name.upper(): name for name in names}
    if not {"A", "B"} <= set(given):
        # One of the two: reading the entry as written says which is missing.
        only_one = bool({"A", "B"} & set(given)) and not any(n.lower() in _SPLIT_OF for n in names)
        return ({}, "A and B") if only_one else None
    fields = {} if {"A", "B"} <= set(names) else _sides(A=given["A"], B=given["B"])
    return fields, f"the folders {given['A']} and {given['B']}"


def _splits(found: dict[str, str]) -> dict[str, Any] | None:
    """The field `splits` for {split: name}; val and test stand in for each other."""
    if "train" not in found:
        return None
    rest = found.get("test") or found.get("val")
    if rest is None:
        return None
    splits = {"val": rest, "test": rest} | found
    return {"splits": {split: splits[split] for split in SPLITS}}


def _split_and_side(root: Path, names: list[str]) -> Found | None:
    """trainA, train_A, TrainA, …"""
    for gap in ("", "_", "-"):
        sides: dict[str, dict[str, str]] = {}
        letters = {"A": "A", "B": "B"}
        for name in names:
            match = re.fullmatch(rf"([A-Za-z]+?){gap}([ABab])", name)
            if match and match[1].lower() in _SPLIT_OF:
                sides.setdefault(match[2].upper(), {})[_SPLIT_OF[match[1].lower()]] = match[1]
                letters[match[2].upper()] = match[2]
        splits = _splits(sides.get("A", {}))
        if splits and set(sides.get("B", {})) >= set(sides["A"]):
            folders = {side: f"{{split}}{gap}{letters[side]}" for side in "AB"}
            text = ", ".join(
                f"{split} from {sides['A'][split]}{gap}{letters['A']} and "
                f"{sides['B'][split]}{gap}{letters['B']}"
                for split in SPLITS
                if split in sides["A"]
            )
            return _sides(**folders) | splits, text
    return None


def _own_splits(names: list[str]) -> dict[str, str]:
    return {_SPLIT_OF[name.lower()]: name for name in names if name.lower() in _SPLIT_OF}


def _side_in_split(root: Path, names: list[str]) -> Found | None:
    """train/A and train/B."""
    found = _own_splits(names)
    splits = _splits(found)
    if not splits:
        return None
    below = [set(_folders_in(root / name)) for name in found.values()]
    for pair in (("A", "B"), ("a", "b")):
        if all(set(pair) <= folders for folders in below):
            folders = {side.upper(): f"{{split}}/{side}" for side in pair}
            return _sides(**folders) | splits, f"{pair[0]} and {pair[1]} in {_listed(found)}"
    return None


def _halves(root: Path, names: list[str]) -> Found | None:
    """train, val, test of images twice as wide as high."""
    found = _own_splits(names)
    splits = _splits(found)
    if not splits:
        return None
    shapes = []
    for name in found.values():
        images = sorted(images_in(root / name).values())
        shapes += [_shape(path) for path in images[:3]]
    if not shapes or any(width != 2 * height for width, height in shapes):
        return None
    fields: dict[str, Any] = {
        "layout": "side-by-side",
        "sides": {"A": {"half": "left"}, "B": {"half": "right"}},
    }
    text = f"images in {_listed(found)} whose left half is A and whose right half is B"
    return fields | splits, text


def _two_endings(root: Path) -> Found | None:
    """NAME.png and NAME_B.png in the folder itself."""
    files = sorted(
        item.name
        for item in folder_entries(root)
        if item.name.lower().endswith(SUFFIXES) and not item.name.startswith(".")
    )
    if len(files) < 2 or len(files) % 2:
        return None
    stems = {os.path.splitext(name)[0] for name in files}
    by_ending: dict[str, int] = {}
    for name in files:
        stem, suffix = os.path.splitext(name)
        parts = [stem[:place] for place in range(1, len(stem)) if stem[:place] in stems]
        for part in parts:
            ending = stem[len(part) :] + suffix
            by_ending[ending] = by_ending.get(ending, 0) + 1
    endings = [ending for ending, count in by_ending.items() if count == len(files) // 2]
    if len(endings) != 1:
        return None
    sides = {"A": {"folder": "."}, "B": {"folder": ".", "ending": endings[0]}}
    return {"sides": sides}, f"NAME and NAME{endings[0]} in {root}"


def _shape(path: str) -> tuple[int, int]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # what cannot be opened is reported where it is read
        return (0, 1)


def _folders_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder_entries(folder) if item.is_dir())


def _listed(found: dict[str, str]) -> str:
    return ", ".join(found[split] for split in SPLITS if split in found)


def _contents(root: Path, names: list[str]) -> str:
    """What lies there, for people."""
    count = len(images_in(root))
    images = [f"{count} images"] * bool(count)
    folders = [f"{name}/ ({len(images_in(root / name))} images)" for name in names[:LISTED]]
    more = ["…"] * (len(names) > LISTED)
    return "found: " + (", ".join([*images, *folders, *more]) or "nothing")
