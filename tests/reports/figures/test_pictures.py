"""Images that are not what their name says: refused by their first bytes, or by their size."""

import struct
import zlib

import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from reports.figures.grid import _open, _webp
from reports.pages.html import _thumbnail


def _gif(path) -> None:
    Image.new("RGB", (4, 4)).save(path, "GIF")


def _bomb(path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


@pytest.mark.parametrize("disguise", [_gif, _bomb])
def test_only_png_files_of_a_bounded_size_are_opened(tmp_path, disguise) -> None:
    path = tmp_path / "scene.png"
    disguise(path)
    for read in (_open, _webp):
        with pytest.raises(UserError, match=r"scene\.png: cannot be read as an image"):
            read(path)
    assert _thumbnail(path) is None
