"""Decoded pairs as uint8 arrays: made once, kept in a cache, opened in a moment.

The cache of a data set at one size is a folder `<cache>/NAME-HxW-KEY` with one .npy for each split
and role, and `meta.json` (pix2pix/data/pair_cache.py). KEY changes when a file or the entry's
definition does. Nothing here imports torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix.common.errors import UserError
from pix2pix.data import pair_cache
from pix2pix.data.decode import check_pair
from pix2pix.data.layouts import find_pairs
from pix2pix.data.pair_cache import Progress
from pix2pix.data.registry import DatasetEntry

MAX_HEADERS = 4000
"""Pairs whose files are opened by `check_source`; the rest is checked while decoding."""


@dataclass(frozen=True)
class Split:
    inputs: np.ndarray
    """(N, H, W, 3) uint8."""
    targets: np.ndarray
    """(N, H, W, 3) uint8."""
    labels: np.ndarray | None
    """(N, H, W) uint8 class positions, 255 ignored; None where the set has no classes."""
    names: tuple[str, ...]
    """Unique in the split, safe as file names."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PairedData:
    train: Split
    val: Split
    test: Split
    fingerprint: str
    """sha256 over decoded pixels, names and class names; not over paths, times, or direction."""
    class_names: tuple[str, ...]
    palette: np.ndarray | None
    """(C, 3) uint8 colours by class position; None where the set has no classes."""


def prepare(
    entry: DatasetEntry,
    data_root: Path,
    size: tuple[int, int],
    direction: str | None,
    cache: Path,
    *,
    in_memory: bool | None = None,
    progress: Progress | None = None,
) -> PairedData:
    """The three splits at exactly `size` (H, W), decoded into `cache` on the first call.

    Several processes may call this at once: one decodes, the others wait. `in_memory` None reads
    the arrays into memory where they take less than half of what is available, and maps them
    otherwise. `progress(done, total)` is called while decoding.
    Raises UserError for missing, unmatched or unreadable images, a full disk, a read-only cache.
    """
    roles = entry.roles(direction)
    source = pair_cache.find_source(entry, Path(data_root), size)
    meta = pair_cache.complete(source, cache) or pair_cache.build(source, cache, progress)
    files = _files(meta, roles)
    if in_memory is None:
        in_memory = sum(meta["bytes"][file] for file in files) < available_memory() / 2
    folder = pair_cache.folder(source, cache)
    shapes = _shapes(meta)
    arrays = {file: _open(folder / file, in_memory, shapes[file]) for file in files}
    colours = [one.colour for one in entry.classes]
    return PairedData(
        **{split: _split(meta["splits"][split], arrays, roles) for split in meta["splits"]},
        fingerprint=meta["fingerprint"],
        class_names=tuple(one.name for one in entry.classes),
        palette=np.array(colours, np.uint8) if colours else None,
    )


def cached_fingerprint(
    entry: DatasetEntry, data_root: Path, size: tuple[int, int], cache: Path
) -> str | None:
    """The fingerprint where the cache for exactly these files exists; None otherwise."""
    meta = _cached(entry, data_root, size, cache)
    return meta and meta["fingerprint"]


def cached_counts(
    entry: DatasetEntry, data_root: Path, size: tuple[int, int], cache: Path
) -> dict[str, int] | None:
    """Pairs by split where the cache for exactly these files exists; None otherwise."""
    meta = _cached(entry, data_root, size, cache)
    return meta and {split: len(one["names"]) for split, one in meta["splits"].items()}


def check_source(entry: DatasetEntry, data_root: Path, direction: str | None = None) -> None:
    """Everything that can be said without decoding: folders, names, kinds and sizes of images.

    Raises UserError. `prepare` finds the rest: damaged files, indices and colours of no class.
    """
    entry.roles(direction)
    if entry.layout == "procedural":
        return
    seen = set()
    pairs = find_pairs(entry, Path(data_root))
    for pair in (pair for split in ("test", "val", "train") for pair in pairs[split]):
        if pair.files not in seen and len(seen) < MAX_HEADERS:
            seen.add(pair.files)
            check_pair(entry, pair)


def available_memory() -> int:
    """Bytes that can be taken without swapping, within the limit of a container."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        free = min(free, int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return max(free, 0)


def _cached(
    entry: DatasetEntry, data_root: Path, size: tuple[int, int], cache: Path
) -> dict[str, Any] | None:
    try:
        return pair_cache.complete(pair_cache.find_source(entry, Path(data_root), size), cache)
    except UserError:
        return None  # `check_source` says what is wrong with the images


def _files(meta: dict[str, Any], roles: tuple[str, str]) -> set[str]:
    files = set()
    for split in meta["splits"].values():
        files.update(split["arrays"][role] for role in roles)
        if split["labels"]:
            files.add(split["labels"])
    return files


def _shapes(meta: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape that each file of a cache must have."""
    height, width = meta["size"]
    shapes: dict[str, tuple[int, ...]] = {}
    for split in meta["splits"].values():
        for file in split["arrays"].values():
            shapes[file] = (len(split["names"]), height, width, 3)
        if split["labels"]:
            shapes[split["labels"]] = (len(split["names"]), height, width)
    return shapes


def _open(path: Path, in_memory: bool, shape: tuple[int, ...]) -> np.ndarray:
    try:
        # Mapped first: a header that lies is seen before anything is allocated.
        array = np.lib.format.open_memmap(path, mode="r")
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(f"holds {array.shape} {array.dtype}, not {shape} uint8")
        return np.array(array) if in_memory else array
    except OSError as error:
        reason = error.strerror or error
    except Exception as error:  # numpy parses the header as a Python literal
        reason = " ".join(str(error).split())[:200]
    raise UserError(f"{path}: cannot be read ({reason}); delete {path.parent}")


def _split(meta: dict[str, Any], arrays: dict[str, np.ndarray], roles: tuple[str, str]) -> Split:
    return Split(
        inputs=arrays[meta["arrays"][roles[0]]],
        targets=arrays[meta["arrays"][roles[1]]],
        labels=arrays[meta["labels"]] if meta["labels"] else None,
        names=tuple(meta["names"]),
    )
