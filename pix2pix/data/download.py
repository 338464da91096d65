"""Published archives: downloaded, checked against their sha256, pinned, unpacked, verified.

Nobody publishes checksums of the pix2pix archives, and their addresses are plain http. So the
first download's sha256 is printed and pinned in `datasets.lock.json` in the data root; a later
download of other bytes stops. Keep that file under version control, or compare it with a
colleague's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.files import file_sha256, flush_folder, write_whole
from pix2pix.common.yaml_files import first_problem
from pix2pix.data.arrays import in_threads
from pix2pix.data.cache import Progress
from pix2pix.data.fetch import Report, fetch
from pix2pix.data.layouts import SourcePair, find_pairs, passed_over
from pix2pix.data.pairs import check_pair, read_pair
from pix2pix.data.recognise import located
from pix2pix.data.registry import SPLITS, Archive, DatasetEntry

LOCK_FILE = "datasets.lock.json"
LISTED = 10
"""Problems that a verification lists before it stops."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pin(BaseModel):
    """One downloaded archive in `datasets.lock.json`."""

    url: str
    bytes: int
    sha256: Sha256
    """Of the archive."""
    content: Sha256
    """Of the unpacked images (`content_digest`)."""


def download(
    entry: DatasetEntry, data_root: Path, report: Report = print, *, pause: float = 1.0
) -> Path:
    """Downloads and unpacks a data set's archive; returns its folder, also if it existed before.

    An archive NAME.tar.gz in the data root is used in place of a download.
    Raises UserError: no archive is published, a sha256 or size that differs, a dead address, no
    space; OSError: a data root that cannot be written.
    """
    place = entry.location(data_root)
    if entry.layout == "procedural":
        raise UserError(f"{entry.name}: is drawn by the program; there is nothing to download")
    if entry.archive is None:
        raise UserError(
            f"{entry.name}: nobody publishes an archive for {place}; {entry.how_to_get(data_root)}"
        )
    data_root = Path(data_root)
    data_root.mkdir(parents=True, exist_ok=True)
    with FileLock(data_root / f".{entry.name}.download.lock"):
        if place.exists():
            report(f"{place}: exists already; check it with --verify {entry.name}")
        else:
            _obtain(entry, entry.archive, data_root, report, pause)
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
    entry, taken = located(entry, Path(data_root))
    pairs = find_pairs(entry, Path(data_root))
    unique = tuple({pair.files: pair for split in SPLITS for pair in pairs[split]}.values())

    def problem(pair: SourcePair) -> str | None:
        try:
            check_pair(entry, pair)
            read_pair(entry, pair, (16, 16))
        except UserError as error:
            return str(error)
        return None

    files = {path for found in unique for _, path in found.files}
    others = passed_over(entry.location(Path(data_root)), files)
    for text in [f"taken: {taken}"] * bool(taken) + [f"passed over: {others}"] * bool(others):
        report(f"{entry.name}: {text}")
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
    entry, _ = located(entry, Path(data_root))
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
    entry: DatasetEntry, published: Archive, data_root: Path, report: Report, pause: float
) -> None:
    place, archive = entry.location(data_root), data_root / f"{entry.name}.tar.gz"
    pin = read_pins(data_root).get(entry.name)
    provided = archive.exists()
    if provided:
        report(f"{archive}: used in place of a download")
    else:
        report(f"downloading {published.url}")
        fetch(published.url, archive, report, size=published.bytes, pause=pause)
    sha256 = file_sha256(archive)
    report(f"{archive.name}: {archive.stat().st_size:,} bytes, sha256 {sha256}")
    try:
        for expected, source in (
            (published.sha256, "the registry"),
            (pin and pin.sha256, data_root / LOCK_FILE),
        ):
            if expected and expected != sha256:
                raise UserError(
                    f"{entry.name}: the archive has sha256 {sha256}, but {source} expects "
                    f"{expected}: other bytes than before; nothing was unpacked"
                )
        report(f"unpacking to {place}")
        unpack(archive, place, keep=tuple(entry.splits.model_dump().values()))
        content = content_digest(entry, data_root)
    except UserError:
        shutil.rmtree(place, ignore_errors=True)
        if not provided:
            archive.unlink()
        raise
    if not pin:
        new = Pin(url=published.url, bytes=archive.stat().st_size, sha256=sha256, content=content)
        _pin(entry.name, new, data_root)
        report(f"{archive.name}: pinned in {data_root / LOCK_FILE}")
    if not provided:
        archive.unlink()


def _pin(name: str, pin: Pin, data_root: Path) -> None:
    with FileLock(data_root / f".{LOCK_FILE}.lock"):
        pins = {**read_pins(data_root), name: pin}
        fields = {name: pin.model_dump() for name, pin in pins.items()}
        text = json.dumps(fields, indent=2, sort_keys=True) + "\n"
        write_whole(data_root / LOCK_FILE, text.encode())


def unpack(archive: Path, place: Path, keep: tuple[str, ...] = ()) -> None:
    """Unpacks a tar archive, compressed or not, to the new folder `place`.

    The single folder that an archive usually holds becomes `place` itself, unless `keep` names it.
    Raises UserError, leaving nothing behind, for a damaged archive, absolute paths, `..`, links,
    devices, and a disk that cannot hold it.
    """
    beside = place.with_name(f".{place.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        room = shutil.disk_usage(beside).free
        with tarfile.open(archive) as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()) or member.name.startswith("/"):
                    raise UserError(
                        f"{archive}: {member.name[:100]!r} is a link, a special file or an "
                        "absolute path; nothing was unpacked"
                    )
                room -= member.size
                if room < 0:
                    raise UserError(f"{archive}: needs more space than is free on the disk")
                tar.extract(member, beside, set_attrs=False, filter="data")
        inside = list(beside.iterdir())
        whole = len(inside) != 1 or not inside[0].is_dir() or inside[0].name in keep
        os.sync()  # on the disk before it has its name
        os.replace(beside if whole else inside[0], place)
        flush_folder(place.parent)
    except UserError:
        raise
    except Exception as error:  # tarfile and the decompressors, on damaged bytes
        if isinstance(error, OSError) and error.errno:  # gzip's errors have no number
            raise UserError(f"{archive}: cannot be unpacked to {place}: {error.strerror}") from None
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{archive}: is damaged or not a safe tar archive: {reason}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
