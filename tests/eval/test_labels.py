import numpy as np
import pytest
from PIL import Image

from eval.labels import choose_reader, label_endings
from eval.matching import LABEL_IDS, TRAIN_IDS, match
from pix2pix.common.errors import UserError
from pix2pix.data.registry import find_entry, load_registry

SETS = """\
streets:
  layout: folders
  sides: {photo: {folder: "p/{split}"}, labels: {folder: "l/{split}", kind: index}}
  classes:
    road: {colour: [128, 64, 128], index: 2}
    sky: {colour: [70, 130, 180], index: 1}
    car: {colour: [0, 0, 142], index: 7}
  ignore: [9]
"""


def read_data_set(name, file=None):
    return find_entry(load_registry(file), name)


@pytest.fixture
def streets(tmp_path):
    (tmp_path / "sets.yaml").write_text(SETS)
    return read_data_set("streets", tmp_path / "sets.yaml")


@pytest.fixture
def read(tmp_path):
    """Reads label files of a data set as the command would: `read(data, {name: values})`.

    A file's values are an array, or an image as it is.
    """

    def reading(data, files, values_are=None):
        for side in ("out", "maps"):
            (tmp_path / side).mkdir(exist_ok=True)
        for name, values in files.items():
            if not isinstance(values, Image.Image):
                values = Image.fromarray(np.array(values, np.uint8))
            key = name.partition("_gtFine")[0].partition(".")[0]
            Image.new("RGB", values.size).save(tmp_path / "out" / f"{key}.png")
            values.save(tmp_path / "maps" / name)
        out, maps = tmp_path / "out", tmp_path / "maps"
        found = match(out, out, maps, label_endings=label_endings(data))
        reader = choose_reader(data, values_are, found)
        reading.record = reader.record(found.labels)
        return [reader(path).tolist() for path in found.labels]

    return reading


def test_the_label_files_of_cityscapes_that_classes_describe():
    assert label_endings(read_data_set("camvid")) == (TRAIN_IDS, "_gtFine_color")
    assert label_endings(read_data_set("cityscapes_gtfine"))[1] == LABEL_IDS
    assert label_endings(read_data_set("cityscapes")) == (TRAIN_IDS, "_gtFine_color")


def test_index_maps_of_positions_and_of_the_data_sets_ignored_value(read):
    assert read(read_data_set("camvid"), {"a.png": [[0, 10, 11, 255]]}) == [[[0, 10, 255, 255]]]


def test_index_maps_in_the_data_sets_own_values(streets, read):
    assert read(streets, {"a.png": [[2, 1]], "b.png": [[7, 9]]}) == [[[0, 1]], [[2, 255]]]


def test_index_maps_in_positions_where_no_value_could_be_the_data_sets_own(streets, read):
    assert read(streets, {"a.png": [[0, 1, 2, 255]]}) == [[[0, 1, 2, 255]]]


def test_ambiguous_index_maps_are_refused_without_label_values(streets, read):
    with pytest.raises(UserError, match=r"values of streets's own .*--label-values own or pos"):
        read(streets, {"a.png": [[1, 2]]})
    assert read(streets, {"a.png": [[1, 2]]}, "positions") == [[[1, 2]]]
    assert read.record == {"read_as": "class positions", "read_by_colours": 0}
    assert read(streets, {"a.png": [[1, 2]]}, "own") == [[[1, 0]]]
    assert read.record["read_as"] == "the data set's own values"


def test_ambiguous_index_maps_are_refused_also_if_the_rest_is_ignored(read):
    full = read_data_set("cityscapes_gtfine")
    with pytest.raises(UserError, match=r"values of cityscapes_gtfine's own"):
        read(full, {"a.png": [[7, 8, 11]]})
    # A value that the data set's own files never have, and one that no position has.
    assert read(full, {"a.png": [[7, 8, 255]]}) == [[[7, 8, 255]]]
    assert read(full, {"a.png": [[7, 8, 33]]}) == [[[0, 1, 18]]]


def test_index_maps_with_the_same_meaning_either_way_are_read(streets, read):
    assert read(streets, {"a.png": [[1, 1]]}) == [[[1, 1]]]


def test_a_runs_own_labels_are_positions(streets, read, tmp_path):
    (tmp_path / "journal.jsonl").write_text("")
    assert read(streets, {"a.png": [[1, 2]]}) == [[[1, 2]]]


def test_label_values_must_not_contradict_cityscapes_names(read):
    with pytest.raises(UserError, match=r"NAME_gtFine_labelIds files hold own"):
        read(read_data_set("cityscapes_gtfine"), {"a_gtFine_labelIds.png": [[7]]}, "positions")


def of_palette(values, palette):
    image = Image.fromarray(np.array(values, np.uint8))
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in palette for value in colour])
    return image


ROAD, SKY, CAR = (128, 64, 128), (70, 130, 180), (0, 0, 142)


def test_a_palette_of_the_classes_colours_is_read_by_its_colours(streets, read):
    # By its indices this map would be sky, road and an error.
    image = of_palette([[1, 2, 0]], [(0, 0, 0), CAR, ROAD])
    assert read(streets, {"a.png": image}) == [[[2, 0, 255]]]
    assert read.record["read_as"] == "colours" and read.record["read_by_colours"] == 1
    assert read(read_data_set("cityscapes_gtfine"), {"a.png": image}) == [[[13, 0, 255]]]


def test_a_palette_of_greys_or_of_other_colours_is_read_by_index(read):
    camvid = read_data_set("camvid")
    greys = of_palette([[0, 10, 11]], [(i, i, i) for i in range(256)])
    assert read(camvid, {"a.png": greys}) == [[[0, 10, 255]]]
    other = of_palette([[0, 10, 11]], [(9, i, 200) for i in range(12)])
    assert read(camvid, {"a.png": other}) == [[[0, 10, 255]]]
    assert read.record == {"read_as": "class positions", "read_by_colours": 0}


def test_a_palette_of_some_classes_colours_and_others_is_refused(streets, read):
    image = of_palette([[1, 2, 3]], [(0, 0, 0), CAR, ROAD, (1, 2, 3)])
    with pytest.raises(UserError, match=r"a\.png: .*colour of no class, mostly \(1, 2, 3\)"):
        read(streets, {"a.png": image})
    rest = streets.model_copy(update={"ignore": "rest"})
    with pytest.raises(UserError, match=r"mostly \(1, 2, 3\).*save the file as grey"):
        read(rest, {"a.png": image})
    unused = of_palette([[1, 2, 1]], [(0, 0, 0), CAR, ROAD, (1, 2, 3)])
    assert read(streets, {"a.png": unused}) == [[[2, 0, 2]]]
    # The labels of this data set are painted: another palette is no display of indices.
    other = of_palette([[1]], [(9, i, 200) for i in range(9)])
    with pytest.raises(UserError, match=r"a\.png: .*no class, mostly \(9, 1, 200\).* of facades"):
        read(read_data_set("facades"), {"a.png": other})


def test_painted_maps_may_have_an_opaque_alpha_channel(streets, read):
    # As cityscapesScripts writes NAME_gtFine_color.
    painted = np.array([[[*SKY, 255], [0, 0, 0, 255]]], np.uint8)
    assert read(streets, {"a_gtFine_color.png": painted}) == [[[1, 255]]]
    painted[0, 1, 3] = 254
    with pytest.raises(UserError, match=r"a_gtFine_color\.png: .*has transparent pixels"):
        read(streets, {"a_gtFine_color.png": painted})


def test_cityscapes_files_are_read_by_their_names(read):
    full = read_data_set("cityscapes_gtfine")
    assert read(full, {"a_gtFine_labelIds.png": [[7, 8, 33, 0]]}) == [[[0, 1, 18, 255]]]
    assert read(full, {"a_gtFine_labelTrainIds.png": [[7, 8, 255]]}) == [[[7, 8, 255]]]


def test_painted_maps_are_read_by_exact_colour_and_black_is_ignored(streets, read):
    painted = [[[70, 130, 180], [0, 0, 142], [0, 0, 0]]]
    assert read(streets, {"a.png": painted}) == [[[1, 2, 255]]]


def test_painted_jpeg_is_read_by_the_nearest_colour(streets, read):
    sky = np.tile(np.uint8([70, 130, 180]), (8, 8, 1))
    assert np.unique(read(streets, {"a.jpg": sky})).tolist() == [1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[2, 5]], r"a\.png: has the value 5, which no class has; allowed: 1, 2, 7, 9"),
        ([[[70, 130, 181]]], r"a\.png: .*colour of no class, mostly \(70, 130, 181\)"),
    ],
)
def test_unknown_values_and_colours_are_named_with_the_file(streets, read, values, reason):
    with pytest.raises(UserError, match=reason):
        read(streets, {"a.png": values})


def test_grey_masks_of_painted_labels_are_never_taken_for_positions(read, tmp_path):
    """Black and white masks: 255 is a class, not the ignored value."""
    (tmp_path / "masks.yaml").write_text("""\
masks:
  layout: folders
  sides: {photo: {folder: p}, labels: {folder: l, kind: palette}}
  classes: {back: [0, 0, 0], front: [255, 255, 255]}
""")
    masks = read_data_set("masks", tmp_path / "masks.yaml")
    with pytest.raises(UserError, match="--label-values own or positions"):
        read(masks, {"a.png": [[0, 255]]})
    assert read(masks, {"a.png": [[0, 255]]}, "own") == [[[0, 1]]]
    assert read(masks, {"a.png": [[0, 1]]}) == [[[0, 1]]]


def test_a_palette_that_agrees_with_the_indices_needs_no_colour_for_every_value(streets, read):
    """As in PASCAL VOC, whose border has a colour of its own."""
    palette = [(0, 0, 0), SKY, ROAD, *[(0, 0, 0)] * 6, (224, 224, 192)]
    assert read(streets, {"a.png": of_palette([[1, 2, 9]], palette)}, "own") == [[[1, 0, 255]]]
