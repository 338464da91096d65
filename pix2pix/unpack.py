"""Archives unpacked without trusting them."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from pix2pix.errors import UserError

MAX_FILES = 500_000
MAX_BYTES = 100_000_000_000
"""Unpacked; the largest published archive stays far below both."""


def unpack(archive: Path, place: Path, keep: tuple[str, ...] = ()) -> int:
    """Unpacks a tar archive (.tar, .tar.gz, …) to the new folder `place`; returns its files.

    The one folder that an archive usually holds becomes `place` itself, unless `keep` names it.
    Raises UserError, leaving nothing behind, for a damaged archive, absolute paths, `..`, links,
    devices, more than MAX_FILES files or MAX_BYTES, and a full disk.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("Python 3.11.4 or newer is needed to unpack archives safely")
    beside = place.with_name(f".{place.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            files = _check(tar, archive, shutil.disk_usage(place.parent).free)
            beside.mkdir()
            for member in tar.getmembers():
                tar.extract(member, beside, filter="data")
        inside = list(beside.iterdir())
        whole = len(inside) != 1 or not inside[0].is_dir() or inside[0].name in keep
        os.replace(beside if whole else inside[0], place)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{archive}: is damaged or not a tar archive: {error}") from None
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 report damage so
            raise UserError(f"{archive}: is damaged: {error}") from None
        raise UserError(f"{archive}: cannot be unpacked to {place}: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return files


def _check(tar: tarfile.TarFile, archive: Path, free: int) -> int:
    """Looks at every member before the first is written; the number of files."""
    files = total = 0
    seen: set[str] = set()
    for member in tar:
        path = PurePosixPath(member.name)
        name = str(path)
        if path.is_absolute() or ".." in path.parts or "\\" in name or name in ("", "."):
            if name == "." and member.isdir():
                continue
            raise UserError(f"{archive}: the member {member.name!r} leads outside; not unpacked")
        if not (member.isreg() or member.isdir()) or member.issparse():
            kind = "link" if member.issym() or member.islnk() else "special file"
            raise UserError(f"{archive}: the member {member.name!r} is a {kind}; not unpacked")
        if member.isdir():
            continue
        if name in seen:
            raise UserError(f"{archive}: the member {member.name!r} stands twice; not unpacked")
        seen.add(name)
        files += 1
        total += member.size
        # Checked at each header, before its content is read: a bomb is not inflated.
        if files > MAX_FILES or total > MAX_BYTES:
            raise UserError(
                f"{archive}: holds more than {MAX_FILES:,} files or {MAX_BYTES / 1e9:.0f} GB; "
                "not unpacked"
            )
        if total > free:
            raise UserError(f"{archive}: needs more than the {free / 1e9:.2f} GB that are free")
    if not files:
        raise UserError(f"{archive}: holds no files")
    return files
