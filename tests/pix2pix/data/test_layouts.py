"""Which files form pairs, in each layout, and the errors when they do not match."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.cache import check_source
from pix2pix.data.layouts import find_pairs, listing_digests, passed_over
from pix2pix.data.recognise import located
from pix2pix.data.registry import DatasetEntry, load_registry


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


def _all_names(pairs) -> list[str]:
    return sorted(pair.name for found in pairs.values() for pair in found)


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


@pytest.mark.parametrize("other", ["val", "test"])
def test_an_empty_folder_of_training_pairs_is_not_replaced(tmp_path, other) -> None:
    for side in "AB":
        (tmp_path / side / "train").mkdir(parents=True)
        _touch(tmp_path / side / other / "1.png")
    with pytest.raises(UserError, match="folder: the split train is empty"):
        find_pairs(load_registry()["folder"], tmp_path)


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

    def digests(place: str) -> tuple[str, str]:
        return listing_digests(find_pairs(entry, tmp_path / place), tmp_path / place)

    before = digests("one")
    assert before[0] == digests("two")[0]
    # Other pixels with the size and time of the old ones, as `cp -a` and rsync bring them.
    file = tmp_path / "one/A/1.png"
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(7, 7))
    assert digests("one")[0] == before[0] and digests("one")[1] != before[1]
    os.utime(file, ns=(8, 8))
    assert digests("one")[0] != before[0]


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


def _pictures(root: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name)


def _located(root: Path):
    return located(load_registry()["folder"], root)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"], "folders a and b"),
        (
            ["trainA/1.png", "trainB/1.png", "testA/2.png", "testB/2.png"],
            "train from trainA and trainB, test from testA and testB",
        ),
        (["Train_A/1.png", "Train_B/1.png", "valid_A/2.png", "valid_B/2.png"], "Train_A and Train"),
        (["train/A/1.png", "train/B/1.png", "Test/A/2.png", "Test/B/2.png"], "A and B in train"),
        ([f"{n}{e}.png" for n in ("01", "02", "11") for e in ("", "_L")], r"NAME and NAME_L\.png"),
    ],
)
def test_layouts_that_everybody_has_are_recognised(tmp_path, names, taken) -> None:
    _pictures(tmp_path, *names)
    entry, text = _located(tmp_path)
    assert re.search(taken, text)
    pairs = find_pairs(entry, tmp_path)
    read = {path for found in pairs.values() for pair in found for _, path in pair.files}
    assert {os.path.relpath(path, tmp_path) for path in read} == set(names)
    assert not passed_over(tmp_path, read)
    for found in pairs.values():
        for pair in found:
            (a, first), (b, second) = pair.files
            assert (a, b) == ("A", "B") and first != second


def _unpaired(root: Path):
    entry, _ = located(load_registry()["unpaired"], root)
    return find_pairs(entry, root)


def test_unpaired_sides_have_names_and_numbers_of_their_own(tmp_path) -> None:
    _pictures(tmp_path, *(f"trainA/h{n}.png" for n in range(3)), "trainB/z0.png", "trainB/z1.png")
    _pictures(tmp_path, "testA/h7.png", "testA/h8.png", *(f"testB/z{n}.png" for n in range(4)))
    found = _unpaired(tmp_path)
    by_side = [
        [[pair.name_of(role) for pair in found[split] if role in dict(pair.files)] for role in "AB"]
        for split in ("train", "test")
    ]
    # All for training; for the test as many as the shorter side has, evenly.
    assert by_side == [[["h0", "h1", "h2"], ["z0", "z1"]], [["h7", "h8"], ["z0", "z2"]]]
    assert [pair.name for pair in found["train"]] == ["h0 | z0", "h1 | z1", "h2"]
    read = {path for pairs in found.values() for pair in pairs for _, path in pair.files}
    assert passed_over(tmp_path, read) == "2 .png (testB/z1.png, testB/z3.png)"
    with pytest.raises(UserError, match=r"names do not match: .*--dataset unpaired"):
        entry, _ = _located(tmp_path)
        find_pairs(entry, tmp_path)


def test_unpaired_sides_without_splits_are_divided_each_by_itself(tmp_path) -> None:
    _pictures(tmp_path, *(f"A/{n:02d}.png" for n in range(20)), *(f"B/z{n}.png" for n in range(7)))
    found = _unpaired(tmp_path)
    taken = {
        split: ([p.name_of("A") for p in pairs], [dict(p.own_names).get("B") for p in pairs])
        for split, pairs in found.items()
    }
    assert taken["test"] == (["00"], ["z0"]) and taken["val"] == (["05"], ["z5"])
    assert taken["train"][1] == ["z1", "z2", "z3", "z4", "z6"] + 11 * [None]


def test_unpaired_images_of_an_empty_side_or_in_halves_are_refused(tmp_path) -> None:
    _pictures(tmp_path, "trainA/h0.png", "trainB/z0.png", "testA/h1.png")
    (tmp_path / "testB").mkdir()
    with pytest.raises(UserError, match=r"the split val of B is empty: no \.png.*/testB$"):
        _unpaired(tmp_path)
    halves = tmp_path / "halves"
    _pictures(halves, "train/1.png", "val/3.png", size=(16, 8))
    with pytest.raises(UserError, match="none of the known layouts"):
        _unpaired(halves)


def test_what_is_wrong_with_unpaired_images_is_said_as_it_is(tmp_path) -> None:
    _pictures(tmp_path, "A/1.png", "A/2.png", *(f"B/{n}.png" for n in range(3)))
    with pytest.raises(UserError, match=r"/A holds 2 images of A; at least 3 are needed"):
        _unpaired(tmp_path)
    # The entry to write has no pairs either.
    with pytest.raises(UserError, match=r"mine: \{.* unpaired: true, sides"):
        _unpaired(tmp_path / "A")


@pytest.mark.parametrize("name", ["folder", "unpaired"])
@pytest.mark.parametrize("folders", ["A B", "trainA trainB testA testB", "train/A train/B"])
def test_photos_of_two_sides_are_asked_for_by_side(tmp_path, name, folders) -> None:
    _pictures(tmp_path, *(f"{folder}/1.png" for folder in [*folders.split(), "val/A", "val/B"]))
    with pytest.raises(UserError, match=r"of two sides, A and B; .* --direction grey->B"):
        located(load_registry()[name], tmp_path, "grey->photo")


def test_a_recognised_layout_keeps_the_fields_of_its_sides(tmp_path) -> None:
    _pictures(tmp_path, "trainA/1.png", "trainB/1.png", "testA/2.png", "testB/2.png")
    folder = load_registry()["folder"].model_dump(by_alias=True)
    folder["sides"]["A"]["grey"] = True
    sides = located(DatasetEntry.model_validate(folder), tmp_path)[0].sides
    assert (sides["A"].folder, sides["A"].grey, sides["B"].grey) == ("{split}A", True, False)


def test_the_ports_folder_of_halves_is_recognised(tmp_path) -> None:
    _pictures(tmp_path, "train/1.png", "train/2.png", "val/3.png", size=(16, 8))
    entry, text = _located(tmp_path)
    assert entry.layout == "side-by-side" and "train, val whose left half is A" in text
    assert _names(find_pairs(entry, tmp_path)) == {"train": ["1", "2"], "val": ["3"], "test": ["3"]}
    # Panoramas, perhaps: told, not guessed.
    _pictures(tmp_path, "val/3.png", size=(20, 8))
    with pytest.raises(
        UserError, match=r"none of the known layouts; found: train/ \(2 images\), val"
    ):
        _located(tmp_path)


def test_an_image_that_is_no_two_halves_is_named(tmp_path) -> None:
    _pictures(tmp_path, *(f"train/{n}.png" for n in range(5)), "val/3.png", size=(16, 8))
    _pictures(tmp_path, "train/4.png", size=(8, 8))
    with pytest.raises(UserError, match=r"train/4\.png: is 8×8; .* twice as wide as high"):
        check_source(load_registry()["folder"], tmp_path)


def test_training_images_alone_are_told(tmp_path) -> None:
    _pictures(tmp_path, "trainA/1.png", "trainB/1.png")
    with pytest.raises(UserError, match="for training, but none for val or test"):
        _located(tmp_path)


def test_why_a_name_has_no_counterpart(tmp_path) -> None:
    _pictures(tmp_path, "A/1.png", "A/2.png", "A/3.png", "B/2.png", "B/3.png")
    (tmp_path / "B/1.gif").touch()
    with pytest.raises(UserError, match=r"1 of A without B: 1; \S+/B/1\.gif is not read \(\.gif\)"):
        find_pairs(load_registry()["folder"], tmp_path)
    (tmp_path / "B/1.gif").unlink()
    (tmp_path / "B/2.png").rename(tmp_path / "B/IMG.png")
    (tmp_path / "A/1.png").rename(tmp_path / "A/img.png")
    with pytest.raises(UserError, match=r"(img and IMG|IMG and img) differ in case"):
        find_pairs(load_registry()["folder"], tmp_path)


def test_the_entry_as_it_is_written_stays_the_same(tmp_path) -> None:
    folder = load_registry()["folder"]
    _pictures(tmp_path, *(f"{side}/{n}.png" for side in "AB" for n in range(3)))
    assert _located(tmp_path)[0] == folder
    assert located(load_registry()["camvid"], tmp_path) == (load_registry()["camvid"], "")


def test_several_layouts_or_none_are_told(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none of the known layouts; found: nothing; .*--datasets"):
        _located(tmp_path)
    _pictures(tmp_path, "trainA/1.png", "trainB/1.png", "testA/1.png", "testB/1.png")
    _pictures(tmp_path, "A/1.png", "B/1.png")
    with pytest.raises(UserError, match=r"fits several layouts \(the folders A and B; train from"):
        _located(tmp_path)


@pytest.mark.parametrize("name", ["validation", "Val", "VALID"])
def test_folders_of_splits_in_other_words_and_any_case(tmp_path, name) -> None:
    for side in "AB":
        _pictures(tmp_path / side, "Train/1.png", f"{name}/2.png", "testing/3.png")
    names = _names(find_pairs(load_registry()["folder"], tmp_path))
    assert names == {"train": ["1"], "val": ["2"], "test": ["3"]}
    _pictures(tmp_path / "A", "test/3.png")
    with pytest.raises(UserError, match="has test and testing; keep one"):
        find_pairs(load_registry()["folder"], tmp_path)


def test_endings_match_in_any_case_and_the_longest_of_a_folder_wins(tmp_path) -> None:
    sides = {
        "photo": {"folder": ".", "ending": ".jpg"},
        "maps": {"folder": ".", "ending": "_L.jpg"},
    }
    entry = DatasetEntry.model_validate({"name": "mine", "layout": "folders", "sides": sides})
    _pictures(tmp_path / "mine", *(f"{n}{e}.jpg" for n in "abc" for e in ("", "_L")))
    _pictures(tmp_path / "mine", "d.JPG", "d_l.JPG")
    assert _all_names(find_pairs(entry, tmp_path)) == ["a", "b", "c", "d"]


def test_jfif_and_files_without_a_suffix_are_images_if_their_bytes_are(tmp_path) -> None:
    for side in "AB":
        _pictures(tmp_path / side, "1.png", "2.png", "3.0.png")
        Image.new("RGB", (4, 4)).save(tmp_path / side / "4.JFIF", "JPEG")
        Image.new("RGB", (4, 4)).save(tmp_path / side / "5", "PNG")
        Image.new("RGB", (4, 4)).save(tmp_path / side / "frame.0006", "WEBP")
        (tmp_path / side / "7").write_text("no image")
    names = _all_names(find_pairs(load_registry()["folder"], tmp_path))
    assert names == ["1", "2", "3.0", "4", "5", "frame.0006"]


def test_what_is_passed_over_is_said_with_number_reason_and_names(tmp_path) -> None:
    for side in "AB":
        _pictures(tmp_path / side, "1.png", "2.png", "3.png", "more/4.png", "more/deep/5.png")
        Image.new("P", (4, 4)).save(tmp_path / side / "f.gif")
        (tmp_path / side / "g.png").symlink_to("/nowhere/g.png")
        (tmp_path / side / "notes.txt").touch()
        (tmp_path / side / ".hidden.png").touch()
        (tmp_path / side / "8").touch()
        (tmp_path / side / "empty").mkdir()
    pairs = find_pairs(load_registry()["folder"], tmp_path)
    read = [path for found in pairs.values() for pair in found for _, path in pair.files]
    assert passed_over(tmp_path, read) == (
        "2 .gif (A/f.gif, B/f.gif), 2 files without a suffix (A/8, B/8), "
        "2 links to nowhere (A/g.png, B/g.png), 2 sub-folders with 4 images (A/more, B/more)"
    )


def test_images_beside_the_folders_of_splits_are_passed_over_aloud(tmp_path) -> None:
    for side in "AB":
        _pictures(tmp_path / side, "train/1.png", "test/2.png", "3.png", "extra/4.png")
    pairs = find_pairs(load_registry()["folder"], tmp_path)
    read = [path for found in pairs.values() for pair in found for _, path in pair.files]
    said = passed_over(tmp_path, read)
    assert "2 .png (A/3.png, B/3.png)" in said and "2 sub-folders with 2 images (A/extra" in said
