"""Which files of a data set form its pairs, and which are passed over; folders and names alone."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2pix.common.errors import UserError, printable
from pix2pix.data.registry import SPLITS, DatasetEntry

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".tif", ".tiff", ".webp")
"""In any case. A file without a suffix is an image if its bytes are."""
NO_IMAGES = (
    *(".txt", ".md", ".json", ".csv", ".tsv", ".html", ".xml", ".yaml", ".yml", ".toml", ".ini"),
    *(".cfg", ".log", ".py", ".sh", ".db", ".lock"),
)
"""Files that nobody takes for images: passed over without a word."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of folders, in any case, by split."""
COUNTED = 10_000
"""Entries of a passed-over folder that are looked at."""
MAX_NAME = 200
"""Bytes of a file's name; translations get the same names with a longer ending."""
LISTED = 3
"""Names that an error lists before an ellipsis."""


@dataclass(frozen=True)
class SourcePair:
    """The files of one pair; side-by-side pairs name the same file twice."""

    name: str
    files: tuple[tuple[str, str], ...]
    """(role, path), in the order of the entry's sides. Unpaired images of the training split stand
    beside each other as far as both sides reach; then come those of the longer side alone."""
    own_names: tuple[tuple[str, str], ...] = ()
    """(role, name) of unpaired images."""

    def name_of(self, role: str) -> str:
        """The name of one side's image; that of the pair where it is one."""
        return dict(self.own_names).get(role, self.name)


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
        found = {
            split: _folders(entry, _side_folders(entry, root, folder), split, folder)
            for split, folder in splits.items()
        }
    else:
        found = _unsplit(entry, root)
    for split, pairs in found.items():
        lacking = [r for r in entry.sides if r not in {role for p in pairs for role, _ in p.files}]
        if lacking:
            endings = [side.ending for side in entry.sides.values() if side.ending] or SUFFIXES
            of_side = f" of {lacking[0]}" * (len(lacking) < len(entry.sides))
            place, folder = f"its folder below {root}", entry.sides[lacking[0]].folder or ""
            if "{split}" in folder:
                place = str(root / folder.replace("{split}", splits[split]))
            raise UserError(
                f"{entry.name}: the split {split}{of_side} is empty: no {' or '.join(endings)}"
                f" files in {place}"
            )
    return found


def listing_digests(pairs: Pairs, root: Path) -> tuple[str, str]:
    """sha256 over path (below the root), size and modification time of every file, and over the
    times at which the files' entries changed: these tell of other bytes, too, that were copied to
    a place with their times, but a move or new rights change them as well.
    """
    digest, changed = hashlib.sha256(), hashlib.sha256()
    for split in SPLITS:
        for pair in pairs[split]:
            for role, path in pair.files:
                found = os.stat(path)
                below = path.removeprefix(str(root))
                line = (split, pair.name, role, below, found.st_size, found.st_mtime_ns)
                digest.update(repr(line).encode())
                changed.update(f"{found.st_ctime_ns} ".encode())
    return digest.hexdigest(), changed.hexdigest()


def passed_over(root: Path, read: Iterable[str | Path]) -> str:
    """What lies in the folders of the files that were read, and in those above up to `root`, and
    was not read: `2 .gif (A/f.gif, B/f.gif), 1 sub-folder with 3 images (A/more)`; empty if
    nothing was passed over.

    Hidden files and NO_IMAGES are left out, and links to a folder that is read.
    """
    files = {os.path.abspath(path) for path in read}
    top = os.path.abspath(root)
    read_in = {os.path.dirname(path) for path in files}
    folders: set[str] = set()
    for folder in read_in:
        while folder not in folders:
            folders.add(folder)
            if folder == top or os.path.dirname(folder) == folder or not folder.startswith(top):
                break
            folder = os.path.dirname(folder)
    found: dict[str, list[str]] = {}
    images = 0
    real = {os.path.realpath(folder) for folder in folders}
    for folder in sorted(folders):
        for item in sorted(folder_entries(Path(folder)), key=lambda item: item.name):
            if item.name.startswith(".") or item.path in files:
                continue
            if item.is_dir():
                # A root above the images may hold a whole project.
                inside = _images_below(item.path, deep=folder != top or folder in read_in)
                if inside and os.path.realpath(item.path) not in real:
                    images += inside
                    found.setdefault("sub-folder", []).append(item.path)
            elif not os.path.exists(item.path):
                found.setdefault("link to nowhere", []).append(item.path)
            else:
                suffix = os.path.splitext(item.name)[1].lower()
                if suffix in SUFFIXES or (folder in read_in and suffix not in NO_IMAGES):
                    found.setdefault(suffix or "file without a suffix", []).append(item.path)
    found = {kind: [os.path.relpath(path, top) for path in paths] for kind, paths in found.items()}
    return ", ".join(
        _counted(printable(kind), paths, images) for kind, paths in sorted(found.items())
    )


def _counted(kind: str, paths: list[str], images: int) -> str:
    number = len(paths)
    text = f"{number} {kind}"
    if not kind.startswith("."):
        first, _, rest = kind.partition(" ")
        text = f"{number} {first}{'s' * (number > 1)}{rest and ' ' + rest}"
    if kind == "sub-folder":
        text += f" with {images} image{'s' * (images != 1)}"
    return f"{text} ({', '.join(map(printable, paths[:LISTED]))}{', …' * (number > LISTED)})"


def _images_below(folder: str, deep: bool) -> int:
    """How many files in a folder are named like images; of a large one, of the first entries."""
    images = seen = 0
    for _, folders, files in os.walk(folder):
        images += sum(name.lower().endswith(SUFFIXES) for name in files if name[0] != ".")
        seen += len(files) + len(folders)
        if not deep or seen > COUNTED:
            break
    return images


def split_folders(folder: Path) -> dict[str, str]:
    """{split: the folder's own name for it} of the splits below a folder, by SPLIT_NAMES."""
    found: dict[str, str] = {}
    for item in sorted(folder_entries(folder), key=lambda item: item.name):
        split = next((s for s in SPLITS if item.name.lower() in SPLIT_NAMES[s]), None)
        if split and item.is_dir():
            if split in found:
                raise UserError(f"{folder}: has {found[split]} and {item.name}; keep one of them")
            found[split] = item.name
    return found


def _halves(entry: DatasetEntry, folder: Path) -> tuple[SourcePair, ...]:
    return tuple(
        SourcePair(name, tuple((role, path) for role in entry.sides))
        for name, path in sorted(images_in(folder).items())
    )


def _folders(
    entry: DatasetEntry, folders: Mapping[str, Path], split: str, called: str
) -> tuple[SourcePair, ...]:
    """Pairs of one split from {role: folder}; `called`: the split's name on the disk."""
    sides = _images_by_side(entry, folders)
    return _beside(sides, split) if entry.unpaired else _match(entry, called, sides)


def _images_by_side(entry: DatasetEntry, folders: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Paths by role and name. Of one folder for two sides, the longest ending of a file's name
    tells the side."""
    sides = {}
    for role, side in entry.sides.items():
        ending = side.ending or ""
        longer = tuple(
            other.ending.lower()
            for name, other in entry.sides.items()
            if other.ending and folders[name] == folders[role] and len(other.ending) > len(ending)
        )
        sides[role] = images_in(folders[role], ending, longer)
    return sides


def _side_folders(entry: DatasetEntry, root: Path, split: str) -> dict[str, Path]:
    return {
        role: root / (side.folder or "").replace("{split}", split)
        for role, side in entry.sides.items()
    }


def _trees(entry: DatasetEntry, root: Path, split: str) -> tuple[SourcePair, ...]:
    """Cityscapes' own tree: FOLDER/SPLIT/CITY/name + ending."""
    sides: dict[str, dict[str, str]] = {}
    for role, side in entry.sides.items():
        cities = sorted(
            e.path for e in folder_entries(root / (side.folder or "") / split) if e.is_dir()
        )
        known = sides[role] = {}
        for city in cities:
            images = images_in(Path(city), side.ending or "")
            for name in sorted(images.keys() & known):
                raise UserError(f"{images[name]}: has the name of {known[name]}; keep one of them")
            known |= images
    return _match(entry, split, sides)


def _unsplit(entry: DatasetEntry, root: Path) -> Pairs:
    """Folders that name no split: train, val, test below each of them, or a fixed division."""
    folders = _side_folders(entry, root, "")
    own = {role: split_folders(folder) for role, folder in folders.items()}
    if any("train" in names for names in own.values()):
        present = [split for split in SPLITS if any(split in names for names in own.values())]
        if len(present) < 2:
            first = next(iter(folders.values()))
            raise UserError(f"{entry.name}: {first} has train, but neither val nor test")
        found: Pairs = {}
        for split in present:
            below = {role: folders[role] / names.get(split, split) for role, names in own.items()}
            found[split] = _folders(entry, below, split, split)
        val, test = found.get("val", ()), found.get("test", ())
        return {"train": found["train"], "val": val or test, "test": test or val}
    if entry.unpaired:
        sides = _images_by_side(entry, folders)
        few = [role for role, images in sides.items() if len(images) < 3]
        if few:
            counts = " and ".join(f"{folders[role]} holds {len(sides[role])}" for role in few)
            raise UserError(
                f"{entry.name}: {counts} images of {' and '.join(few)}; at least 3 are needed on "
                "each side, one each for train, val and test"
            )
        parts = {role: _divided(sorted(images)) for role, images in sides.items()}
        return {
            split: _beside({r: {n: sides[r][n] for n in parts[r][split]} for r in sides}, split)
            for split in SPLITS
        }
    pairs = _folders(entry, folders, "", "")
    if len(pairs) < 3:
        raise UserError(
            f"{entry.name}: {' and '.join(map(str, folders.values()))} hold {len(pairs)} "
            f"{'pairs' if len(folders) > 1 else 'images'}; at least 3 are needed, one each for "
            "train, val and test"
        )
    return {split: tuple(found) for split, found in _divided(pairs).items()}


def _divided(images: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The fixed division: every tenth is test, every tenth from the sixth on val."""
    val_from = 5 if len(images) > 5 else 1
    return {
        "train": [one for i, one in enumerate(images) if i % 10 not in (0, val_from)],
        "val": images[val_from::10],
        "test": images[::10],
    }


def _beside(sides: dict[str, dict[str, str]], split: str) -> tuple[SourcePair, ...]:
    """Unpaired images, by name on each side. Val and test take as many of the longer side as the
    shorter has, evenly from its names in order; training takes all."""
    names = {role: sorted(images) for role, images in sides.items()}
    if split != "train" and all(names.values()):  # else `find_pairs` names the empty side
        count = min(map(len, names.values()))
        names = {r: [ns[i * len(ns) // count] for i in range(count)] for r, ns in names.items()}
    rows = []
    for place in range(max(map(len, names.values()))):
        own = tuple((role, ns[place]) for role, ns in names.items() if place < len(ns))
        files = tuple((role, sides[role][name]) for role, name in own)
        rows.append(SourcePair(" | ".join(name for _, name in own), files, own))
    return tuple(rows)


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
            folders = {os.path.dirname(p) for s in sides.values() for p in s.values()}
            problems += [near for near in (_near(unmatched[0], folders, sides),) if near]
    if problems:
        where = f"{entry.name}: {split}" if split else entry.name
        hint = ""
        if not everywhere and entry.recognise:
            hint = "; if they do not belong together: --dataset unpaired (docs/cyclegan.md)"
        raise UserError(f"{where}: names do not match: {'; '.join(problems)}{hint}")
    return tuple(
        SourcePair(name, tuple((role, images[name]) for role, images in sides.items()))
        for name in sorted(everywhere)
    )


def _near(name: str, folders: Iterable[str], sides: Mapping[str, Mapping[str, str]]) -> str:
    """Why a name may lack its counterpart: a file of that name that is no image that can be read,
    or one in another case; else empty."""
    for folder in sorted(folders):
        for item in folder_entries(Path(folder)):
            stem, suffix = os.path.splitext(item.name)
            if stem == name and suffix.lower() not in (*SUFFIXES, ""):
                return f"{item.path} is not read ({suffix}): save it as PNG"
    others = (other for images in sides.values() for other in images)
    cased = next((o for o in others if o != name and o.lower() == name.lower()), "")
    return f"{cased} and {name} differ in case" if cased else ""


def images_in(
    folder: Path, ending: str = "", other_endings: tuple[str, ...] = ()
) -> dict[str, str]:
    """Paths of a folder's images by name: what comes before the ending (or the suffix).

    Args:
        ending: of the files' names, in any case.
        other_endings: in lower case, of files that are not meant.

    Raises:
        UserError: a missing folder, two images of one name, or a name that is not printable.
    """
    found: dict[str, str] = {}
    for item in folder_entries(folder):
        lower = item.name.lower()
        if item.name.startswith(".") or (other_endings and lower.endswith(other_endings)):
            continue
        if ending:
            if not lower.endswith(ending.lower()):
                continue
            stem = item.name[: -len(ending)]
        else:
            stem, suffix = os.path.splitext(item.name)
            if suffix.lower() not in SUFFIXES:
                if suffix[1:].strip("0123456789") or not _holds_image(item):
                    continue
                stem = item.name
        if not item.is_file():
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


def _holds_image(item: os.DirEntry[str]) -> bool:
    """Whether a file without a suffix begins as a PNG, JPEG, BMP, TIFF or WebP file."""
    try:
        if not item.is_file():
            return False
        with open(item.path, "rb") as file:
            first = file.read(12)
    except OSError:
        return False
    beginnings = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
    return first.startswith(beginnings) or (first[:4] == b"RIFF" and first[8:] == b"WEBP")


def folder_entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder; UserError if it cannot be read."""
    try:
        with os.scandir(folder) as items:
            return list(items)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no folder {folder}") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
