"""Public bug reports of other programs, each tried here on files as the report describes them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.labels import choose_reader
from eval.matching import Matched, match
from pix2pix.common.errors import UserError
from pix2pix.data.cache import check_source, prepare
from pix2pix.data.decode import read_rgb
from pix2pix.data.registry import DatasetEntry, load_registry

SIZE = (16, 16)
PHOTO = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
HALVES = np.array([[0] * 8 + [1] * 8] * 16, np.uint8)
"""Class positions: the left half is of the first class."""


def put(folder: Path, image: np.ndarray | Image.Image, *names: str, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    for name in names:
        image.save(folder / name, **options)


def labelled(root: Path, image: np.ndarray | Image.Image, kind: str = "index", **classes):
    """The labels that a data set with these label maps is trained on, and its entry."""
    names = ("1.png", "2.png", "3.png")
    put(root / "photo", PHOTO, *names)
    put(root / "maps", image, *names)
    sides = {"photo": {"folder": "photo"}, "labels": {"folder": "maps", "kind": kind}}
    written = {"name": "mine", "layout": "folders", "path": ".", "sides": sides, "classes": classes}
    entry = DatasetEntry.model_validate(written)
    check_source(entry, root)
    return prepare(entry, root, SIZE, None, root / "cache").train.labels[0], entry


def test_16_bit_images_came_out_black(tmp_path) -> None:
    """https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/issues/321"""
    put(tmp_path, PHOTO[..., 0].astype(np.uint16) * 257, "same.png")
    assert np.array_equal(read_rgb(tmp_path / "same.png")[..., 1], PHOTO[..., 0])
    put(tmp_path, PHOTO[..., 0].astype(np.uint16) * 16, "12bit.png")
    with pytest.raises(UserError, match=r"12bit\.png: is 16-bit .* not 8-bit ones times 257"):
        read_rgb(tmp_path / "12bit.png")


def test_indices_in_the_red_channel(tmp_path) -> None:
    """https://github.com/Lightning-Universe/lightning-flash/issues/1400 (CARLA's masks)"""
    red = np.stack([HALVES, 0 * HALVES, 0 * HALVES], -1)
    labels, entry = labelled(tmp_path, red, road=[128, 64, 128], car=[0, 0, 142])
    assert np.array_equal(labels, HALVES)
    path = tmp_path / "maps/1.png"
    reader = choose_reader(entry, None, Matched(("1",), (path,), (path,), (path,), ""))
    assert np.array_equal(reader(path), HALVES)
    # (1, 0, 0) may be a colour, too.
    with pytest.raises(UserError, match="its values are indices of classes and its colours those"):
        labelled(tmp_path / "both", red, road=[1, 0, 0], car=[0, 0, 0])


def test_white_of_a_mask_is_a_class_and_not_what_is_ignored(tmp_path) -> None:
    """https://github.com/PaddlePaddle/PaddleSeg/issues/1110"""
    labels, entry = labelled(
        tmp_path, HALVES * 255, "palette", back=[0, 0, 0], front=[255, 255, 255]
    )
    assert np.array_equal(labels, HALVES)
    path = tmp_path / "maps/1.png"
    files = Matched(("1",), (path,), (path,), (path,), "")
    with pytest.raises(UserError, match="--label-values own or positions"):
        choose_reader(entry, None, files)
    assert np.array_equal(choose_reader(entry, "own", files)(path), HALVES)


@pytest.mark.parametrize("kind", ["index", "palette"])
def test_black_and_white_masks_of_three_channels(tmp_path, kind) -> None:
    """https://github.com/yassouali/pytorch-segmentation/issues/139"""
    masks = np.stack([HALVES * 255] * 3, -1)
    classes = {"back": {"colour": [0, 0, 0], "index": 0}}
    classes |= {"front": {"colour": [255, 255, 255], "index": 255}}
    assert np.array_equal(labelled(tmp_path, masks, kind, **classes)[0], HALVES)


def test_grey_values_that_are_not_numbered_from_0(tmp_path) -> None:
    """https://github.com/aiorhiroki/farmer/issues/29"""
    classes = {"back": {"colour": [0, 0, 1], "index": 206}}
    classes |= {"front": {"colour": [0, 0, 2], "index": 210}}
    sparse = np.where(HALVES, 210, 206).astype(np.uint8)
    assert np.array_equal(labelled(tmp_path, sparse, **classes)[0], HALVES)


def test_palettes_of_pascal_voc_are_indices(tmp_path) -> None:
    """https://github.com/torch/image/issues/202"""
    image = Image.fromarray(HALVES, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    classes = {"background": [0, 0, 0], "aeroplane": [128, 0, 0], "bicycle": [0, 128, 0]}
    assert np.array_equal(labelled(tmp_path, image, **classes)[0], HALVES)


def test_suffixes_in_capitals_and_other_suffixes_were_skipped(tmp_path) -> None:
    """https://github.com/PeterL1n/BackgroundMattingV2/issues/51 and
    https://github.com/FlyMyAI/flymyai-lora-trainer/pull/72"""
    names = ("1.PNG", "2.Jpg", "3.jpeg", "4.WEBP", "5.TIF")
    for side in "AB":
        put(tmp_path / side, PHOTO, *names)
    data = prepare(load_registry()["folder"], tmp_path, SIZE, None, tmp_path / "cache")
    assert sum(map(len, (data.train, data.val, data.test))) == len(names)


def test_hidden_files_of_a_mac_are_no_images(tmp_path) -> None:
    """https://github.com/alinlab/CSI/issues/31"""
    for side in "AB":
        put(tmp_path / side, PHOTO, "1.png", "2.png", "3.png")
        for name in ("._1.png", ".DS_Store"):
            (tmp_path / side / name).write_bytes(b"no image")
    assert check_source(load_registry()["folder"], tmp_path) == ["taken: the folders A and B"]


def test_turned_photos_beside_upright_ones(tmp_path) -> None:
    """https://github.com/kohya-ss/musubi-tuner/issues/695"""
    exif = Image.Exif()
    exif[0x0112] = 6
    for side in "AB":
        put(tmp_path / side, PHOTO, "1.jpg", "2.jpg", "3.jpg")
    put(tmp_path / "A", PHOTO, "2.jpg", exif=exif)
    with pytest.raises(UserError, match=r"A/2\.jpg: is stored turned .*-auto-orient"):
        check_source(load_registry()["folder"], tmp_path)


def test_a_colour_profile_that_cannot_be_used_is_taken_for_srgb(tmp_path) -> None:
    """https://github.com/pbs/its/pull/180"""
    put(tmp_path, PHOTO, "a.png", icc_profile=bytes(128) + b"acsp" + bytes(300))
    assert np.array_equal(read_rgb(tmp_path / "a.png"), PHOTO)


def test_grey_with_alpha(tmp_path) -> None:
    """https://github.com/lucidrains/stylegan2-pytorch/issues/108"""
    grey = Image.fromarray(PHOTO[..., 0])
    put(tmp_path, Image.merge("LA", [grey, Image.new("L", grey.size, 255)]), "opaque.png")
    assert np.array_equal(read_rgb(tmp_path / "opaque.png")[..., 2], PHOTO[..., 0])
    put(tmp_path, Image.merge("LA", [grey, grey]), "clear.png")
    with pytest.raises(UserError, match="has transparent pixels"):
        read_rgb(tmp_path / "clear.png")


def test_names_that_a_mac_has_composed(tmp_path) -> None:
    """https://github.com/rfjakob/gocryptfs/pull/992"""
    name = "Straße é"
    put(tmp_path / "t", PHOTO, unicodedata.normalize("NFC", name) + ".png")
    put(tmp_path / "g", PHOTO, unicodedata.normalize("NFD", name) + ".png")
    assert len(match(tmp_path / "t", tmp_path / "g").names) == 1
