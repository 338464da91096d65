"""Which files form pairs, in each layout, and the errors when they do not match."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.layouts import find_pairs, listing_digest
from pix2pix.data.registry import load_registry


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not decoded here")


def _camvid(root: Path, counts: dict[str, int]) -> None:
    """SegNet's folders; the split test has as many pairs as val, where it is not named."""
    for split, count in ({"test": counts["val"]} | counts).items():
        (root / "camvid" / split).mkdir(parents=True, exist_ok=True)
        (root / "camvid" / f"{split}annot").mkdir(exist_ok=True)
        for index in range(count):
            _touch(root / "camvid" / split / f"{index:02d}.jpg")
            _touch(root / "camvid" / f"{split}annot" / f"{index:02d}.png")


def _names(pairs) -> dict[str, list[str]]:
    return {split: [pair.name for pair in found] for split, found in pairs.items()}


def test_photo_and_index_map_folders(tmp_path) -> None:
    _camvid(tmp_path, {"train": 2, "val": 1, "test": 3})
    pairs = find_pairs(load_registry()["camvid"], tmp_path)
    assert _names(pairs) == {"train": ["00", "01"], "val": ["00"], "test": ["00", "01", "02"]}
    assert dict(pairs["train"][1].files) == {
        "photo": str(tmp_path / "camvid/train/01.jpg"),
        "labels": str(tmp_path / "camvid/trainannot/01.png"),
    }


def test_side_by_side_names_one_file_for_both(tmp_path) -> None:
    for split in ("train", "val", "test"):
        _touch(tmp_path / "facades" / split / "1.jpg")
    pairs = find_pairs(load_registry()["facades"], tmp_path)
    assert {path for _, path in pairs["val"][0].files} == {str(tmp_path / "facades/val/1.jpg")}


def test_cityscapes_tree(tmp_path) -> None:
    root = tmp_path / "cityscapes_gtfine"
    for split, city in (("train", "aachen"), ("train", "bonn"), ("val", "lindau")):
        stem = f"{city}_000000_000019"
        _touch(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
        for kind in ("labelIds", "instanceIds", "color"):
            _touch(root / "gtFine" / split / city / f"{stem}_gtFine_{kind}.png")
    pairs = find_pairs(load_registry()["cityscapes_gtfine"], tmp_path)
    assert _names(pairs)["train"] == ["aachen_000000_000019", "bonn_000000_000019"]
    assert _names(pairs)["test"] == ["lindau_000000_000019"]
    assert pairs["val"][0].files[1][1].endswith("lindau_000000_000019_gtFine_labelIds.png")


@pytest.mark.parametrize(
    ("count", "val", "test"),
    [(3, [1], [0]), (5, [1], [0]), (6, [5], [0]), (21, [5, 15], [0, 10, 20])],
)
def test_a_folder_of_pairs_is_split_the_same_way_each_time(tmp_path, count, val, test) -> None:
    for side in "AB":
        for index in range(count):
            _touch(tmp_path / side / f"{index:02d}.png")
    names = _names(find_pairs(load_registry()["folder"], tmp_path))
    assert names["val"] == [f"{index:02d}" for index in val]
    assert names["test"] == [f"{index:02d}" for index in test]
    assert sorted(name for split in names.values() for name in split) == [
        f"{index:02d}" for index in range(count)
    ]


def test_a_folder_with_splits_of_its_own(tmp_path) -> None:
    for side in "AB":
        for split, count in (("train", 2), ("test", 1)):
            for index in range(count):
                _touch(tmp_path / side / split / f"{index}.png")
    names = _names(find_pairs(load_registry()["folder"], tmp_path))
    assert names == {"train": ["0", "1"], "val": ["0"], "test": ["0"]}


def test_too_few_pairs_and_missing_folders(tmp_path) -> None:
    folder = load_registry()["folder"]
    with pytest.raises(UserError, match=r"folder: there is no folder .*none; point --data-root"):
        find_pairs(folder, tmp_path / "none")
    _touch(tmp_path / "A" / "1.png")
    with pytest.raises(UserError, match=r"there is no folder .*/B$"):
        find_pairs(folder, tmp_path)
    _touch(tmp_path / "B" / "1.png")
    with pytest.raises(UserError, match="hold 1 pairs; at least 3"):
        find_pairs(folder, tmp_path)
    _touch(tmp_path / "A" / "train" / "1.png")
    with pytest.raises(UserError, match="neither val nor test"):
        find_pairs(folder, tmp_path)


def test_a_missing_set_says_how_to_get_it(tmp_path) -> None:
    registry = load_registry()
    with pytest.raises(UserError, match=r"--download facades --data-root") as caught:
        find_pairs(registry["facades"], tmp_path)
    assert str(tmp_path / "facades") in str(caught.value)
    with pytest.raises(UserError, match=r"get it from https://github.com/.*SegNet"):
        find_pairs(registry["camvid"], tmp_path)


def test_photos_without_labels_and_labels_without_photos(tmp_path) -> None:
    _camvid(tmp_path, {"train": 2, "val": 1})
    for index in range(5):
        _touch(tmp_path / "camvid/train" / f"x{index}.jpg")
    _touch(tmp_path / "camvid/trainannot/y.png")
    with pytest.raises(UserError) as caught:
        find_pairs(load_registry()["camvid"], tmp_path)
    assert str(caught.value) == (
        "camvid: train: names do not match: 5 of photo without labels: x0, x1, x2, …; "
        "1 of labels without photo: y"
    )


def test_an_empty_split(tmp_path) -> None:
    _camvid(tmp_path, {"train": 1, "val": 1})
    for folder in ("val", "valannot"):
        for file in (tmp_path / "camvid" / folder).iterdir():
            file.unlink()
    with pytest.raises(UserError, match=r"^camvid: the split val is empty: no \.png"):
        find_pairs(load_registry()["camvid"], tmp_path)


def test_two_cities_with_one_image_name(tmp_path) -> None:
    for split, city in (("train", "a"), ("train", "b"), ("val", "a")):
        for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
            _touch(tmp_path / "cityscapes_gtfine" / folder / split / city / f"0_{ending}.png")
    with pytest.raises(UserError, match=r"/b/0_\w+\.png: has the name of .*/a/0_\w+\.png"):
        find_pairs(load_registry()["cityscapes_gtfine"], tmp_path)


def test_two_files_of_one_name(tmp_path) -> None:
    _camvid(tmp_path, {"train": 1, "val": 1})
    _touch(tmp_path / "camvid/train/00.png")
    with pytest.raises(UserError, match=r"00\.\w+: has the name of .*; keep one of them"):
        find_pairs(load_registry()["camvid"], tmp_path)


def test_stray_files_are_passed_over_and_odd_names_refused(tmp_path) -> None:
    _camvid(tmp_path, {"train": 1, "val": 1})
    for stray in ("._00.jpg", "Thumbs.db", "notes.txt"):
        _touch(tmp_path / "camvid/train" / stray)
    assert _names(find_pairs(load_registry()["camvid"], tmp_path))["train"] == ["00"]
    _touch(tmp_path / "camvid/train/a\nb.jpg")
    with pytest.raises(UserError, match="is not printable text") as caught:
        find_pairs(load_registry()["camvid"], tmp_path)
    assert "\n" not in str(caught.value)


def test_names_composed_differently_match(tmp_path) -> None:
    _camvid(tmp_path, {"train": 1, "val": 1})
    _touch(tmp_path / "camvid/train" / (unicodedata.normalize("NFD", "größe") + ".jpg"))
    _touch(tmp_path / "camvid/trainannot" / (unicodedata.normalize("NFC", "größe") + ".png"))
    assert "größe" in _names(find_pairs(load_registry()["camvid"], tmp_path))["train"]


def test_the_listing_changes_with_a_file_and_not_with_the_place(tmp_path) -> None:
    entry = load_registry()["folder"]
    image = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    for place in ("one", "two"):
        for side in "AB":
            (tmp_path / place / side).mkdir(parents=True)
            for index in range(3):
                file = tmp_path / place / side / f"{index}.png"
                image.save(file)
                os.utime(file, ns=(7, 7))
    digests = [
        listing_digest(find_pairs(entry, tmp_path / p), tmp_path / p) for p in ("one", "two")
    ]
    assert digests[0] == digests[1]
    os.utime(tmp_path / "one/A/1.png", ns=(8, 8))
    changed = listing_digest(find_pairs(entry, tmp_path / "one"), tmp_path / "one")
    assert changed != digests[0]


@pytest.mark.parametrize(
    "name", ["\x1b[31m.png", "nl\n.png", "\u202egnp.png", "x" * 210 + ".png", "\udcff.png"]
)
def test_names_that_no_file_of_ours_could_have(tmp_path, name: str) -> None:
    entry = load_registry()["maps"]
    for split in ("train", "val", "test"):
        folder = tmp_path / "maps" / split
        folder.mkdir(parents=True)
        (folder / "1.jpg").touch()
    (tmp_path / "maps" / "train" / name).touch()
    with pytest.raises(UserError) as caught:
        find_pairs(entry, tmp_path)
    assert str(caught.value).isprintable()


def test_names_that_are_odd_but_honest(tmp_path) -> None:
    entry = load_registry()["maps"]
    names = ["=1+1", "-rf", "<script>", "a_b&c%d#{}$", "CON", "straße", "a b", "@x", "100%"]
    for split in ("train", "val", "test"):
        (tmp_path / "maps" / split).mkdir(parents=True)
        for name in names:
            (tmp_path / "maps" / split / f"{name}.jpg").touch()
    assert {pair.name for pair in find_pairs(entry, tmp_path)["train"]} == set(names)
