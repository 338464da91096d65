"""The cache of decoded pairs on the disk: built whole beside its place, then renamed.

    <cache>/NAME-HxW-KEY/
        train-photo.npy …    (N, H, W, 3) uint8, one for each split and role
        classes-train.npy …  (N, H, W) uint8 class positions, 255 ignored
        meta.json            fingerprint, names, file sizes, and what it was made from

Splits of the same files (val and test of CamVid) share one set of arrays.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_folder, read_json
from pix2pix.common.locks import owning
from pix2pix.data.cache_record import FORMAT, CacheRecord
from pix2pix.data.decode import DecodedPair, paint, read_pair
from pix2pix.data.layouts import Pairs, find_pairs, listing_digest
from pix2pix.data.registry import SPLITS, DatasetEntry

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """What a cache is made from."""

    entry: DatasetEntry
    size: tuple[int, int]
    pairs: Pairs | None
    """None where the program draws the pairs."""
    key: str

    def names(self, split: str) -> tuple[str, ...]:
        if self.pairs is not None:
            return tuple(pair.name for pair in self.pairs[split])
        from pix2pix.data import procedural

        return tuple(f"{index:04d}" for index in range(procedural.COUNTS[split]))

    def decoded(self, split: str) -> Iterator[DecodedPair]:
        """The pairs of a split in order, at most a few ahead of the consumer."""
        if self.pairs is not None:
            entry, size = self.entry, self.size
            yield from in_threads(lambda pair: read_pair(entry, pair, size), self.pairs[split])
            return
        from pix2pix.data import procedural

        for index in range(procedural.COUNTS[split]):
            labels, photo = procedural.draw(split, index, self.size[0])
            yield DecodedPair({"labels": paint(labels, self.entry), "photo": photo}, labels)

    def sharing(self) -> dict[str, str]:
        """By split, the first split that has the same files (itself in general)."""
        if self.pairs is None:
            return {split: split for split in SPLITS}
        return {
            split: next(other for other in SPLITS if self.pairs[other] == self.pairs[split])
            for split in SPLITS
        }


def find_source(entry: DatasetEntry, data_root: Path, size: tuple[int, int]) -> Source:
    """Lists the files (without opening them) and derives the cache's key."""
    if len(size) != 2 or min(size) < 1:
        raise UserError(f"size: must be height and width, at least 1 (got {size})")
    pairs = None
    if entry.layout == "procedural":
        from pix2pix.data import procedural

        if size[0] != size[1]:
            raise UserError(
                f"size: {entry.name} is drawn in squares only (got {size[0]}×{size[1]})"
            )
        made_from = f"{procedural.VERSION} {procedural.COUNTS}"
    else:
        pairs = find_pairs(entry, data_root)
        made_from = listing_digest(pairs, entry.location(data_root))
    defined = entry.model_dump_json(include={"layout", "sides", "colours", "ignore", "splits"})
    where = "" if pairs is None else os.path.abspath(entry.location(data_root))
    text = json.dumps([FORMAT, made_from, defined, list(size), where])
    return Source(entry, size, pairs, hashlib.sha256(text.encode()).hexdigest()[:12])


def folder(source: Source, cache: Path) -> Path:
    height, width = source.size
    return Path(cache) / f"{source.entry.name}-{height}x{width}-{source.key}"


def complete(source: Source, cache: Path) -> dict[str, Any] | None:
    """The meta data of a cache that is whole; None where there is none."""
    place = folder(source, cache)
    try:
        meta = CacheRecord.model_validate(read_json(place / "meta.json"))
        whole = all(os.stat(place / name).st_size == size for name, size in meta.bytes.items())
    except (OSError, ValueError):
        return None
    fits = meta.name == source.entry.name and meta.size == list(source.size)
    fits &= all(set(one.arrays) == set(source.entry.sides) for one in meta.splits.values())
    fits &= all(bool(one.labels) == bool(source.entry.classes) for one in meta.splits.values())
    return meta.model_dump() if whole and fits else None


def build(source: Source, cache: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Decodes all pairs into the cache, unless another process has done so meanwhile."""
    place = folder(source, cache)
    beside = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with owning(place.with_name(f".{place.name}.lock")):
            meta = complete(source, cache)
            if meta is None:
                # Holding the lock, whatever lies there was left by a process that died.
                shutil.rmtree(beside, ignore_errors=True)
                shutil.rmtree(place, ignore_errors=True)
                try:
                    beside.mkdir()
                    meta = _write(source, beside, progress)
                    flush_folder(beside)
                    os.replace(beside, place)
                    flush_folder(place.parent)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise UserError(f"{cache}: the decoded images cannot be written: {reason}") from None
    return meta


def _write(source: Source, place: Path, progress: Progress | None) -> dict[str, Any]:
    entry, (height, width) = source.entry, source.size
    sharing = source.sharing()
    counts = {split: len(source.names(split)) for split in SPLITS if sharing[split] == split}
    total = sum(counts.values())
    channels = 3 * len(entry.sides) + (1 if entry.classes else 0)
    _check_space(place, total * height * width * channels)
    written: dict[str, dict[str, Any]] = {}
    sums: dict[str, str] = {}
    done = 0
    for split, count in counts.items():
        with ExitStack() as files:
            arrays = {
                role: files.enter_context(
                    _ArrayFile(place / f"{split}-{role}.npy", (count, height, width, 3))
                )
                for role in entry.sides
            }
            labels = None
            if entry.classes:
                path = place / f"classes-{split}.npy"
                labels = files.enter_context(_ArrayFile(path, (count, height, width)))
            for pair in source.decoded(split):
                for role, image in pair.images.items():
                    arrays[role].append(image)
                if labels is not None:
                    labels.append(pair.labels)
                done += 1
                if progress:
                    progress(done, total)
        every = [*arrays.values(), *([labels] if labels else [])]
        sums.update({array.path.name: array.sha256 for array in every})
        written[split] = {
            "arrays": {role: array.path.name for role, array in arrays.items()},
            "labels": labels.path.name if labels else None,
        }
    splits = {s: {**written[sharing[s]], "names": source.names(s)} for s in SPLITS}
    meta = {
        "format": FORMAT,
        "name": entry.name,
        "size": [height, width],
        "fingerprint": _fingerprint(splits, sums, entry),
        "splits": splits,
        "bytes": {name: os.stat(place / name).st_size for name in sums},
        "sha256": sums,
    }
    with open(place / "meta.json", "w", encoding="utf-8") as file:
        json.dump(meta, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    return json.loads(json.dumps(meta))


def _fingerprint(splits: dict[str, Any], sums: dict[str, str], entry: DatasetEntry) -> str:
    content = {
        split: {
            "names": list(one["names"]),
            "images": {role: sums[file] for role, file in sorted(one["arrays"].items())},
            "labels": one["labels"] and sums[one["labels"]],
        }
        for split, one in splits.items()
    }
    text = json.dumps([content, [one.name for one in entry.classes]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _ArrayFile:
    """A .npy written image by image: a full disk is an error here, in a memory map it kills."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path = path
        self._shape = shape
        self._sum = hashlib.sha256(repr(shape).encode())
        self._file: IO[bytes]

    def __enter__(self) -> _ArrayFile:
        self._file = open(self.path, "wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def append(self, image: np.ndarray | None) -> None:
        assert image is not None and image.dtype == np.uint8 and image.shape == self._shape[1:]
        content = np.ascontiguousarray(image).data
        self._sum.update(content)
        self._file.write(content)

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()


def in_threads(function: Callable[[Any], Any], items: tuple[Any, ...]) -> Iterator[Any]:
    """`map` in threads (decoding leaves Python's lock), a bounded number of results ahead."""
    workers = min(os.cpu_count() or 1, 16)
    remaining = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(function, item) for item in islice(remaining, 4 * workers)]
        try:
            while pending:
                yield pending.pop(0).result()
                pending += [pool.submit(function, item) for item in islice(remaining, 1)]
        finally:
            for future in pending:
                future.cancel()


def _check_space(place: Path, needed: int) -> None:
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{place.parent}: the decoded images need {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free"
        )
