import numpy as np
import pytest
from PIL import Image

from eval.errors import ScoringError
from eval.matching import LABEL_IDS, TRAIN_IDS, match
from eval.registry import read_data_set

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


@pytest.fixture
def streets(tmp_path):
    (tmp_path / "sets.yaml").write_text(SETS)
    return read_data_set("streets", tmp_path / "sets.yaml")


@pytest.fixture
def read(tmp_path):
    """Reads label files of a data set as the command would: `read(data, {name: values})`."""

    def reading(data, files):
        for side in ("out", "maps"):
            (tmp_path / side).mkdir(exist_ok=True)
        for name, values in files.items():
            values = np.array(values, np.uint8)
            key = name.partition("_gtFine")[0].partition(".")[0]
            Image.new("RGB", values.shape[1::-1]).save(tmp_path / "out" / f"{key}.png")
            Image.fromarray(values).save(tmp_path / "maps" / name)
        out, maps = tmp_path / "out", tmp_path / "maps"
        found = match(out, out, maps, label_endings=data.label_endings)
        reader = data.label_reader(found)
        return [reader(path).tolist() for path in found.labels]

    return reading


def test_tells_classes_palette_and_direction(streets):
    assert streets.class_names == ("road", "sky", "car")
    assert streets.palette.tolist() == [[128, 64, 128], [70, 130, 180], [0, 0, 142]]
    assert (streets.direction, streets.labels_are) == ("labels->photo", "input")
    assert read_data_set("maps").labels_are is None
    assert read_data_set("camvid").label_endings == (TRAIN_IDS, "_gtFine_color")
    assert read_data_set("cityscapes_gtfine").label_endings[1] == LABEL_IDS


def test_index_maps_of_positions_and_of_the_data_sets_ignored_value(read):
    assert read(read_data_set("camvid"), {"a.png": [[0, 10, 11, 255]]}) == [[[0, 10, 255, 255]]]


def test_index_maps_in_the_data_sets_own_values(streets, read):
    assert read(streets, {"a.png": [[2, 1]], "b.png": [[7, 9]]}) == [[[0, 1]], [[2, 255]]]


def test_index_maps_in_positions_where_no_value_could_be_the_data_sets_own(streets, read):
    assert read(streets, {"a.png": [[0, 1, 2, 255]]}) == [[[0, 1, 2, 255]]]


def test_what_could_be_either_is_refused(streets, read):
    with pytest.raises(ScoringError, match=r"may hold the values of streets or class positions"):
        read(streets, {"a.png": [[1, 2]]})


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
    ("values", "said"),
    [
        ([[2, 5]], r"a\.png: the value 5 is no class of streets \(3 classes; 255 is ignored\)"),
        ([[[70, 130, 181]]], r"a\.png: .*colour of no class, mostly \(70, 130, 181\)"),
    ],
)
def test_unknown_values_and_colours_are_named_with_the_file(streets, read, values, said):
    with pytest.raises(ScoringError, match=said):
        read(streets, {"a.png": values})


def test_unknown_data_sets_are_one_line(tmp_path):
    with pytest.raises(ScoringError, match="'camvit' is unknown"):
        read_data_set("camvit")
    with pytest.raises(ScoringError, match=r"no\.yaml"):
        read_data_set("camvid", tmp_path / "no.yaml")
