import argparse
import errno
from pathlib import Path

import pytest

from pix2pix.common.files import (
    home_path,
    parse_json,
    read_json,
    replacing,
    set_aside,
    write_whole,
)

ROOT = Path(__file__).resolve().parents[3]


def test_json_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "NaN", "[-Infinity]", "9" * 5000, "", b"\xff", "{"]
)
def test_what_is_not_plain_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_file_is_replaced_only_when_its_block_ends_well(tmp_path):
    path = tmp_path / "new" / "a.bin"
    write_whole(path, b"old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [one.name for one in path.parent.iterdir()] == ["a.bin"]


def test_an_error_names_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left.*a\.bin") as caught:
        write_whole(tmp_path / "a.bin", b"new")
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/a\.bin"):
        write_whole(tmp_path / "file" / "a.bin", b"new")


def test_an_unusable_file_is_set_aside_over_an_earlier_one(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "a.pt").write_text(content)
        assert set_aside(tmp_path / "a.pt") == tmp_path / "a.pt.damaged"
    assert [one.name for one in tmp_path.iterdir()] == ["a.pt.damaged"]
    assert (tmp_path / "a.pt.damaged").read_text() == "second"


def test_a_tilde_is_the_home_folder_in_every_option(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert home_path("~/x") == Path("/home/me/x") and home_path("~") == Path("/home/me")
    assert home_path("./~x") == Path("~x") and home_path("a/~") == Path("a/~")
    with pytest.raises(argparse.ArgumentTypeError, match="~nobody-at-all/x: no such home folder"):
        home_path("~nobody-at-all/x")
    for package in ("pix2pix", "eval", "experiments", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            assert "type=Path" not in path.read_text(), f"{path}: use home_path"
