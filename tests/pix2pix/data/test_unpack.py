"""Archives that try to leave their folder, to link, to fill the disk, or that are cut off."""

import io
import tarfile
from pathlib import Path

import pytest

from pix2pix.common.errors import UserError
from pix2pix.data import unpack as unpacking
from pix2pix.data.unpack import unpack


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
    assert unpack(archive, tmp_path / "mine") == 2
    assert (tmp_path / "mine/train/1.png").read_bytes() == b"abc"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "mine"]


def test_folders_at_the_top_stay(tmp_path) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["./train/1.png", "./val/1.png"])
    unpack(archive, tmp_path / "two")
    assert (tmp_path / "two/val/1.png").is_file()
    unpack(_pack(archive, ["train/1.png"]), tmp_path / "one", keep=("train",))
    assert (tmp_path / "one/train/1.png").is_file()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("/etc/evil", "leads outside"),
        ("../evil", "leads outside"),
        ("a/../../evil", "leads outside"),
        ("a\\..\\evil", "leads outside"),
        (_special("link", tarfile.SYMTYPE, "/etc"), "is a link"),
        (_special("link", tarfile.LNKTYPE, "fine.png"), "is a link"),
        (_special("pipe", tarfile.FIFOTYPE), "is a special file"),
        (_special("device", tarfile.CHRTYPE), "is a special file"),
        ("fine.png", "stands twice"),
    ],
)
def test_nothing_of_an_unsafe_archive_is_written(tmp_path, member, said: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = _pack(inside / "a.tar.gz", ["fine.png", member])
    with pytest.raises(UserError, match=said):
        unpack(archive, inside / "mine")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.tar.gz"]


def test_bounds_on_number_and_size(tmp_path, monkeypatch) -> None:
    archive = _pack(tmp_path / "a.tar.gz", ["1", "2", "3"])
    for name, bound in (("MAX_MEMBERS", 2), ("MAX_BYTES", 8)):
        with monkeypatch.context() as bounded:
            bounded.setattr(unpacking, name, bound)
            with pytest.raises(UserError, match="holds more than"):
                unpack(archive, tmp_path / "mine")
    assert unpack(archive, tmp_path / "mine") == 3


def test_more_than_the_disk_holds_is_refused_from_the_header(tmp_path) -> None:
    huge = tarfile.TarInfo("huge")
    huge.size = 90_000_000_000_000
    (tmp_path / "a.tar").write_bytes(huge.tobuf())
    with pytest.raises(UserError, match=r"holds more than|that are free"):
        unpack(tmp_path / "a.tar", tmp_path / "mine")


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


def test_an_archive_without_files(tmp_path) -> None:
    archive = _pack(tmp_path / "a.tar.gz", [_special("empty", tarfile.DIRTYPE)])
    with pytest.raises(UserError, match="holds no files"):
        unpack(archive, tmp_path / "mine")


def test_what_grows_beyond_all_measure_is_refused_before_it_is_inflated(tmp_path) -> None:
    bomb = tarfile.TarInfo("zeros")
    bomb.size = 200_000_000
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(bomb, _Zeros())
    assert (tmp_path / "a.tar.gz").stat().st_size < 300_000
    with pytest.raises(UserError, match="grows to more than 100 times its size"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "mine")


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_folders_count_and_depth_is_bounded(tmp_path, monkeypatch) -> None:
    folders = [_special(f"d{i}", tarfile.DIRTYPE) for i in range(9)]
    archive = _pack(tmp_path / "a.tar.gz", [*folders, "x"])
    with monkeypatch.context() as bounded:
        bounded.setattr(unpacking, "MAX_MEMBERS", 5)
        with pytest.raises(UserError, match="holds more than 5 files"):
            unpack(archive, tmp_path / "mine")
    deep = _pack(tmp_path / "deep.tar.gz", ["d/" * 1500 + "x"])
    with pytest.raises(UserError, match="lies too deep") as caught:
        unpack(deep, tmp_path / "mine")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_headers_are_not_read_into_memory_whatever_they_claim(tmp_path, kind: bytes) -> None:
    header = _special("long", kind)
    header.size = 5_000_000_000
    (tmp_path / "a.tar").write_bytes(header.tobuf() + bytes(10_000))
    with pytest.raises(UserError, match="the header of 'long' claims 5,000,000,000 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "mine")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("first", [True, False])
def test_headers_inside_headers_end(tmp_path, kind: bytes, first: bool) -> None:
    header = _special("long", kind)
    header.size = 0
    plain = b"" if first else tarfile.TarInfo("x").tobuf()
    (tmp_path / "a.tar").write_bytes(plain + header.tobuf() * 5000 + bytes(1024))
    with pytest.raises(UserError, match="has headers inside headers without end"):
        unpack(tmp_path / "a.tar", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_sparse_files_and_xz_are_refused(tmp_path) -> None:
    sparse = _special("sparse", tarfile.GNUTYPE_SPARSE)
    with pytest.raises(UserError, match="is a special file"):
        unpack(_pack(tmp_path / "a.tar.gz", ["x", sparse]), tmp_path / "mine")
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    with pytest.raises(UserError, match="is damaged or not a tar archive"):
        unpack(tmp_path / "a.tar.xz", tmp_path / "mine")


def test_bzip2_and_plain_tar_are_read(tmp_path) -> None:
    for mode, name in (("w", "a.tar"), ("w:bz2", "a.tar.bz2")):
        with tarfile.open(tmp_path / name, mode) as tar:
            info = tarfile.TarInfo("any/x")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        assert unpack(tmp_path / name, tmp_path / name.replace(".", "-")) == 1
