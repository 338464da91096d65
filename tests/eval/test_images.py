import numpy as np
import pytest
from PIL import Image

from eval.errors import ScoringError
from eval.images import check_png, matched_files, png_files, read_labels, read_rgb


def save(path, mode="RGB", size=(6, 4), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return path


def test_reads_rgb_and_its_size(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert check_png(tmp_path / "a.png", ("RGB",)) == (4, 6)
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
        check_png(path, ("RGB",))


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


def test_lists_png_files_by_stem_and_passes_notes_over(tmp_path):
    save(tmp_path / "b.png")
    save(tmp_path / "a.PNG", format="PNG")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    assert list(png_files(tmp_path)) == ["a", "b"]


def test_refuses_folders_that_cannot_be_scored(tmp_path):
    with pytest.raises(ScoringError, match="no such folder"):
        png_files(tmp_path / "absent")
    with pytest.raises(ScoringError, match="no PNG file"):
        png_files(tmp_path)
    save(tmp_path / "a.jpg")
    with pytest.raises(ScoringError, match=r"a\.jpg: must be a PNG"):
        png_files(tmp_path)


def test_names_the_first_unmatched_files_on_both_sides(tmp_path):
    for name in ("same", "x1", "x2", "x3", "x4"):
        save(tmp_path / "one" / f"{name}.png")
    for name in ("same", "y"):
        save(tmp_path / "two" / f"{name}.png")
    with pytest.raises(ScoringError) as error:
        matched_files([tmp_path / "one", tmp_path / "two"])
    assert "4 only in" in str(error.value) and "(x1, x2, x3, …)" in str(error.value)
    assert "1 only in" in str(error.value) and "(y)" in str(error.value)
