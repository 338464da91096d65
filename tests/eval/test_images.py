import numpy as np
import pytest
from PIL import Image

from eval.images import check_image, is_lossy, read_labels, read_palette, read_rgb
from pix2pix.common.errors import ScoringError


def save(path, mode="RGB", size=(6, 4), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return path


def test_reads_rgb_and_its_size(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert check_image(tmp_path / "a.png") == ((4, 6), "PNG", "RGB")
    assert (read_rgb(tmp_path / "a.png") == pixels).all()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("L", "grey, 8 bit"),
        ("P", "palette, 1 bit"),
        ("RGBA", "RGB with alpha"),
        ("LA", "grey with alpha"),
        ("I;16", "grey, 16 bit"),
        ("1", "grey, 1 bit"),
    ],
)
def test_refuses_what_is_not_8_bit_rgb(tmp_path, mode, said):
    with pytest.raises(ScoringError, match=rf"a\.png: must be RGB .*{said}"):
        read_rgb(save(tmp_path / "a.png", mode))


def test_refuses_16_bit_colours_which_pillow_would_cut(tmp_path):
    path = save(tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[24] = 16  # the header's bit depth
    path.write_bytes(content)
    with pytest.raises(ScoringError, match="RGB, 16 bit"):
        check_image(path)


@pytest.mark.parametrize("keep", [0, 10, 40, 200])
def test_refuses_a_truncated_file(tmp_path, keep):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:keep])
    with pytest.raises(ScoringError, match=r"a\.png: .*truncated"):
        read_rgb(tmp_path / "a.png")


def test_refuses_another_format_under_the_name_of_png(tmp_path):
    path = save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(ScoringError, match="not a PNG"):
        read_rgb(path)


def test_refuses_a_transparent_colour(tmp_path):
    path = save(tmp_path / "a.png", transparency=(0, 0, 0))
    with pytest.raises(ScoringError, match="transparent"):
        read_rgb(path)


def test_labels_are_classes_or_ignored(tmp_path):
    Image.fromarray(np.array([[0, 2], [255, 1]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", 3).tolist() == [[0, 2], [255, 1]]
    with pytest.raises(ScoringError, match=r"a\.png: class 2 is not one of the 2 classes"):
        read_labels(tmp_path / "a.png", 2)


def test_labels_may_have_a_palette_which_is_not_looked_at(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putdata([0, 1])
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(tmp_path / "a.png", bits=4)
    assert read_labels(tmp_path / "a.png", 2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("name", "options", "said", "lossy"),
    [
        ("a.jpg", {}, "JPEG", True),
        ("a.webp", {}, "WEBP", True),
        ("a.bmp", {}, "BMP", False),
        ("a.tif", {}, "TIFF", False),
        ("a.tiff", {"compression": "tiff_lzw"}, "TIFF", False),
        ("a.tiff", {"compression": "jpeg"}, "TIFF (lossy)", True),
    ],
)
def test_other_formats_are_read_and_named(tmp_path, name, options, said, lossy):
    path = save(tmp_path / name, **options)
    header = check_image(path)
    assert header == ((4, 6), said, "RGB") and is_lossy(header.format) == lossy
    assert read_rgb(path).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("a.jpg", "L", "grey, 8 bit"),
        ("a.jpg", "CMYK", "CMYK, 8 bit"),
        ("a.bmp", "1", "1, 1 bit"),
        ("a.tif", "F", "floating point, 32 bit"),
        ("a.tif", "I;16", "I;16, 16 bit"),
        ("a.webp", "RGBA", "RGB with alpha"),
    ],
)
def test_refuses_other_formats_of_other_kinds(tmp_path, name, mode, said):
    with pytest.raises(ScoringError, match=rf"{name}: must be RGB .*{said}"):
        check_image(save(tmp_path / name, mode))


def test_nan_cannot_enter_floating_point_images_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((4, 6), np.nan, np.float32)).save(path)
    with pytest.raises(ScoringError, match=r"a\.tif: must be RGB .*floating point, 32 bit"):
        read_rgb(path)


def test_refuses_images_that_are_stored_turned_or_moving(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(ScoringError, match="stored turned"):
        check_image(save(tmp_path / "a.jpg", exif=exif))
    with pytest.raises(ScoringError, match="stored turned"):  # in a chunk behind the header
        read_rgb(save(tmp_path / "a.png", exif=exif))
    more = [Image.new("RGB", (6, 4), "red")]
    path = save(tmp_path / "a.tif", save_all=True, append_images=more)
    with pytest.raises(ScoringError, match="holds 2 images"):
        check_image(path)


@pytest.mark.parametrize("keep", [0, 10, 300, 600])
def test_refuses_a_truncated_jpeg(tmp_path, keep):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ScoringError, match=r"a\.jpg: .*truncated"):
        read_rgb(path)


def test_class_indices_are_read_from_png_alone(tmp_path):
    with pytest.raises(ScoringError, match=r"a\.bmp: must be a PNG file"):
        read_labels(save(tmp_path / "a.bmp", "L"), 3)


def test_an_image_that_claims_too_many_pixels_is_refused_by_its_header(tmp_path):
    path = save(tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[16:24] = (8001).to_bytes(4, "big") + (8000).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ScoringError, match=r"a\.png: has 8000x8001 pixels; at most 64,000,000"):
        read_rgb(path)
    for side in (8001, 20000):  # Pillow itself refuses the second
        path = save(tmp_path / "a.bmp")
        content = bytearray(path.read_bytes())
        content[18:26] = side.to_bytes(4, "little") * 2
        path.write_bytes(content)
        with pytest.raises(ScoringError, match=r"a\.bmp: has .*64,000,000"):
            read_rgb(path)


def test_other_formats_are_not_opened_whatever_their_name(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n")
    with pytest.raises(ScoringError, match=r"a\.jpg: not an image that can be read"):
        read_rgb(path)


def test_the_palette_of_a_palette_image_and_of_no_other(tmp_path):
    image = Image.new("P", (6, 4))
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(tmp_path / "a.png")
    assert read_palette(tmp_path / "a.png")[:2].tolist() == [[9, 9, 9], [200, 0, 0]]
    assert read_palette(save(tmp_path / "b.png", "L")) is None
