"""One file over HTTP: resumed where it stopped, tried again after failures, verified.

Archives of data sets (download.py) and pretrained weights (backbones.py) come by it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests
from filelock import FileLock
from rich import progress as bars
from rich.console import Console
from urllib3.exceptions import HTTPError

from pix2pix.common.errors import UserError, printable
from pix2pix.common.files import file_sha256, flush_file, flush_folder, naming

ATTEMPTS = 5
"""Tries in a row without progress before a download is given up."""
TIMEOUT = 30.0
"""Seconds without an answer."""
CHUNK = 1 << 20

Report = Callable[[str], None]
"""Called with one line for the user."""


class _Transient(Exception):
    """Worth another try; the message gives the cause."""


def fetch(
    url: str,
    target: Path,
    report: Report = print,
    *,
    sha256: str | None = None,
    size: int | None = None,
    attempts: int = ATTEMPTS,
    pause: float = 1.0,
) -> None:
    """Downloads `url` to `target`, through `target.part`, which the next call resumes.

    Several processes may call this at once: one downloads, the others wait.

    Args:
        sha256: the expected digest, where it is known; so is `size`, in bytes.
        attempts: tries in a row without progress before the download is given up.
        pause: seconds to wait after the first failure; doubled after each further one.

    Raises UserError: a dead address, a full disk, too many failures, other bytes than expected.
    """
    part = target.with_name(target.name + ".part")
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists():
            return
        _fetch_part(url, part, report, size, attempts, pause)
        _validator(part).unlink(missing_ok=True)
        if sha256 is not None and (found := file_sha256(part)) != sha256:
            part.unlink()
            raise UserError(f"{url}: sha256 of the download is {found}, not {sha256}")
        flush_file(part)
        os.replace(part, target)
        flush_folder(target.parent)


def _fetch_part(
    url: str, part: Path, report: Report, size: int | None, attempts: int, pause: float
) -> None:
    """Requests the file until `part` holds all of it."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _transfer(url, part, size)
        except _Transient as error:
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures >= attempts:
                resume = f"; the same command resumes at {most / 1e6:.1f} MB" if most else ""
                raise UserError(
                    f"{url}: {error}; given up after {attempts} tries{resume}"
                ) from None
            wait = pause * 2 ** max(failures - 1, 0)
            report(f"{url}: {error}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _transfer(url: str, part: Path, size: int | None) -> None:
    """One request: resumes or starts `part` and reads to the end of the answer."""
    have, headers = 0, {"User-Agent": "pix2pix-ablations", "Accept-Encoding": "identity"}
    if _size(part) and _size(_validator(part)):
        have = _size(part)
        # If-Range: a file that changed meanwhile comes whole instead of being appended.
        unchanged = _validator(part).read_text(encoding="latin-1")
        headers |= {"Range": f"bytes={have}-", "If-Range": unchanged}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_status(url, response, part, have)
            if response.status_code == 200:
                have = 0
                # First: with the new file's validator, the old file's bytes would be resumed.
                part.unlink(missing_ok=True)
                etag = response.headers.get("ETag", "")
                unchanged = etag if etag[:1] == '"' else response.headers.get("Last-Modified", "")
                _validator(part).write_text(unchanged, encoding="latin-1")
            _copy(url, response, part, have, size)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Transient(f"cannot be reached ({_reason(error)})") from None
    except (requests.RequestException, ValueError) as error:  # addresses that redirects make up
        raise UserError(f"{url}: cannot be downloaded ({_reason(error)})") from None


def _check_status(url: str, response: requests.Response, part: Path, have: int) -> None:
    """Returns for an answer that holds the file from byte `have` on, or the whole file."""
    status, start = response.status_code, response.headers.get("Content-Range", "")
    if status == 416 or (status == 206 and not start.startswith(f"bytes {have}-")):
        part.unlink(missing_ok=True)
        raise _Transient("the partial file does not fit; starting over")
    answer = printable(f"answered {status} {response.reason}"[:120])
    if status in (408, 425, 429) or status >= 500:
        raise _Transient(answer)
    if status not in (200, 206):
        raise UserError(f"{url}: {answer}")


def _copy(url: str, response: requests.Response, part: Path, have: int, size: int | None) -> None:
    """Appends the answer to `part`, which has `have` bytes, with a bar on a terminal."""
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if re.fullmatch("[0-9]{1,18}", length) else size
    if size is not None and total != size:
        raise UserError(f"{url}: has {total:,} bytes; {size:,} are expected")
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise UserError(
            f"{part.parent}: the download needs {(total - have) / 1e9:.2f} GB, "
            f"{free / 1e9:.2f} GB are free"
        )
    bar = bars.Progress(
        *(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn()),
        *(bars.TransferSpeedColumn(), bars.TimeRemainingColumn()),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    cut_off = False
    with naming(part), bar, open(part, "ab" if have else "wb") as file:
        task = bar.add_task(part.stem, total=total, completed=have)
        try:
            while chunk := response.raw.read1(CHUNK):
                have += len(chunk)
                file.write(chunk)
                bar.update(task, completed=have)
                if total is not None and have > total:
                    file.truncate(0)
                    raise UserError(f"{url}: sends more than {total:,} bytes; given up")
        except HTTPError:
            cut_off = True
    if cut_off or (total is not None and have < total):
        end = "" if total is None else f" of {total:,}"
        raise _Transient(f"was cut off at {have:,}{end} bytes")


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: "Connection refused", not the names of its wrappers."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:120] or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(part: Path) -> Path:
    """The file with the ETag or date by which the server knows the file that `part` began."""
    return part.with_name(part.name + ".etag")
