"""Published archives: downloaded, checked against their sha256, pinned, unpacked.

Nobody publishes checksums of the pix2pix archives, and their addresses are plain http. So the
first download's sha256 is printed and pinned in `datasets.lock.json` in the data root; a later
download of other bytes stops. Keep that file under version control, or compare it with a
colleague's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from pix2pix.common.errors import UserError
from pix2pix.common.files import read_json, replacing
from pix2pix.data.cache import Progress, in_threads
from pix2pix.data.decode import check_pair, read_pair
from pix2pix.data.fetch import Report, fetch
from pix2pix.data.layouts import find_pairs
from pix2pix.data.registry import SPLITS, DatasetEntry
from pix2pix.data.unpack import unpack

LOCK_FILE = "datasets.lock.json"
PINNED = ("sha256", "content")
"""The sums that every pin holds: of the archive, and of the files that were unpacked."""
LISTED = 10
"""Problems that a verification lists before it stops."""


def download(
    entry: DatasetEntry, data_root: Path, report: Report = print, *, pause: float = 1.0
) -> Path:
    """Downloads and unpacks a data set's archive; its folder, also where it was there already.

    An archive NAME.tar.gz that lies in the data root already is used in place of a download.
    Raises UserError: no archive is published, a sha256 or size that differs, a dead address, no
    space, a data root that cannot be written.
    """
    place = entry.location(data_root)
    if entry.layout == "procedural":
        raise UserError(f"{entry.name}: is drawn by the program; there is nothing to download")
    if entry.archive is None:
        raise UserError(
            f"{entry.name}: nobody publishes an archive for {place}; {entry.how_to_get(data_root)}"
        )
    data_root = Path(data_root)
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with FileLock(data_root / f".{entry.name}.download.lock"):
            if place.exists():
                if (data_root / f"{entry.name}.tar.gz").exists():
                    _pin_late(entry, data_root, report)
                report(f"{place}: is there already; check it with --verify {entry.name}")
                return place
            _obtain(entry, data_root, place, report, pause)
    except OSError as error:
        raise UserError(f"{data_root}: cannot be written: {error.strerror or error}") from None
    return place


def verify(
    entry: DatasetEntry, data_root: Path, report: Report = print, progress: Progress | None = None
) -> None:
    """Decodes every image of a data set and compares their bytes with what was pinned.

    Raises UserError that lists the first problems.
    """
    if entry.layout == "procedural":
        report(f"{entry.name}: drawn by the program; nothing to verify")
        return
    pairs = find_pairs(entry, Path(data_root))
    unique = tuple({pair.files: pair for split in SPLITS for pair in pairs[split]}.values())

    def problem(pair: Any) -> str | None:
        try:
            check_pair(entry, pair)
            read_pair(entry, pair, (16, 16))
        except UserError as error:
            return str(error)
        return None

    problems = []
    for done, found in enumerate(in_threads(problem, unique), 1):
        problems += [found] if found else []
        if progress:
            progress(done, len(unique))
    if problems:
        more = [f"… and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise UserError("\n".join([*problems[:LISTED], *more]))
    counts = ", ".join(f"{len(pairs[split])} {split}" for split in SPLITS)
    content = content_digest(entry, data_root)
    report(f"{entry.name}: every image can be read ({counts}); sha256 of the files: {content}")
    pinned = read_pins(Path(data_root)).get(entry.name, {}).get("content")
    if pinned and pinned != content:
        raise UserError(
            f"{entry.location(data_root)}: the files are not those that were unpacked: sha256 "
            f"{content}, pinned {pinned} in {Path(data_root) / LOCK_FILE}; delete the folder and "
            "download it again"
        )
    report(f"{entry.name}: " + ("as pinned" if pinned else "not pinned (it was not downloaded)"))


def content_digest(entry: DatasetEntry, data_root: Path) -> str:
    """sha256 over the names (below the data set's folder) and bytes of all image files."""
    root = entry.location(data_root)
    pairs = find_pairs(entry, Path(data_root))
    paths = {path for split in SPLITS for pair in pairs[split] for _, path in pair.files}
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.removeprefix(str(root))}\0{file_digest(Path(path))}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_pins(data_root: Path) -> dict[str, dict[str, Any]]:
    """What `datasets.lock.json` in the data root pins, by the data set's name."""
    path = data_root / LOCK_FILE
    try:
        pins = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(pins, dict) or not all(isinstance(one, dict) for one in pins.values()):
        raise UserError(f"{path}: must hold one object for each data set")
    for name, pin in pins.items():
        for field in PINNED:
            if not re.fullmatch("[0-9a-f]{64}", str(pin.get(field, ""))):
                raise UserError(f"{path}: {name[:64]}.{field}: must be 64 hexadecimal digits")
    return pins


def _obtain(
    entry: DatasetEntry, data_root: Path, place: Path, report: Report, pause: float
) -> None:
    assert entry.archive is not None
    archive = data_root / f"{entry.name}.tar.gz"
    pinned = read_pins(data_root).get(entry.name, {})
    brought = archive.exists()
    if brought:
        report(f"{archive}: used in place of a download")
    else:
        report(f"downloading {entry.archive.url}")
        if entry.archive.url.startswith("http:") and not entry.archive.sha256:
            how = "compared with the pinned sha256" if pinned else "pinned by its sha256"
            report(f"plain http, so it may be changed on its way: it is {how}")
        fetch(entry.archive.url, archive, report, size=entry.archive.bytes, pause=pause)
    size, sha256 = archive.stat().st_size, file_digest(archive)
    report(f"{archive.name}: {size:,} bytes, sha256 {sha256}")
    try:
        _compare(entry, data_root, sha256, pinned)
        report(f"unpacking to {place}")
        files = unpack(archive, place, keep=tuple(entry.splits.model_dump().values()))
        find_pairs(entry, data_root)
    except UserError:
        shutil.rmtree(place, ignore_errors=True)
        if not brought:
            archive.unlink()
        raise
    if not pinned:
        _pin(entry, data_root, {"bytes": size, "sha256": sha256, "files": files})
        report(f"pinned in {data_root / LOCK_FILE}")
    if not brought:
        archive.unlink()


def _pin_late(entry: DatasetEntry, data_root: Path, report: Report) -> None:
    """Pin what was unpacked by a download that was ended before its pin: the archive, which is
    deleted after that, is still there."""
    assert entry.archive is not None
    if entry.name in read_pins(data_root):
        return
    archive, place = data_root / f"{entry.name}.tar.gz", entry.location(data_root)
    size, sha256 = archive.stat().st_size, file_digest(archive)
    if entry.archive.sha256 not in (None, sha256):
        return  # another archive than the one that was published
    files = sum(one.is_file() for one in place.rglob("*"))
    _pin(entry, data_root, {"bytes": size, "sha256": sha256, "files": files})
    report(f"{archive.name}: sha256 {sha256}, pinned in {data_root / LOCK_FILE}; may be deleted")


def _compare(entry: DatasetEntry, data_root: Path, sha256: str, pinned: dict[str, Any]) -> None:
    assert entry.archive is not None
    for expected, where in (
        (entry.archive.sha256, "in the registry"),
        (pinned.get("sha256"), f"pinned in {data_root / LOCK_FILE}"),
    ):
        if expected and expected != sha256:
            raise UserError(
                f"{entry.name}: the archive has sha256 {sha256}, {expected} is {where}: "
                "other bytes than before; nothing was unpacked"
            )


def _pin(entry: DatasetEntry, data_root: Path, facts: dict[str, Any]) -> None:
    assert entry.archive is not None
    with FileLock(data_root / f".{LOCK_FILE}.lock"):
        pins = read_pins(data_root)
        pins[entry.name] = {
            "url": entry.archive.url,
            **facts,
            "content": content_digest(entry, data_root),
            "pinned": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with replacing(data_root / LOCK_FILE) as file:
            file.write(json.dumps(pins, indent=2, sort_keys=True).encode() + b"\n")
