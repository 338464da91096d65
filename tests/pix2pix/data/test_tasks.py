import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.config import GeneratorSettings
from pix2pix.data import procedural, tasks
from pix2pix.data.batches import Batches, to_float
from pix2pix.data.cache import check_source, prepare
from pix2pix.data.registry import load_registry
from pix2pix.networks import PatchDiscriminator, build_generator, parameter_count

SIZE = (32, 32)
FOLDER = load_registry()["folder"]


def photo(size=64):
    return procedural.draw("test", 0, size)[1]


@pytest.fixture
def photos(tmp_path):
    """Twelve photos in a folder, in no layout at all."""
    root = tmp_path / "photos"
    root.mkdir()
    for index in range(12):
        Image.fromarray(procedural.draw("val", index, 40)[1]).save(root / f"{index}.png")
    return root


def test_every_8_bit_colour_comes_back_from_lab():
    steps = np.unique([*range(0, 256, 5), 1, 2, 3, 254])
    lattice = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3).astype(np.uint8)
    lab = tasks.to_lab(lattice)
    back, beyond = tasks.from_lab(lab[..., :1], lab[..., 1:])
    assert np.array_equal(back, lattice) and beyond == 0


def test_lab_is_cie_lab_with_d65():
    white, red = np.full((1, 1, 3), 255, np.uint8), np.array([[[255, 0, 0]]], np.uint8)
    assert tasks.to_lab(white)[0, 0].tolist() == pytest.approx([tasks.SCALE, 0, 0], abs=2)
    l, a, b = tasks.to_lab(red)[0, 0] / tasks.SCALE  # noqa: E741
    assert ((l + 1) * 50, a * 110, b * 110) == pytest.approx((53.24, 80.09, 67.20), abs=0.02)


def test_colours_beyond_srgb_are_clipped_and_counted():
    lightness = np.full((2, 2, 1), tasks.SCALE, np.int16)  # white, with as much red as there is
    ab = np.zeros((2, 2, 2))
    ab[0] = 1.0
    image, beyond = tasks.from_lab(lightness, ab)
    assert beyond == 0.5 and image[1].tolist() == [[255] * 3] * 2
    assert image[0, 0, 0] == 255 > image[0, 0, 2]


def test_inputs_are_what_they_were_when_the_version_was_set():
    """A change here is another input for the same photo: raise tasks.VERSION."""
    found = {
        role: hashlib.sha256(tasks.derive(role, photo(), "0000").tobytes()).hexdigest()[:8]
        for role in tasks.ROLES
    }
    assert found == {
        "grey": "a878c867",
        "L": "24132282",
        "edges": "17f0c18d",
        "masked": "eaa60ec2",
        "holes": "1dda4bc8",
        "small": "48eb18b3",
    }


def test_each_input_hides_what_its_task_has_to_find():
    image = photo()
    height, width = image.shape[:2]
    one = {role: tasks.derive(role, image, "a") for role in tasks.ROLES}
    assert tasks.is_grey(one["grey"]) and not tasks.is_grey(image)
    assert set(np.unique(one["edges"])) == {0, 255} and 0.02 < (one["edges"] == 0).mean() < 0.4
    assert (one["masked"][height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] == 128).all()
    for role, hole in tasks.HOLES.items():
        inside = hole((height, width), "a")
        assert np.array_equal(one[role][~inside], image[~inside])
        assert (one[role][inside] == tasks.HOLE_VALUE).all() and 0.1 < inside.mean() < 0.5
    assert not np.array_equal(one["holes"], tasks.derive("holes", image, "b"))
    fine = [np.abs(np.diff(x.astype(int), axis=0)).mean() for x in (image, one["small"])]
    assert fine[1] < 0.7 * fine[0]
    assert one["L"].shape == (height, width, 1) and one["L"].dtype == np.int16


def test_pictures_of_inputs_and_targets():
    image = photo()
    lightness, ab = tasks.derive("L", image, ""), tasks.derive_target("L", image)
    assert np.array_equal(tasks.picture(ab, lightness), image)
    assert tasks.is_grey(tasks.picture(lightness))
    assert tasks.picture(image) is image


def test_a_colorization_network_has_one_channel_in_and_two_out():
    generator = build_generator(GeneratorSettings(), (1, 2), (256, 256))
    # 2 × 64 filters of 4×4 less at the input, and 128 of 4×4 and a bias less at the output.
    assert parameter_count(generator) == 54_413_955 - 2 * 64 * 16 - (128 * 16 + 1)
    assert parameter_count(PatchDiscriminator(3, 70, 64)) == 2_768_705 - 3 * 64 * 16


def test_lab_batches_are_floats_of_one_jitter():
    image = photo(32)
    lightness, ab = tasks.derive("L", image, "")[None], tasks.derive_target("L", image)[None]
    given = {"batch": 1, "jitter": 1.1, "mirror": True, "seed": 3, "device": torch.device("cpu")}
    x, y = Batches(lightness, ab, **given).next()
    assert (x.shape, y.shape) == ((1, 1, 32, 32), (1, 2, 32, 32))
    both = np.concatenate([lightness, ab], -1)
    whole, _ = Batches(both, both, **given).next()
    assert torch.equal(torch.cat([x, y], 1), whole)
    assert to_float(torch.from_numpy(lightness)).abs().max() <= 1


@pytest.mark.parametrize("role", tasks.ROLES)
def test_a_folder_of_photos_is_enough(photos, tmp_path, role):
    direction, cache = f"{role}->photo", tmp_path / "cache"
    assert check_source(FOLDER, photos, direction) == [
        f"taken: every image below {photos} as a photo"
    ]
    data = prepare(FOLDER, photos, SIZE, direction, cache)
    assert [len(split) for split in (data.train, data.val, data.test)] == [9, 1, 2]
    for index, name in enumerate(data.train.names):
        image = np.array(data.train.pictures[index])
        assert np.array_equal(data.train.inputs[index], tasks.derive(role, image, name))
        assert np.array_equal(data.train.targets[index], tasks.derive_target(role, image))
    again = prepare(FOLDER, photos, SIZE, direction, cache)
    assert again.fingerprint == data.fingerprint
    assert np.array_equal(again.test.inputs, data.test.inputs)


def test_inputs_follow_photos_that_are_replaced(photos, tmp_path):
    before = prepare(FOLDER, photos, SIZE, "grey->photo", tmp_path / "cache")
    Image.fromarray(procedural.draw("val", 30, 40)[1]).save(photos / "0.png")
    after = prepare(FOLDER, photos, SIZE, "grey->photo", tmp_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert np.array_equal(after.test.inputs[0], tasks.derive("grey", after.test.pictures[0], ""))


def test_splits_of_photos_are_kept(photos, tmp_path):
    for index, split in enumerate(["train", "train", "val", "test"]):
        (photos / split).mkdir(exist_ok=True)
        (photos / f"{index}.png").rename(photos / split / f"{index}.png")
    data = prepare(FOLDER, photos, SIZE, "small->photo", tmp_path / "cache")
    assert (data.train.names, data.val.names, data.test.names) == (("0", "1"), ("2",), ("3",))


def test_files_of_that_name_are_taken_before_anything_is_derived():
    entry = load_registry()["edges2shoes"]
    assert entry.derived_role("edges->photo") is None
    assert entry.derived_role("grey->photo") == "grey"
    assert load_registry()["camvid"].roles("masked->photo") == ("masked", "photo")


@pytest.mark.parametrize(
    ("name", "direction", "message"),
    [
        ("night2day", "grey->photo", r"no direction 'grey->photo'; allowed: .*small->day"),
        ("camvid", "grey->labels", "no direction 'grey->labels'"),
        ("camvid", "photo->grey", "no direction"),
        ("folder", "sepia->photo", r"allowed: A->B, B->A, grey\|.*->A.*->photo \(default A->B\)"),
    ],
)
def test_a_direction_that_the_data_lack_is_refused(name, direction, message):
    with pytest.raises(UserError, match=message):
        load_registry()[name].roles(direction)


def test_of_pairs_one_has_to_say_which_are_the_photos(photos):
    for side in "AB":
        (photos / side).mkdir()
        for index in range(3):
            Image.fromarray(photo(40)).save(photos / side / f"{index}.png")
    with pytest.raises(UserError, match=r"two sides, A and B; .* --direction grey->B"):
        check_source(FOLDER, photos, "grey->photo")
    assert "A and B" in check_source(FOLDER, photos, "grey->B")[0]


@pytest.mark.parametrize("role", ["grey", "L"])
def test_grey_photos_cannot_teach_colours(photos, tmp_path, role):
    for path in photos.iterdir():
        Image.open(path).convert("L").save(path)
    with pytest.raises(UserError, match="every training photo is grey"):
        prepare(FOLDER, photos, SIZE, f"{role}->photo", tmp_path / "cache")
    assert len(prepare(FOLDER, photos, SIZE, "edges->photo", tmp_path / "cache").train) == 9
