"""Published archives: downloaded, checked against their sha256, pinned, unpacked, verified.

Nobody publishes checksums of the pix2pix archives, and their addresses are plain http. So the
first download's sha256 is printed and pinned in `datasets.lock.json` in the data root; a later
download of other bytes stops. Keep that file under version control, or compare it with a
colleague's.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

from filelock import FileLock
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.files import file_sha256, flush_file, flush_folder, replacing
from pix2pix.common.yaml_files import first_problem
from pix2pix.data.cache import Progress, in_threads
from pix2pix.data.decode import check_pair, read_pair
from pix2pix.data.fetch import Report, fetch
from pix2pix.data.layouts import SourcePair, find_pairs
from pix2pix.data.registry import SPLITS, DatasetEntry

LOCK_FILE = "datasets.lock.json"
LISTED = 10
"""Problems that a verification lists before it stops."""
MAX_RATIO = 100
"""Unpacked to packed bytes; images are compressed already, so honest archives grow little."""
FREE_GROWTH = 10_000_000
"""Bytes that may be unpacked whatever the ratio."""
MAX_PARTS = 32
"""Folders in a member's name."""

DAMAGE = (
    *(tarfile.TarError, zlib.error, OSError, EOFError),
    *(ValueError, LookupError, ArithmeticError, RecursionError),
)
"""What tarfile and the decompressors raise on damaged bytes."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pin(BaseModel):
    """One downloaded archive in `datasets.lock.json`."""

    url: str
    bytes: int
    sha256: Sha256
    """Of the archive."""
    files: int
    content: Sha256
    """Of the unpacked images (`content_digest`)."""
    pinned: str
    """When, in UTC."""


def download(
    entry: DatasetEntry, data_root: Path, report: Report = print, *, pause: float = 1.0
) -> Path:
    """Downloads and unpacks a data set's archive; returns its folder, also if it existed before.

    An archive NAME.tar.gz in the data root is used in place of a download.
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
                archive = data_root / f"{entry.name}.tar.gz"
                # An archive without a pin: the download ended after unpacking, before the pin.
                if archive.exists() and entry.name not in read_pins(data_root):
                    _pin(entry, data_root, archive, report)
                report(f"{place}: exists already; check it with --verify {entry.name}")
                return place
            _obtain(entry, data_root, place, report, pause)
    except OSError as error:
        raise UserError(f"{data_root}: cannot be written: {error.strerror or error}") from None
    return place


def verify(
    entry: DatasetEntry, data_root: Path, report: Report = print, progress: Progress | None = None
) -> None:
    """Decodes every image of a data set and compares their bytes with the pin.

    Raises UserError that lists the first problems.
    """
    if entry.layout == "procedural":
        report(f"{entry.name}: drawn by the program; nothing to verify")
        return
    pairs = find_pairs(entry, Path(data_root))
    unique = tuple({pair.files: pair for split in SPLITS for pair in pairs[split]}.values())

    def problem(pair: SourcePair) -> str | None:
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
    pin = read_pins(Path(data_root)).get(entry.name)
    if pin and pin.content != content:
        raise UserError(
            f"{entry.location(data_root)}: the files differ from the unpacked archive: sha256 "
            f"{content}, pinned {pin.content} in {Path(data_root) / LOCK_FILE}; delete the folder "
            "and download it again"
        )
    report(f"{entry.name}: " + ("as pinned" if pin else "not pinned (it was not downloaded)"))


def content_digest(entry: DatasetEntry, data_root: Path) -> str:
    """sha256 over the names (below the data set's folder) and bytes of all image files."""
    root = entry.location(data_root)
    pairs = find_pairs(entry, Path(data_root))
    paths = {path for split in SPLITS for pair in pairs[split] for _, path in pair.files}
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.removeprefix(str(root))}\0{file_sha256(Path(path))}\n".encode())
    return digest.hexdigest()


def read_pins(data_root: Path) -> dict[str, Pin]:
    """The pins in `datasets.lock.json` of the data root, by data set."""
    path = data_root / LOCK_FILE
    try:
        return TypeAdapter(dict[str, Pin]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None


def _obtain(
    entry: DatasetEntry, data_root: Path, place: Path, report: Report, pause: float
) -> None:
    assert entry.archive is not None
    archive = data_root / f"{entry.name}.tar.gz"
    pin = read_pins(data_root).get(entry.name)
    provided = archive.exists()
    if provided:
        report(f"{archive}: used in place of a download")
    else:
        report(f"downloading {entry.archive.url}")
        if entry.archive.url.startswith("http:") and not entry.archive.sha256:
            how = "compared with the pinned sha256" if pin else "pinned by its sha256"
            report(f"plain http can be altered on its way; the archive is {how}")
        fetch(entry.archive.url, archive, report, size=entry.archive.bytes, pause=pause)
    sha256 = file_sha256(archive)
    report(f"{archive.name}: {archive.stat().st_size:,} bytes, sha256 {sha256}")
    try:
        for expected, source in (
            (entry.archive.sha256, "the registry"),
            (pin and pin.sha256, data_root / LOCK_FILE),
        ):
            if expected and expected != sha256:
                raise UserError(
                    f"{entry.name}: the archive has sha256 {sha256}, but {source} expects "
                    f"{expected}: other bytes than before; nothing was unpacked"
                )
        report(f"unpacking to {place}")
        unpack(archive, place, keep=tuple(entry.splits.model_dump().values()))
        find_pairs(entry, data_root)
    except UserError:
        shutil.rmtree(place, ignore_errors=True)
        if not provided:
            archive.unlink()
        raise
    if not pin:
        _pin(entry, data_root, archive, report)
    if not provided:
        archive.unlink()


def _pin(entry: DatasetEntry, data_root: Path, archive: Path, report: Report) -> None:
    """Pins an archive and the folder that was unpacked from it."""
    assert entry.archive is not None
    sha256 = file_sha256(archive)
    if entry.archive.sha256 not in (None, sha256):
        return  # not the published archive
    with FileLock(data_root / f".{LOCK_FILE}.lock"):
        pins = read_pins(data_root)
        pins[entry.name] = Pin(
            url=entry.archive.url,
            bytes=archive.stat().st_size,
            sha256=sha256,
            files=sum(path.is_file() for path in entry.location(data_root).rglob("*")),
            content=content_digest(entry, data_root),
            pinned=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        fields = {name: pin.model_dump() for name, pin in pins.items()}
        with replacing(data_root / LOCK_FILE) as file:
            file.write(json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n")
    report(f"{archive.name}: sha256 {sha256}, pinned in {data_root / LOCK_FILE}")


def unpack(archive: Path, place: Path, keep: tuple[str, ...] = ()) -> int:
    """Unpacks a .tar, .tar.gz or .tar.bz2 to the new folder `place`; returns its files.

    The single folder that an archive usually holds becomes `place` itself, unless `keep` names it.
    Raises UserError, leaving nothing behind, for a damaged archive, absolute paths, `..`, links,
    devices, more than MAX_RATIO times its own size, and a disk that cannot hold it.
    """
    beside = place.with_name(f".{place.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        with _opener(archive)(archive, "rb") as packed:
            content = _Bounded(packed, archive, shutil.disk_usage(beside).free)
            with tarfile.open(fileobj=content, mode="r|") as tar:
                files = _extract(tar, archive, beside)
        inside = list(beside.iterdir())
        whole = len(inside) != 1 or not inside[0].is_dir() or inside[0].name in keep
        source = beside if whole else inside[0]
        for folder, _, names in os.walk(source):  # on the disk before it has its name
            for name in names:
                flush_file(Path(folder, name))
            flush_folder(Path(folder))
        os.replace(source, place)
        flush_folder(place.parent)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # gzip's errors have no number
            raise UserError(f"{archive}: cannot be unpacked to {place}: {error.strerror}") from None
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{archive}: is damaged or not a tar archive: {reason}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return files


def _opener(archive: Path) -> Callable[[Path, str], Any]:
    """How to open an archive for its tar stream.

    tarfile itself would also open xz, which may ask for 4 GiB of memory at its first byte.
    """
    with open(archive, "rb") as file:
        magic = file.read(3)
    return gzip.open if magic[:2] == b"\x1f\x8b" else bz2.open if magic == b"BZh" else open


class _Bounded(io.BufferedIOBase):
    """The tar stream of an archive; UserError when it grows too much or the disk is too small."""

    def __init__(self, file: IO[bytes], archive: Path, free: int) -> None:
        self._file, self._archive, self._free = file, archive, free
        self._most = FREE_GROWTH + MAX_RATIO * archive.stat().st_size
        self._length = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(-1 if size is None else size)
        self._length += len(data)
        if self._length > self._most:
            raise UserError(
                f"{self._archive}: grows to more than {MAX_RATIO} times its size; not unpacked"
            )
        if self._length > self._free:
            raise UserError(
                f"{self._archive}: needs more than the {self._free / 1e9:.2f} GB that are free"
            )
        return data


def _extract(tar: tarfile.TarFile, archive: Path, place: Path) -> int:
    """Writes every member below `place`; returns the number of files."""
    files: set[PurePosixPath] = set()
    for member in tar:
        path = PurePosixPath(member.name)
        problem = None
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            problem = "leads outside"
        elif not (member.isreg() or member.isdir()) or member.issparse():
            problem = "is a link" if member.issym() or member.islnk() else "is a special file"
        elif len(path.parts) > MAX_PARTS:
            problem = "lies too deep"
        elif path in files:
            problem = "stands twice"
        if problem:
            raise UserError(
                f"{archive}: the member {member.name[:100]!r} {problem}; nothing was unpacked"
            )
        tar.extract(member, place, set_attrs=False, filter="data")
        if member.isreg():
            files.add(path)
    if not files:
        raise UserError(f"{archive}: holds no files")
    return len(files)
