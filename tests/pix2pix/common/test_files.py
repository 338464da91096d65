import pytest

from pix2pix.common import files
from pix2pix.common.files import parse_json, read_json


def test_json_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "NaN", "[-Infinity]", "9" * 5000, "", b"\xff", "{"]
)
def test_what_is_not_plain_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    (tmp_path / "a.json").write_text("1234567890")
    assert read_json(tmp_path / "a.json") == 1234567890
    (tmp_path / "a.json").write_text("12345678901")
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_json(tmp_path / "a.json")
