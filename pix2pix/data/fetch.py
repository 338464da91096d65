"""A file over HTTP: resumed where it stopped, tried again when the line fails."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_file, flush_folder

Report = Callable[[str], None]

ATTEMPTS = 5
"""Tries in a row that bring nothing new before the download is given up."""
TIMEOUT = 30.0
CHUNK = 1 << 20
REPORT_EVERY = 5.0
"""Seconds between two lines of progress."""
MAX_BYTES = 200_000_000_000
"""Of a download whose size nobody tells: an endless stream stops there, or before the disk is full.
"""
RESERVE = 1_000_000_000
"""Bytes that a download of unknown size leaves free on the disk."""


class _Transient(Exception):
    """Worth another try; the message says what happened."""


def fetch(
    url: str, target: Path, report: Report, *, size: int | None = None, pause: float = 1.0
) -> None:
    """Downloads `url` to `target`, through `target.part`, which the next call goes on with.

    `size` is the number of bytes that must arrive, where it is known. Waits `pause` seconds after
    the first failure, twice as long after each further one. Raises UserError when the address is
    dead, the disk is full, or ATTEMPTS tries in a row brought nothing new.
    """
    part = target.with_name(target.name + ".part")
    failures, most = 0, _size(part)
    while True:
        try:
            _transfer(url, part, report, size)
            break
        except _Transient as error:
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: {error}; given up after {ATTEMPTS} tries, "
                    f"the same command goes on at {most / 1e6:.1f} MB"
                ) from None
            wait = pause * 2 ** max(failures - 1, 0)
            report(f"{url}: {error}; trying again in {wait:.0f} s")
            time.sleep(wait)
    flush_file(part)
    os.replace(part, target)
    flush_folder(target.parent)
    _validators(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path, report: Report, size: int | None) -> None:
    request = urllib.request.Request(
        url, headers={"User-Agent": "pix2pix-ablations", "Accept-Encoding": "identity"}
    )
    have, unchanged = _size(part), _read_validator(part, url)
    if have and unchanged:
        # If-Range: a file that changed meanwhile comes whole instead of being glued on.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", unchanged)
    with _request(request, part) as response:
        resumed = response.status == 206
        if resumed:
            match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
            if not match or int(match[1]) != have:
                part.unlink(missing_ok=True)
                raise _Transient("the server resumed at another place; starting over")
            report(f"{url}: going on at {have / 1e6:.1f} MB")
        elif response.status != 200:
            raise UserError(
                f"{url}: answered {response.status} {_said(response.reason)}, not the file"
            )
        else:
            have = 0
            # First: under the new file's validator the old one's bytes would be gone on with.
            part.unlink(missing_ok=True)
            _write_validator(part, url, response.headers)
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if size is not None and total is not None and total != size:
            raise UserError(f"{url}: has {total:,} bytes; {size:,} are expected")
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - have > free:
            raise UserError(
                f"{part.parent}: the download needs {(total - have) / 1e9:.2f} GB, "
                f"{free / 1e9:.2f} GB are free"
            )
        with open(part, "ab" if resumed else "wb") as file:
            most = size if size is not None else total if total is not None else MAX_BYTES
            have = _copy(response, file, have, total, report, most)
    if total is not None and have != total:
        raise _Transient(f"was cut off at {have:,} of {total:,} bytes")
    if size is not None and have != size:
        part.unlink()
        raise UserError(f"{url}: has {have:,} bytes; {size:,} are expected")


def _request(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(_SaferRedirects)
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _Transient("the partial file does not fit any more; starting over") from None
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Transient(f"answered {error.code} {_said(error.reason)}") from None
        raise UserError(
            f"{request.full_url}: answered {error.code} {_said(error.reason)}"
        ) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(
                f"{request.full_url}: its certificate is not trusted: {error.reason.verify_message}"
            ) from None
        raise _Transient(f"cannot be reached ({_said(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Transient(f"cannot be reached ({_said(error)})") from None
    except ValueError as error:  # an address that a redirect made up
        raise UserError(f"{request.full_url}: redirects to no address ({_said(error)})") from None


class _SaferRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str):
        secure = req.full_url.startswith("https:")
        if not newurl.startswith("https:" if secure else ("http:", "https:")):
            raise UserError(f"{req.full_url}: redirects to {_said(newurl)}, which is less safe")
        fp.close()  # urllib would read the page that comes with a redirect, of whatever length
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(
    response: http.client.HTTPResponse,
    file: Any,
    have: int,
    total: int | None,
    report: Report,
    most: int,
) -> int:
    """Copies to the end of the response; the number of bytes that the file then has.

    UserError, with the file emptied, where that would be more than `most`.
    """
    said = time.monotonic()
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Transient(f"broke off ({_said(error)})") from None
        if not chunk:
            return have
        have += len(chunk)
        if have > most:
            file.truncate(0)
            raise UserError(f"{file.name}: the server sends more than {most:,} bytes; given up")
        if total is None and shutil.disk_usage(Path(file.name).parent).free < RESERVE:
            file.truncate(0)
            raise UserError(f"{file.name}: the download has no known size and fills the disk")
        file.write(chunk)
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            share = f" of {total / 1e6:.1f} MB ({have / total:.0%})" if total else ""
            report(f"{have / 1e6:.1f} MB{share}")


def _said(words: object) -> str:
    """What a server or an error said, in one line that leaves room for ours."""
    text = " ".join(str(words).split())
    return text[:120] or type(words).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _validators(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_validator(part: Path, url: str) -> str | None:
    try:
        stored = json.loads(_validators(part).read_text(encoding="utf-8"))
        return stored["validator"] if stored["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_validator(part: Path, url: str, headers: Any) -> None:
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")
    text = json.dumps({"url": url, "validator": validator})
    _validators(part).write_text(text, encoding="utf-8")
