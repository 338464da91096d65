"""Archives unpacked without trusting them."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_file, flush_folder

MAX_MEMBERS = 500_000
MAX_BYTES = 100_000_000_000
"""Unpacked; the largest published archive stays far below both."""
MAX_RATIO = 100
"""Unpacked to packed; images are compressed already, so that honest archives grow little."""
FREE_GROWTH = 10_000_000
"""Bytes that may be unpacked whatever the ratio."""
MAX_PARTS = 32
"""Folders in a member's name."""
MAX_HEADER = 1 << 20
"""Bytes of the long names and extended headers that are read into memory."""
BLOCK = 4096
"""What the smallest file takes on a disk."""


class _Refused(tarfile.TarError):
    """What is wrong with an archive, without its name."""


class _Member(tarfile.TarInfo):
    """A header whose own extent is bounded: tarfile reads long names and pax headers whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _Refused(f"the member {_short(self.name)} is a special file; not unpacked")
        plain = (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if self.type not in plain and not 0 <= self.size <= MAX_HEADER:
            raise _Refused(
                f"the header of {_short(self.name)} claims {self.size:,} bytes; not unpacked"
            )
        return super()._proc_member(tar)  # type: ignore[misc]

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise _Refused(f"the member {_short(self.name)} is a special file; not unpacked")


def unpack(archive: Path, place: Path, keep: tuple[str, ...] = ()) -> int:
    """Unpacks a .tar, .tar.gz or .tar.bz2 to the new folder `place`; returns its files.

    The one folder that an archive usually holds becomes `place` itself, unless `keep` names it.
    Raises UserError, leaving nothing behind, for a damaged archive, absolute paths, `..`, links,
    devices, more than MAX_MEMBERS members, MAX_BYTES or MAX_RATIO times its own size, and a disk
    that could not hold it. Every header is read before the first file is written.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("Python 3.11.4 or newer is needed to unpack archives safely")
    beside = place.with_name(f".{place.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with _opened(archive) as tar:
            files = _check(tar, archive.stat().st_size, shutil.disk_usage(place.parent).free)
            beside.mkdir()
            for member in tar.getmembers():
                tar.extract(member, beside, filter="data")
        inside = list(beside.iterdir())
        whole = len(inside) != 1 or not inside[0].is_dir() or inside[0].name in keep
        source = beside if whole else inside[0]
        _flush(source)
        os.replace(source, place)
        flush_folder(place.parent)
    except _Refused as error:
        raise UserError(f"{archive}: {error}") from None
    except RecursionError:  # tarfile goes one call deeper at each header of a header
        raise UserError(f"{archive}: has headers inside headers without end") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: is damaged or not a tar archive: {error}") from None
    except (ValueError, LookupError, OverflowError) as error:  # numbers in damaged headers
        raise UserError(f"{archive}: is damaged: {error}") from None
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 report damage so
            raise UserError(f"{archive}: is damaged: {error}") from None
        raise UserError(f"{archive}: cannot be unpacked to {place}: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return files


def _flush(folder: Path) -> None:
    """All files and folders to the disk: once the folder has its name it counts as unpacked."""
    for place, _, files in os.walk(folder):
        for name in files:
            flush_file(Path(place, name))
        flush_folder(Path(place))


def _opened(archive: Path) -> tarfile.TarFile:
    """Not with `r:*`: xz may ask for 4 GiB of memory before a byte is known."""
    for mode in ("r:gz", "r:bz2"):
        try:
            return tarfile.open(archive, mode, tarinfo=_Member)
        except (tarfile.ReadError, tarfile.CompressionError):
            continue
    return tarfile.open(archive, "r:", tarinfo=_Member)


def _check(tar: tarfile.TarFile, packed: int, free: int) -> int:
    """Looks at every member before the first is written; the number of files."""
    files = members = total = taken = 0
    seen: set[str] = set()
    for member in tar:
        path = PurePosixPath(member.name)
        name = str(path)
        if name == "." and member.isdir():
            continue
        if path.is_absolute() or ".." in path.parts or "\\" in name or name in ("", "."):
            raise _Refused(f"the member {_short(member.name)} leads outside; not unpacked")
        if not (member.isreg() or member.isdir()) or member.issparse():
            kind = "link" if member.issym() or member.islnk() else "special file"
            raise _Refused(f"the member {_short(member.name)} is a {kind}; not unpacked")
        if len(path.parts) > MAX_PARTS:
            raise _Refused(f"the member {_short(member.name)} lies too deep; not unpacked")
        members += 1
        size = max(member.size, 0) if member.isreg() else 0
        total += size
        taken += -(-size // BLOCK) * BLOCK + BLOCK
        # Checked at each header, before its content is read: a bomb is not inflated.
        if members > MAX_MEMBERS or total > MAX_BYTES:
            raise _Refused(
                f"holds more than {MAX_MEMBERS:,} files or {MAX_BYTES / 1e9:.0f} GB; not unpacked"
            )
        if total > FREE_GROWTH + MAX_RATIO * packed:
            raise _Refused(f"grows to more than {MAX_RATIO} times its size; not unpacked")
        if taken > free:
            raise _Refused(f"needs more than the {free / 1e9:.2f} GB that are free")
        if member.isdir():
            continue
        if name in seen:
            raise _Refused(f"the member {_short(name)} stands twice; not unpacked")
        seen.add(name)
        files += 1
    if not files:
        raise _Refused("holds no files")
    return files


def _short(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:100] + "…")
