"""Image files to arrays: kinds that would be misread are refused, with the file's name."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from profiles import profile

from pix2pix.common.errors import UserError
from pix2pix.data import decode, labels
from pix2pix.data.decode import check_image, is_lossy, read_labels, read_rgb
from pix2pix.data.labels import paint
from pix2pix.data.layouts import SourcePair
from pix2pix.data.pairs import check_pair, read_pair
from pix2pix.data.procedural import draw_labels
from pix2pix.data.registry import DatasetEntry, load_registry

H, W = 6, 8


def _photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)


def _entry(labels: str = "index", **more) -> DatasetEntry:
    colours = {"sky": [10, 20, 30], "road": [200, 100, 0], "car": [0, 0, 255]}
    written = {
        "name": "mine",
        "layout": "folders",
        "sides": {"photo": {"folder": "A"}, "labels": {"folder": "B", "kind": labels}},
        "classes": colours,
        "ignore": [9] if labels == "index" else [[255, 255, 255]],
        **more,
    }
    return DatasetEntry.model_validate(written)


def _pair(tmp_path: Path, photo, labels, photo_name="p.png", labels_name="l.png") -> SourcePair:
    files = []
    for role, name, image in (("photo", photo_name, photo), ("labels", labels_name, labels)):
        path = tmp_path / name
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path)
        files.append((role, str(path)))
    return SourcePair("x", tuple(files))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def _png(depth: int, colour_type: int, raw_row: bytes, width: int = W, height: int = H) -> bytes:
    """A PNG written by hand, for the kinds that PIL does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = zlib.compress((b"\0" + raw_row) * height)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", body)
        + _chunk(b"IEND", b"")
    )


INDICES = np.array([[0, 1, 2, 9] * (W // 4)] * H, np.uint8)


def test_index_maps_become_class_positions_and_colours(tmp_path) -> None:
    photo = _photo()
    decoded = read_pair(_entry(), _pair(tmp_path, photo, INDICES), (H, W))
    np.testing.assert_array_equal(decoded.images["photo"], photo)
    assert decoded.labels[0, :4].tolist() == [0, 1, 2, 255]
    assert decoded.images["labels"][0, :4].tolist() == [
        [10, 20, 30],
        [200, 100, 0],
        [0, 0, 255],
        [0, 0, 0],
    ]


def test_a_classs_own_index_is_mapped_and_the_rest_ignored(tmp_path) -> None:
    classes = {"road": {"colour": [1, 2, 3], "index": 7}, "sky": {"colour": [4, 5, 6], "index": 0}}
    entry = _entry(classes=classes, ignore="rest")
    indices = np.array([[7, 0, 3, 200] * 2] * H, np.uint8)
    decoded = read_pair(entry, _pair(tmp_path, _photo(), indices), (H, W))
    assert decoded.labels[0, :4].tolist() == [0, 1, 255, 255]


def test_palette_images_hold_indices_whatever_their_colours(tmp_path) -> None:
    image = Image.fromarray(np.minimum(INDICES, 2))
    image.putpalette([255, 0, 0] * 4)
    assert image.mode == "P"
    image.save(tmp_path / "four_bits.png", bits=4)
    four_bits = (tmp_path / "four_bits.png").read_bytes()
    decoded = read_pair(_entry(), _pair(tmp_path, _photo(), four_bits), (H, W))
    assert decoded.labels[0, :4].tolist() == [0, 1, 2, 2]


def test_resizing_is_nearest_for_labels_and_antialiased_for_photos(tmp_path) -> None:
    stripes = np.zeros((H, W, 3), np.uint8)
    stripes[:, ::2] = 200
    decoded = read_pair(_entry(), _pair(tmp_path, stripes, INDICES), (3, 2))
    assert decoded.images["photo"].shape == (3, 2, 3)
    assert (abs(decoded.images["photo"].astype(int) - 100) < 30).all()
    assert set(np.unique(decoded.labels)) <= {0, 1, 2, 255}


def test_painted_labels_in_png_are_exact(tmp_path) -> None:
    entry = _entry("palette")
    positions = np.array([[0, 1, 2, 255] * 2] * H, np.uint8)
    painted = paint(positions, entry)
    painted[positions == 255] = 255
    decoded = read_pair(entry, _pair(tmp_path, _photo(), painted), (H, W))
    np.testing.assert_array_equal(decoded.labels, positions)
    np.testing.assert_array_equal(decoded.images["labels"], painted)


def test_an_unknown_colour_names_file_and_colour(tmp_path) -> None:
    entry = _entry("palette")
    painted = paint(np.zeros((H, W), np.uint8), entry)
    painted[2, 3] = (11, 20, 30)
    with pytest.raises(UserError, match=r"l\.png: 2\.08% .* colour of no class.*\(11, 20, 30\)"):
        read_pair(entry, _pair(tmp_path, _photo(), painted), (3, 4))
    rest = _entry("palette", ignore="rest")
    decoded = read_pair(rest, _pair(tmp_path, _photo(), painted), (H, W))
    assert decoded.labels[2, 3] == 255


def test_painted_labels_in_jpeg_are_the_nearest_within_tolerance(tmp_path) -> None:
    entry = _entry("palette")
    positions = np.zeros((32, 32), np.uint8)
    positions[:, 16:] = 1
    painted, photo = paint(positions, entry), np.zeros((32, 32, 3), np.uint8)
    Image.fromarray(painted).save(tmp_path / "l.jpg", quality=75)
    assert (np.asarray(Image.open(tmp_path / "l.jpg")) != painted).any()
    jpeg = (tmp_path / "l.jpg").read_bytes()
    decoded = read_pair(entry, _pair(tmp_path, photo, jpeg, labels_name="l.jpg"), (32, 32))
    known = decoded.labels != 255
    assert known.mean() > 0.9
    assert (decoded.labels[known] == positions[known]).all()


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_the_archive_of_facades_is_read_in_its_own_colours(tmp_path, quality) -> None:
    """Drawn label maps in its colours, photo on the left, as JPEG 4:2:0: at most 3 % of the
    pixels that count have a wrong class."""
    entry, wrong, counted = load_registry()["facades"], 0, 0
    palette = np.array([one.colour for one in entry.classes], np.uint8)
    for index in range(8):
        truth = draw_labels("test", index, 256)
        both = np.hstack([np.full_like(palette[truth], 128), palette[truth]])
        path = tmp_path / f"{index}.jpg"
        Image.fromarray(both).save(path, quality=quality, subsampling="4:2:0")
        pair = SourcePair(str(index), tuple((role, str(path)) for role in entry.sides))
        labels = read_pair(entry, pair, (256, 256)).labels
        assert labels is not None
        wrong += int(((labels != truth) & (labels != 255)).sum())
        counted += int((labels != 255).sum())
    assert wrong / counted < 0.03
    assert counted > 0.8 * 8 * 256 * 256


def test_a_jpeg_painted_in_other_colours_is_refused(tmp_path) -> None:
    other = np.full((32, 32, 3), (0, 255, 0), np.uint8)
    Image.fromarray(other).save(tmp_path / "l.jpg", quality=95)
    jpeg = (tmp_path / "l.jpg").read_bytes()
    pair = _pair(tmp_path, np.zeros((32, 32, 3), np.uint8), jpeg, labels_name="l.jpg")
    with pytest.raises(UserError, match=r"l\.jpg: 100\.00% of the label pixels"):
        read_pair(_entry("palette"), pair, (32, 32))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.dstack([_photo(), INDICES]), r"has transparent pixels \(mode RGBA\); convert it"),
        (Image.merge("LA", [Image.fromarray(INDICES)] * 2), r"has transparent pixels \(mode LA"),
        (
            Image.fromarray(_photo()[..., 0].astype(np.uint16) * 257 + 1),
            r"is 16-bit \(mode I;16\), and its values are not 8-bit ones times 257",
        ),
        (_png(16, 2, bytes(range(6 * W))), r"is 16-bit \(mode RGB\), and its values are not"),
        (_png(16, 4, bytes(4 * W)), r"is 16-bit RGB with alpha .*8-bit RGB is needed"),
        (INDICES, r"is grey with values from 0 to 9 only, like an index map; .* grey: true"),
        (b"not an image at all", "is not an image that can be read"),
        (b"", "is not an image that can be read"),
    ],
)
def test_photos_that_cannot_be_read_without_loss(tmp_path, image, reason: str) -> None:
    pair = _pair(tmp_path, image, INDICES)
    with pytest.raises(UserError, match=rf"p\.png: {reason}"):
        check_pair(_entry(), pair)
    with pytest.raises(UserError, match=r"p\.png: "):
        read_pair(_entry(), pair, (H, W))


def _wide(values: np.ndarray) -> bytes:
    """A 16-bit PNG whose values are the 8-bit ones times 257."""
    kind = {2: 0, 3: 2, 4: 6}[values.ndim if values.ndim == 2 else values.shape[2]]
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in values)
    head = _png(16, kind, b"", values.shape[1], values.shape[0])
    return head[: head.index(b"IDAT") - 4] + _chunk(b"IDAT", zlib.compress(rows)) + head[-12:]


OPAQUE = np.full((H, W), 255, np.uint8)
PALETTE = Image.fromarray(_photo()).quantize(8)
EDGES = Image.fromarray(_photo()).convert("1")


@pytest.mark.parametrize(
    ("image", "shown", "read_as"),
    [
        (PALETTE, np.asarray(PALETTE.convert("RGB")), "palette, read as RGB"),
        (EDGES, np.asarray(EDGES.convert("RGB")), "1-bit black and white"),
        (_photo()[..., 0], np.stack([_photo()[..., 0]] * 3, -1), "8-bit grey"),
        (np.dstack([_photo(), OPAQUE]), _photo(), "8-bit RGB with alpha"),
        (_wide(_photo()), _photo(), "16-bit RGB, read as 8-bit RGB"),
        (_wide(np.dstack([_photo(), OPAQUE])), _photo(), "16-bit RGB with alpha"),
        (_wide(_photo()[..., 0]), np.stack([_photo()[..., 0]] * 3, -1), "16-bit grey"),
    ],
)
def test_photos_in_another_form_are_read_without_loss(tmp_path, image, shown, read_as) -> None:
    """As 945 public label maps are (16-bit RGBA), edges, and photos as optimisers write them."""
    pair = _pair(tmp_path, image, INDICES)
    (told,) = check_pair(_entry(), pair).values()
    assert told.startswith(read_as)
    np.testing.assert_array_equal(read_pair(_entry(), pair, (H, W)).images["photo"], shown)
    np.testing.assert_array_equal(read_rgb(tmp_path / "p.png"), shown)


def test_grey_photos_where_the_entry_allows_them(tmp_path) -> None:
    sides = {"photo": {"folder": "A", "grey": True}, "labels": {"folder": "B", "kind": "index"}}
    grey = _photo()[..., 0]
    pair = _pair(tmp_path, grey, INDICES)
    assert check_pair(_entry(sides=sides), pair) == {}
    decoded = read_pair(_entry(sides=sides), pair, (H, W))
    np.testing.assert_array_equal(decoded.images["photo"], np.stack([grey] * 3, -1))
    dark = read_pair(_entry(sides=sides), _pair(tmp_path, INDICES, INDICES), (H, W))
    np.testing.assert_array_equal(dark.images["photo"], np.stack([INDICES] * 3, -1))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (_photo(), r"100\.00% of the label pixels have a colour of no class"),
        (INDICES.astype(np.uint16) * 100, "is 16-bit .*are not 8-bit ones times 257"),
        (np.dstack([_photo(), INDICES]), "has transparent pixels"),
    ],
)
def test_index_maps_that_cannot_be_read(tmp_path, image, reason: str) -> None:
    pair = _pair(tmp_path, _photo(), image)
    with pytest.raises(UserError, match=rf"l\.png: {reason}"):
        check_pair(_entry(), pair)
        read_pair(_entry(), pair, (H, W))


@pytest.mark.parametrize(
    "image",
    [
        np.stack([INDICES] * 3, -1),
        np.dstack([np.stack([INDICES] * 3, -1), OPAQUE]),
        INDICES.astype(np.uint16),
        _wide(INDICES),
        _wide(np.dstack([np.stack([INDICES] * 3, -1), OPAQUE])),
    ],
)
def test_index_maps_in_another_form_are_read_without_loss(tmp_path, image) -> None:
    pair = _pair(tmp_path, _photo(), image)
    check_pair(_entry(), pair)
    plain = read_pair(_entry(), _pair(tmp_path, _photo(), INDICES, labels_name="n.png"), (H, W))
    np.testing.assert_array_equal(read_pair(_entry(), pair, (H, W)).labels, plain.labels)


def _few_bits(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits; W is a multiple of 8."""
    shifts = np.arange(8 - bits, -1, -bits)
    packed = (values.reshape(len(values), -1, 8 // bits) << shifts).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = _png(bits, 0, b"", values.shape[1], values.shape[0])
    return head[: head.index(b"IDAT") - 4] + _chunk(b"IDAT", zlib.compress(rows)) + head[-12:]


@pytest.mark.parametrize(
    ("bits", "indices"),
    [(1, (0, 1)), (2, (0, 1)), (4, (0, 1)), (1, (0, 255)), (2, (85, 170)), (4, (17, 34))],
)
def test_index_maps_of_few_bits(tmp_path, bits: int, indices) -> None:
    """Indices as they are, or, as optimisers of PNG write them, parts of 255."""
    halves = np.array([[0] * 4 + [1] * (W - 4)] * H, np.uint8)
    step = 255 // (2**bits - 1)
    stored = np.array(indices if max(indices) < 2**bits else [i // step for i in indices], np.uint8)
    classes = {
        name: {"colour": [i, 7, 7], "index": i} for name, i in zip("ab", indices, strict=True)
    }
    pair = _pair(tmp_path, _photo(), _few_bits(stored[halves], bits))
    entry = _entry(classes=classes, ignore=())
    (said,) = check_pair(entry, pair).values()
    assert said.startswith(f"{bits}-bit ")
    np.testing.assert_array_equal(read_pair(entry, pair, (H, W)).labels, halves)


def test_few_bits_that_may_be_indices_or_shades_are_refused(tmp_path) -> None:
    halves = np.array([[0] * 4 + [1] * (W - 4)] * H, np.uint8)
    pair = _pair(tmp_path, _photo(), _few_bits(halves, 1))
    with pytest.raises(UserError, match=r"l\.png: is 1-bit grey: its values may be indices or sha"):
        read_pair(_entry(ignore=[255]), pair, (H, W))
    with pytest.raises(UserError, match=r"l\.png: has the value 1, which no class has"):
        read_pair(_entry(classes={"a": [1, 1, 1]}, ignore=()), pair, (H, W))
    masks = {"back": [0, 0, 0], "front": [255, 255, 255]}
    sides = {"photo": {"folder": "A"}, "labels": {"folder": "B", "kind": "palette"}}
    painted = read_pair(_entry(classes=masks, ignore=(), sides=sides), pair, (H, W))
    np.testing.assert_array_equal(painted.labels, halves)
    Image.fromarray(halves.astype(bool)).save(tmp_path / "l.png", "TIFF")
    with pytest.raises(UserError, match=r"l\.png: is 1-bit black and white"):
        read_pair(_entry(ignore=()), pair, (H, W))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("more", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_tiff_of_16_bits_per_colour(tmp_path, order: str, more) -> None:
    for photo in (_photo(), np.dstack([_photo(), OPAQUE])):
        wide = photo.astype(np.uint16) * 257
        options = {"photometric": "rgb", "byteorder": order, **more}
        options |= {"extrasamples": ["unassalpha"]} if photo.shape[2] == 4 else {}
        tifffile.imwrite(tmp_path / "p.png", wide, **options)
        np.testing.assert_array_equal(read_rgb(tmp_path / "p.png"), _photo())
        wide[0, 0, 1] ^= 1
        tifffile.imwrite(tmp_path / "p.png", wide, **options)
        with pytest.raises(UserError, match=r"p\.png: is 16-bit .* not 8-bit ones times 257"):
            read_rgb(tmp_path / "p.png")
    apart = np.moveaxis(_photo().astype(np.uint16) * 257, -1, 0)
    tifffile.imwrite(tmp_path / "p.png", apart, photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match=r"p\.png: is 16-bit RGB"):
        read_rgb(tmp_path / "p.png")


def test_painted_maps_of_a_data_set_of_index_maps_are_read_by_colour(tmp_path) -> None:
    """As `python -m eval` does; JPEG too, by the nearest colour."""
    positions = np.array([[0, 1, 2, 2] * (W // 4)] * H, np.uint8)
    pair = _pair(tmp_path, _photo(), paint(positions, _entry()))
    np.testing.assert_array_equal(read_pair(_entry(), pair, (H, W)).labels, positions)


def test_greys_that_are_indices_and_other_colours_are_refused(tmp_path) -> None:
    colours = {"sky": [2, 2, 2], "road": [1, 1, 1], "car": [0, 0, 0]}
    greys = np.stack([np.array([[0, 1, 2, 2] * (W // 4)] * H, np.uint8)] * 3, -1)
    with pytest.raises(UserError, match=r"l\.png: its values are indices .*one-channel PNG"):
        read_pair(_entry(classes=colours), _pair(tmp_path, _photo(), greys), (H, W))
    masks = {"sky": [0, 0, 0], "road": [255, 255, 255]}
    white = np.stack([np.array([[0, 255] * (W // 2)] * H, np.uint8)] * 3, -1)
    decoded = read_pair(_entry(classes=masks), _pair(tmp_path, _photo(), white), (H, W))
    assert decoded.labels[0, :2].tolist() == [0, 1]


def test_an_index_map_in_jpeg(tmp_path) -> None:
    with pytest.raises(UserError, match=r"l\.jpg: is JPEG, which changes values"):
        check_pair(_entry(), _pair(tmp_path, _photo(), INDICES, labels_name="l.jpg"))


def test_an_index_of_no_class(tmp_path) -> None:
    wrong = INDICES.copy()
    wrong[5, 7] = 77
    pair = _pair(tmp_path, _photo(), wrong)
    check_pair(_entry(), pair)
    with pytest.raises(UserError, match=r"l\.png: has the value 77, .*allowed: 0, 1, 2, 9"):
        read_pair(_entry(), pair, (2, 2))


def test_sides_of_different_size(tmp_path) -> None:
    pair = _pair(tmp_path, _photo()[:, :6], INDICES)
    for check in (lambda: check_pair(_entry(), pair), lambda: read_pair(_entry(), pair, (H, W))):
        with pytest.raises(UserError, match=r"mine: .*p\.png is 6×6, .*l\.png is 8×6"):
            check()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_truncated_and_damaged_files(tmp_path, suffix: str) -> None:
    big = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(big).save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    labels = np.zeros((64, 64), np.uint8)
    cut = _pair(tmp_path, content[: len(content) // 2], labels, photo_name=f"p.{suffix}")
    with pytest.raises(UserError, match=rf"p\.{suffix}: ") as caught:
        read_pair(_entry(), cut, (64, 64))
    assert "\n" not in str(caught.value)


def test_damaged_bytes_never_give_a_traceback(tmp_path) -> None:
    generator = np.random.default_rng(5)
    Image.fromarray(_photo()).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = generator.integers(256)
        pair = _pair(tmp_path, bytes(damaged), INDICES)
        try:
            read_pair(_entry(), pair, (H, W))
        except UserError:
            refused += 1
    assert refused > 20


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, recwarn) -> None:
    side = int(decode.MAX_PIXELS**0.5) + 1
    for width in (side, 5 * side):
        bomb = _png(8, 2, bytes(3), width=width, height=side)[:200]
        header = struct.pack(">IIBBBBB", width, side, 8, 2, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
        content += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
        with pytest.raises(UserError, match=r"p\.png: has .* pixels"):
            check_pair(_entry(), _pair(tmp_path, content, INDICES))


def test_a_photo_stored_turned_is_refused(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_photo()).save(tmp_path / "turned.jpg", exif=exif)
    content = (tmp_path / "turned.jpg").read_bytes()
    with pytest.raises(UserError, match=r"p\.jpg: is stored turned .*auto-orient"):
        check_pair(_entry(), _pair(tmp_path, content, INDICES, photo_name="p.jpg"))


def test_side_by_side_is_cut_in_the_middle(tmp_path) -> None:
    entry = load_registry()["facades"]
    photo = _photo()
    painted = paint(np.array([[0, 3, 11, 5] * 2] * H, np.uint8), entry)
    Image.fromarray(np.concatenate([photo, painted], 1)).save(tmp_path / "1.png")
    pair = SourcePair("1", tuple((role, str(tmp_path / "1.png")) for role in entry.sides))
    check_pair(entry, pair)
    decoded = read_pair(entry, pair, (H, W))
    np.testing.assert_array_equal(decoded.images["photo"], photo)
    np.testing.assert_array_equal(decoded.images["labels"], painted)
    assert decoded.labels[0, :4].tolist() == [0, 3, 11, 5]


def test_an_odd_width_has_no_two_halves(tmp_path) -> None:
    Image.fromarray(np.zeros((4, 7, 3), np.uint8)).save(tmp_path / "1.png")
    entry = load_registry()["maps"]
    pair = SourcePair("1", tuple((role, str(tmp_path / "1.png")) for role in entry.sides))
    with pytest.raises(UserError, match=r"1\.png: is 7 pixels wide"):
        check_pair(entry, pair)


def test_a_program_that_claims_to_be_an_image_is_not_run(tmp_path, monkeypatch) -> None:
    """PIL knows files by their content and hands EPS to Ghostscript."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n"
    pair = _pair(tmp_path, program, INDICES)
    with Image.open(pair.files[0][1]) as image:
        assert image.format == "EPS"
    for read in (check_pair, lambda entry, pair: read_pair(entry, pair, (H, W))):
        with pytest.raises(UserError, match=r"p\.png: is not an image that can be read"):
            read(_entry(), pair)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP"])
def test_every_kind_of_photo_is_read(tmp_path, kind: str) -> None:
    several = {"save_all": True, "append_images": [Image.fromarray(_photo(1))]}
    Image.fromarray(_photo()).save(tmp_path / "one", kind, **several if kind == "MPO" else {})
    pair = _pair(tmp_path, (tmp_path / "one").read_bytes(), INDICES)
    check_pair(_entry(), pair)
    assert read_pair(_entry(), pair, (H, W)).images["photo"].shape == (H, W, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_the_first_of_several_pictures_is_read_and_said(tmp_path, kind: str) -> None:
    one, other = Image.fromarray(_photo()), Image.fromarray(_photo(1))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    one.save(tmp_path / "many", kind, save_all=True, append_images=[other], **lossless)
    pair = _pair(tmp_path, (tmp_path / "many").read_bytes(), INDICES)
    assert list(check_pair(_entry(), pair).values()) == ["the first of several pictures"]
    np.testing.assert_array_equal(read_pair(_entry(), pair, (H, W)).images["photo"], _photo())
    np.testing.assert_array_equal(read_rgb(tmp_path / "many"), _photo())


def test_damaged_exif_is_one_line(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(_photo()).save(tmp_path / "p.jpg", exif=exif)
    content = (tmp_path / "p.jpg").read_bytes()
    place = content.index(b"Exif\0\0") + 6
    for cut in range(place, place + 20):
        broken = content[:cut] + b"\xff" * 4 + content[cut + 4 :]
        pair = _pair(tmp_path, broken, INDICES, photo_name="p.jpg")
        try:
            read_pair(_entry(), pair, (H, W))
        except UserError as error:
            assert "\n" not in str(error) and "p.jpg" in str(error)


def test_an_image_for_which_memory_lacks_is_not_called_damaged(tmp_path, monkeypatch) -> None:
    def fail(*_):
        raise MemoryError

    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(UserError, match=r"a\.png: is too large for the memory that is free"):
        read_rgb(path)


def test_painted_labels_do_not_depend_on_the_strips(tmp_path, monkeypatch) -> None:
    entry = _entry("palette")
    positions = np.random.default_rng(3).integers(0, 3, (20, 16), dtype=np.uint8)
    painted = paint(positions, entry)
    Image.fromarray(np.repeat(painted, 8, 1).repeat(8, 0)).save(tmp_path / "l.jpg", quality=90)
    jpeg = (tmp_path / "l.jpg").read_bytes()
    photo = np.zeros((160, 128, 3), np.uint8)
    found = []
    for strip in (1 << 18, 500, 1):
        monkeypatch.setattr(labels, "STRIP", strip)
        pair = _pair(tmp_path, photo, jpeg, labels_name="l.jpg")
        found.append(read_pair(entry, pair, (160, 128)).labels)
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
    assert (found[0] != 255).mean() > 0.9


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (6, 4), **options) -> Path:
    Image.new(mode, size).save(path, **options)
    return path


def test_one_image_and_its_header(tmp_path) -> None:
    Image.fromarray(_photo()).save(tmp_path / "a.png")
    assert check_image(tmp_path / "a.png") == ((H, W), "PNG", "RGB", "", 8)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), _photo())


@pytest.mark.parametrize(
    ("name", "options", "found", "lossy"),
    [
        ("a.jpg", {}, "JPEG", True),
        ("a.webp", {}, "WEBP", True),
        ("a.bmp", {}, "BMP", False),
        ("a.tif", {}, "TIFF", False),
        ("a.tiff", {"compression": "tiff_lzw"}, "TIFF", False),
        ("a.tiff", {"compression": "jpeg"}, "TIFF (lossy)", True),
    ],
)
def test_a_header_tells_which_formats_change_values(tmp_path, name, options, found, lossy) -> None:
    header = check_image(save(tmp_path / name, **options))
    assert header[:4] == ((4, 6), found, "RGB", "") and is_lossy(header.format) == lossy
    assert read_rgb(tmp_path / name).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("a.jpg", "CMYK", "is 8-bit CMYK .*8-bit RGB is needed"),
        ("a.tif", "F", "is 32-bit grey .*8-bit RGB is needed"),
        ("a.webp", "RGBA", "has transparent pixels"),
    ],
)
def test_one_image_of_another_kind(tmp_path, name, mode, reason) -> None:
    path = save(tmp_path / name, mode)
    for read in (check_image, read_rgb):
        with pytest.raises(UserError, match=rf"{name}: {reason}"):
            read(path)


def test_nan_is_refused_with_floating_point_images(tmp_path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((4, 6), np.nan, np.float32)).save(path)
    with pytest.raises(UserError, match=r"a\.tif: is 32-bit grey .*8-bit RGB is needed"):
        read_rgb(path)


def test_a_files_bytes_count_and_not_its_name(tmp_path) -> None:
    path = save(tmp_path / "a.png", format="JPEG")
    assert check_image(path).format == "JPEG" and read_rgb(path).shape == (4, 6, 3)
    grey = save(tmp_path / "labels.png", "L", format="JPEG")
    with pytest.raises(UserError, match=r"labels\.png: is JPEG, which changes values"):
        read_labels(grey, 3)


def test_a_transparent_colour(tmp_path) -> None:
    path = save(tmp_path / "a.png", transparency=(0, 0, 0))
    with pytest.raises(UserError, match="transparent pixels"):
        read_rgb(path)
    image = Image.fromarray(np.minimum(INDICES, 2))
    image.save(tmp_path / "labels.png", transparency=0)  # values count, not how they are shown
    assert read_labels(tmp_path / "labels.png", 3)[0, :4].tolist() == [0, 1, 2, 2]


def test_class_indices_are_classes_or_ignored(tmp_path) -> None:
    Image.fromarray(np.array([[0, 2], [255, 1]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", 3).tolist() == [[0, 2], [255, 1]]
    with pytest.raises(UserError, match=r"a\.png: class 2 is not one of the 2 classes"):
        read_labels(tmp_path / "a.png", 2)


@pytest.mark.parametrize("name", ["a.bmp", "a.tif"])
def test_class_indices_need_a_format_that_keeps_values(tmp_path, name) -> None:
    image = Image.fromarray(np.minimum(INDICES, 2))
    image.save(tmp_path / name)
    assert read_labels(tmp_path / name, 3)[0, :4].tolist() == [0, 1, 2, 2]
    image.save(tmp_path / "lossy.tif", compression="jpeg")
    image.save(tmp_path / "lossy.jpg")
    for lossy in ("lossy.tif", "lossy.jpg"):
        with pytest.raises(UserError, match=rf"{lossy}: .* changes values"):
            read_labels(tmp_path / lossy, 3)


def test_an_orientation_behind_the_pixels_of_a_png(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = save(tmp_path / "turned.png", exif=exif).read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    moved = content[:start] + content[end:last] + content[start:end] + content[last:]
    (tmp_path / "behind.png").write_bytes(moved)
    for name in ("turned.png", "behind.png"):
        with pytest.raises(UserError, match="stored turned"):
            read_rgb(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_an_orientation_in_xmp(tmp_path, suffix: str) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22'
        b'-rdf-syntax-ns#"><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    if suffix == "png":
        content = save(tmp_path / "plain.png").read_bytes()
        text = b"XML:com.adobe.xmp" + bytes(5) + xmp
        path = tmp_path / "turned.png"
        path.write_bytes(content[:-12] + _chunk(b"iTXt", text) + content[-12:])
    elif suffix == "tif":
        path = save(tmp_path / "turned.tif", tiffinfo={700: xmp})
    else:
        path = save(tmp_path / f"turned.{suffix}", xmp=xmp)
    with pytest.raises(UserError, match="stored turned"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0, 10, 40, 300, 600])
def test_one_image_cut_off(tmp_path, suffix: str, kept: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"a\.{suffix}: is (damaged|not an image)"):
        read_rgb(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["photo", "palette"])
def test_the_largest_image_takes_less_than_a_gibibyte(tmp_path, kind: str) -> None:
    side = int(decode.MAX_PIXELS**0.5)
    path = tmp_path / "large.png"
    Image.new("RGB", (side, side), (10, 20, 30)).save(path, compress_level=1)
    program = f"""
from pathlib import Path
from pix2pix.data.registry import DatasetEntry
from pix2pix.data.pairs import read_pair
from pix2pix.data.layouts import SourcePair
sides = {{"a": {{"folder": "A"}}, "b": {{"folder": "B", "kind": {kind!r}}}}}
written = {{"name": "mine", "layout": "folders", "sides": sides}}
if {kind!r} == "palette":
    written["classes"] = {{f"c{{i}}": [i, 20, 30] for i in range(200)}}
entry = DatasetEntry.model_validate(written)
pair = SourcePair("x", (("a", {str(path)!r}), ("b", {str(path)!r})))
read_pair(entry, pair, (256, 256))
# Not ru_maxrss: Linux counts the memory of whoever started this process into it.
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1024


def test_photos_with_another_colour_profile_become_srgb(tmp_path) -> None:
    orange = np.full((H, W, 3), (200, 120, 60), np.uint8)
    for name in ("Display P3", "sRGB"):
        Image.fromarray(orange).save(tmp_path / f"{name}.png", icc_profile=profile(name))
    np.testing.assert_array_equal(read_rgb(tmp_path / "sRGB.png"), orange)
    assert check_image(tmp_path / "sRGB.png").read_as == ""
    # To linear light, by the matrix from P3 to sRGB (CSS Color 4), and back.
    assert (
        np.abs(read_rgb(tmp_path / "Display P3.png")[0, 0].astype(int) - [213, 115, 42]).max() < 3
    )
    assert "converted to sRGB" in check_image(tmp_path / "Display P3.png").read_as
    pair = _pair(tmp_path, (tmp_path / "Display P3.png").read_bytes(), INDICES)
    decoded = read_pair(_entry(), pair, (H, W)).images["photo"]
    np.testing.assert_array_equal(decoded, read_rgb(tmp_path / "Display P3.png"))


def test_colours_of_label_maps_are_names_whatever_theprofile(tmp_path) -> None:
    entry = load_registry()["facades"]
    painted = Image.fromarray(paint(np.array([[0, 3, 11, 5] * 2] * H, np.uint8), entry))
    pixels = np.concatenate([_photo(), np.asarray(painted)], 1)
    path = tmp_path / "1.png"
    Image.fromarray(pixels).save(path, icc_profile=profile("Display P3"))
    pair = SourcePair("1", tuple((role, str(path)) for role in entry.sides))
    decoded = read_pair(entry, pair, (H, W))
    assert decoded.labels[0, :4].tolist() == [0, 3, 11, 5]
    assert (decoded.images["photo"] != _photo()).any()


def test_a_damaged_profile_is_taken_for_srgb(tmp_path) -> None:
    Image.fromarray(_photo()).save(tmp_path / "a.png", icc_profile=b"no profile" * 20)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), _photo())


def _display(indices: np.ndarray, palette: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(indices, "P")
    image.putpalette([value for colour in palette for value in colour])
    return image


def test_a_palette_in_colours_of_other_classes_is_read_by_its_colours(tmp_path) -> None:
    """As open-mmlab/mmsegmentation#1572 and aurora95/Keras-FCN#35 have it: indices as training read
    them, and colours as scoring did."""
    colours = [label.colour for label in _entry().classes]
    positions = np.array([[0, 1, 2, 2] * (W // 4)] * H, np.uint8)
    turned = _display((positions + 1) % 3, [colours[-1], *colours[:-1]])
    decoded = read_pair(_entry(), _pair(tmp_path, _photo(), turned), (H, W))
    np.testing.assert_array_equal(decoded.labels, positions)
    other = _display(positions, [*colours[1:], (7, 7, 9)])
    with pytest.raises(UserError, match=r"colour of no class, mostly \(7, 7, 9\).*save .* as grey"):
        read_pair(_entry(), _pair(tmp_path, _photo(), other), (H, W))


def test_a_palette_that_agrees_with_the_indices_is_an_index_map(tmp_path) -> None:
    """As PASCAL VOC's, whose border (255) has a colour of its own."""
    colours = [label.colour for label in _entry().classes]
    border = _display(INDICES, [*colours, *[(0, 0, 0)] * 6, (224, 224, 192)])
    decoded = read_pair(_entry(), _pair(tmp_path, _photo(), border), (H, W))
    assert decoded.labels[0, :4].tolist() == [0, 1, 2, 255]
