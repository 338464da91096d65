"""Decoded pairs as uint8 arrays: made once, kept in a cache, opened in a moment.

    <cache>/NAME-HxW-KEY/
        train-photo.npy …    (N, H, W, 3) uint8, one file per split and role
        classes-train.npy …  (N, H, W) uint8 class positions, 255 ignored
        meta.json            fingerprint, names, file sizes
    <cache>/NAME-HxW-KEY-INPUT-TARGET-VERSION/
        train-inputs.npy …   what is derived from the photos (tasks.py), and the targets for Lab

KEY changes when a file's size or time or the entry's definition does; where files were replaced
without that, the cache is made again. The folder is built whole beside its place
and then renamed.
Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_file, write_whole
from pix2pix.data import procedural
from pix2pix.data.arrays import file_name, in_threads, made_whole
from pix2pix.data.derived import derived_pairs
from pix2pix.data.labels import paint
from pix2pix.data.layouts import Pairs, find_pairs, listing_digests, passed_over
from pix2pix.data.pairs import DecodedPair, check_pair, read_pair, values_of_no_class
from pix2pix.data.recognise import located
from pix2pix.data.registry import IGNORED, SPLITS, DatasetEntry

FORMAT: Literal[2] = 2
"""Raise it when the cache is laid out, or pixels are decoded, in another way."""
MAX_HEADERS = 4000
"""Pairs whose files `check_source` opens; the others are checked while decoding."""
LOOKED_AT = 20
"""Label maps that are read to name the values of no class."""
Progress = Callable[[int, int], None]
"""Called with (pairs done, pairs in all)."""


@dataclass(frozen=True)
class Split:
    """The pairs of one split."""

    inputs: np.ndarray
    """(N, H, W, 3) uint8; for L->photo (N, H, W, 1) int16 (`tasks.to_lab`)."""
    targets: np.ndarray
    """(N, H, W, 3) uint8; for L->photo (N, H, W, 2) int16."""
    pictures: np.ndarray
    """(N, H, W, 3) uint8: what the targets look like."""
    labels: np.ndarray | None
    """(N, H, W) uint8 class positions, 255 ignored; None if the set has no classes."""
    names: tuple[str, ...]
    """Of the inputs; unique in the split, safe as file names. Training images that do not belong
    together may have another number of targets."""
    shown: tuple[tuple[int, int], ...]
    """(h, w) of the top left part of each image that is no padding."""

    def __len__(self) -> int:
        """Images of the longer side, which are those of an epoch."""
        return max(len(self.inputs), len(self.targets))


@dataclass(frozen=True)
class PairedData:
    """A data set at one size and in one direction."""

    train: Split
    val: Split
    test: Split
    fingerprint: str
    """sha256 over decoded pixels, names and class names; not over paths, times, or direction."""
    class_names: tuple[str, ...]
    palette: np.ndarray | None
    """(C, 3) uint8 colours by class position; None if the set has no classes."""


def prepare(
    entry: DatasetEntry,
    data_root: Path,
    size: tuple[int, int],
    direction: str | None,
    cache: Path,
    progress: Progress | None = None,
) -> PairedData:
    """The three splits at exactly `size` (H, W), decoded into `cache` on the first call.

    Several processes may call this at once: one decodes, the others wait. The arrays are mapped
    into memory, so that processes share them. `progress(done, total)` is called while decoding.
    Raises UserError for missing, unmatched or unreadable images, a full disk, a read-only cache.
    """
    entry.roles(direction)
    source = find_source(entry, Path(data_root), size, direction)
    meta = complete(source, cache) or build(source, cache, progress)
    return _opened(entry, direction, folder(source, cache), meta)


def arrived(entry: DatasetEntry, direction: str | None, place: Path) -> PairedData:
    """A data set that another machine decoded, from the folder in which it came here."""
    meta = CacheMeta.model_validate_json((place / "meta.json").read_bytes())
    return _opened(entry, direction, place, meta)


def _opened(entry: DatasetEntry, direction: str | None, place: Path, meta: CacheMeta) -> PairedData:
    inputs, targets = entry.roles(direction)
    derived = entry.derived_role(direction)

    def load(split: str, role: str | None) -> np.ndarray:
        return np.load(place / file_name(split, role), mmap_mode="r")

    pictures = {split: load(split, targets) for split in SPLITS}
    side = targets if derived else inputs
    names = {split: of[side] for split, of in meta.own_names.items()} or meta.names
    if derived is None:
        pairs = {split: (load(split, inputs), pictures[split]) for split in SPLITS}
    else:
        pairs = derived_pairs(derived, pictures, names, meta.fingerprint, place, targets)
    splits = {
        split: Split(
            *pairs[split],
            pictures=pictures[split],
            labels=load(split, None) if entry.classes else None,
            names=names[split],
            shown=(meta.shown or {}).get(split) or (meta.size,) * len(names[split]),
        )
        for split in SPLITS
    }
    colours = [label.colour for label in entry.classes]
    return PairedData(
        **splits,
        fingerprint=meta.fingerprint,
        class_names=tuple(label.name for label in entry.classes),
        palette=np.array(colours, np.uint8) if colours else None,
    )


@dataclass(frozen=True)
class LabelledPart:
    """Which part of a split's labels has a class."""

    ignored: float
    """Share of the pixels that have none."""
    absent: tuple[str, ...]
    """Names of classes that never occur."""


def labelled_parts(data: PairedData) -> dict[str, LabelledPart]:
    """Counted by split, at the size of the training; empty for a data set without classes."""
    parts = {}
    for split in SPLITS:
        found: Split = getattr(data, split)
        if found.labels is None:
            continue
        counts = np.zeros(256, np.int64)
        for one, (height, width) in zip(found.labels, found.shown, strict=True):
            counts += np.bincount(one[:height, :width].ravel(), minlength=256)
        absent = (name for name, count in zip(data.class_names, counts, strict=False) if not count)
        parts[split] = LabelledPart(float(counts[IGNORED] / counts.sum()), tuple(absent))
    return parts


def mostly_ignored(entry: DatasetEntry, data_root: Path) -> str:
    """The values or colours of most pixels without a class, each with its share of the label
    pixels of no class, in some label maps of all splits; empty if the program draws the labels."""
    if entry.layout == "procedural":
        return ""
    entry, _ = located(entry, Path(data_root))
    pairs = [pair for found in find_pairs(entry, Path(data_root)).values() for pair in found]
    counts: Counter[str] = Counter()
    for pair in pairs[:: max(1, len(pairs) // LOOKED_AT)]:
        counts += values_of_no_class(entry, pair)
    listed = (
        f"{value} ({count / counts.total():.0%} of them)" for value, count in counts.most_common(3)
    )
    return ", ".join(listed)


def cached(
    entry: DatasetEntry,
    data_root: Path,
    size: tuple[int, int],
    cache: Path,
    direction: str | None = None,
) -> tuple[str, dict[str, int]] | None:
    """The fingerprint, and pairs by split or images of the longer unpaired side, if there is a
    cache of exactly these files; None otherwise."""
    try:
        source = find_source(entry, Path(data_root), size, direction)
    except UserError:
        return None  # `check_source` reports what is wrong with the images
    meta = complete(source, cache)
    if meta is None:
        return None
    photos = entry.roles(direction)[1] if entry.derived_role(direction) else None
    return meta.fingerprint, {split: len(source.names(split, photos)) for split in SPLITS}


def check_source(entry: DatasetEntry, data_root: Path, direction: str | None = None) -> list[str]:
    """Everything that can be checked without decoding: folders, names, kinds, sizes of images.

    Returns what the user has to know: the layout that was recognised, what was passed over, and
    which files are read in another form than their own. Raises UserError. `prepare` finds the
    rest: damaged files, indices and colours of no class.
    """
    entry.roles(direction)
    if entry.layout == "procedural":
        return []
    entry, taken = located(entry, Path(data_root), direction)
    pairs = find_pairs(entry, Path(data_root))
    files = {path for found in pairs.values() for pair in found for _, path in pair.files}
    others = passed_over(entry.location(data_root), files)
    notes = [f"taken: {taken}"] * bool(taken) + [f"passed over: {others}"] * bool(others)
    if entry.unpaired:
        counts = (
            " and ".join(str(sum(r in dict(p.files) for p in pairs[s])) for r in entry.sides)
            for s in SPLITS
        )
        text = ", ".join(f"{s} {count}" for s, count in zip(SPLITS, counts, strict=True))
        notes.append(f"images of {' and '.join(entry.sides)}, which do not belong together: {text}")
    notes += ["val and test are the same images"] * (pairs["val"] == pairs["test"])
    read_as: Counter[tuple[str, str]] = Counter()
    in_order = (pair for split in ("test", "val", "train") for pair in pairs[split])
    unique = {pair.files: pair for pair in in_order}
    for pair in itertools.islice(unique.values(), MAX_HEADERS):
        for path, text in check_pair(entry, pair).items():
            read_as[os.path.dirname(path), text] += 1
    return [
        *notes,
        *(
            f"{place}: {count} file{'s' * (count > 1)}: {text}"
            for (place, text), count in sorted(read_as.items())
        ),
    ]


class CacheMeta(BaseModel):
    """`meta.json` of a cache."""

    format: Literal[2]
    """FORMAT."""
    name: str
    size: tuple[int, int]
    fingerprint: str
    names: dict[str, tuple[str, ...]]
    """By split."""
    own_names: dict[str, dict[str, tuple[str, ...]]] = {}
    """Of unpaired images, by split and side."""
    bytes: dict[str, int]
    """Size by file name."""
    shown: dict[str, tuple[tuple[int, int], ...]] | None = None
    """By split, (h, w) of each image's part that is no padding; None where images are resized."""
    changed: str | None = None
    """`Source.changed` of the files that were decoded; None in caches of earlier versions."""


@dataclass(frozen=True)
class Source:
    """What a cache is made from."""

    entry: DatasetEntry
    size: tuple[int, int]
    pairs: Pairs | None
    """None if the program draws the pairs."""
    key: str
    changed: str | None
    """Digest of when the files changed: other pixels may have the same size and time."""

    def names(self, split: str, role: str | None = None) -> tuple[str, ...]:
        """The names of a split's pairs in order, or those of one side's images."""
        if self.pairs is not None:
            found = (p for p in self.pairs[split] if role is None or role in dict(p.files))
            return tuple(pair.name_of(role) if role else pair.name for pair in found)
        return tuple(f"{index:04d}" for index in range(procedural.COUNTS[split]))

    def decoded(self, split: str) -> Iterator[DecodedPair]:
        """The pairs of a split in order, at most a few ahead of the consumer."""
        if self.pairs is not None:
            entry, size = self.entry, self.size
            yield from in_threads(lambda pair: read_pair(entry, pair, size), self.pairs[split])
            return
        for index in range(procedural.COUNTS[split]):
            labels, photo = procedural.draw(split, index, self.size[0])
            images = {"labels": paint(labels, self.entry), "photo": photo}
            yield DecodedPair(images, labels, self.size)


def find_source(
    entry: DatasetEntry, data_root: Path, size: tuple[int, int], direction: str | None = None
) -> Source:
    """Lists the files (without opening them) and derives the cache's key."""
    if len(size) != 2 or min(size) < 1:
        raise UserError(f"size: must be height and width, at least 1 (got {size})")
    entry, _ = located(entry, data_root, direction)
    pairs = None
    if entry.layout == "procedural":
        if size[0] != size[1]:
            raise UserError(
                f"size: {entry.name} is drawn in squares only (got {size[0]}×{size[1]})"
            )
        made_from, changed = f"{procedural.VERSION} {procedural.COUNTS}", None
    else:
        pairs = find_pairs(entry, data_root)
        made_from, changed = listing_digests(pairs, entry.location(data_root))
    fields = {"layout", "sides", "colours", "ignore", "splits"}
    # What was added later stays out of the key where it is not used.
    fields |= {"fit"} if entry.fit != "resize" else set()
    fields |= {"unpaired"} if entry.unpaired else set()
    defined = entry.model_dump_json(include=fields)
    where = "" if pairs is None else os.path.abspath(entry.location(data_root))
    text = json.dumps([FORMAT, made_from, defined, list(size), where])
    return Source(entry, size, pairs, hashlib.sha256(text.encode()).hexdigest()[:12], changed)


def folder(source: Source, cache: Path) -> Path:
    """Where the cache of a source lies."""
    height, width = source.size
    return Path(cache) / f"{source.entry.name}-{height}x{width}-{source.key}"


def complete(source: Source, cache: Path) -> CacheMeta | None:
    """The meta data of a whole cache of files that are as they were; None if there is none."""
    place = folder(source, cache)
    try:
        meta = CacheMeta.model_validate_json((place / "meta.json").read_bytes())
        whole = all(os.stat(place / name).st_size == size for name, size in meta.bytes.items())
    except (OSError, ValidationError):
        return None
    return meta if whole and meta.changed in (None, source.changed) else None


def build(source: Source, cache: Path, progress: Progress | None = None) -> CacheMeta:
    """Decodes all pairs into the cache, unless another process has done so meanwhile."""
    return made_whole(
        folder(source, cache),
        lambda: complete(source, cache),
        lambda beside: _write(source, beside, progress),
    )


def _write(source: Source, place: Path, progress: Progress | None) -> CacheMeta:
    """Decodes a source into the files of a new folder, `meta.json` last."""
    entry, (height, width) = source.entry, source.size
    names = {split: source.names(split) for split in SPLITS}
    total = sum(len(found) for found in names.values())
    needed = total * height * width * (3 * len(entry.sides) + (1 if entry.classes else 0))
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{place.parent}: the decoded images need {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free"
        )
    count = itertools.count(1)

    def advance() -> None:
        if progress:
            progress(next(count), total)

    sums: dict[str, str] = {}
    shown: dict[str, tuple[tuple[int, int], ...]] = {}
    for split in SPLITS:
        digests, shown[split] = _write_split(source, split, place, advance)
        sums |= digests
    meta = CacheMeta(
        format=FORMAT,
        name=entry.name,
        size=source.size,
        fingerprint=_fingerprint(names, sums, entry),
        names=names,
        own_names={
            split: {role: source.names(split, role) for role in entry.sides}
            for split in SPLITS
            if entry.unpaired
        },
        bytes={name: os.stat(place / name).st_size for name in sums},
        shown=shown if entry.fit == "pad" else None,
        changed=source.changed,
    )
    write_whole(place / "meta.json", meta.model_dump_json().encode())
    return meta


def _write_split(
    source: Source,
    split: str,
    place: Path,
    advance: Callable[[], None],
) -> tuple[dict[str, str], tuple[tuple[int, int], ...]]:
    """Decodes one split; returns the sha256 of shape and pixels by file name, and each image's
    size without padding.

    Written image by image, because a full disk kills a process that writes to a memory map.
    """
    roles = [*source.entry.sides, *([None] if source.entry.classes else [])]
    with ExitStack() as stack:
        files, sums, shown = {}, {}, []
        for role in roles:
            count = len(source.names(split, role))
            shape = (count, *source.size, *(() if role is None else (3,)))
            files[role] = stack.enter_context(open(place / file_name(split, role), "wb"))
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(files[role], header)
            sums[role] = hashlib.sha256(repr(shape).encode())
        for pair in source.decoded(split):
            shown.append(pair.shown)
            for role in roles:
                if role and role not in pair.images:  # beyond the shorter unpaired side
                    continue
                array = pair.labels if role is None else pair.images[role]
                assert (
                    array is not None and array.dtype == np.uint8 and array.shape[:2] == source.size
                )
                content = np.ascontiguousarray(array).data
                sums[role].update(content)
                files[role].write(content)
            advance()
    for role in roles:
        flush_file(place / file_name(split, role))
    return {file_name(split, role): sums[role].hexdigest() for role in roles}, tuple(shown)


def _fingerprint(
    names: dict[str, tuple[str, ...]], sums: dict[str, str], entry: DatasetEntry
) -> str:
    content = {
        split: {
            "names": list(names[split]),
            "images": {role: sums[file_name(split, role)] for role in entry.sides},
            "labels": sums[file_name(split, None)] if entry.classes else None,
        }
        for split in SPLITS
    }
    text = json.dumps([content, [label.name for label in entry.classes]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
