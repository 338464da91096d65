import pytest
from PIL import Image

from eval.matching import COLOURS, LABEL_IDS, TRAIN_IDS, match
from pix2pix.common.errors import UserError


@pytest.fixture
def put(tmp_path):
    """Writes small images; `put("out", "a.png")` gives the folder."""

    def write(folder, *names):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(path)
        return tmp_path / folder

    return write


def chosen(paths):
    return [f"{path.parent.name}/{path.name}" for path in paths]


def test_equal_names_whatever_the_format_and_notes_are_passed_over(put):
    out, real = put("out", "b.png", "a.PNG"), put("real", "a.jpg", "b.png", ".c.png")
    (out / "notes.txt").write_text("x")
    found = match(out, real)
    assert found.names == ("a", "b") and found.labels is None
    assert chosen(found.targets) == ["real/a.jpg", "real/b.png"]
    assert found.convention == "equal names"


PORT = [
    f"{name}_{kind}.png" for name in ("a", "b_fake_B_") for kind in ("fake_B", "real_A", "real_B")
]


@pytest.mark.parametrize("inside", ["", "images"])
@pytest.mark.parametrize("say_targets", [True, False])
def test_the_pytorch_port_keeps_everything_in_one_folder(put, inside, say_targets):
    put(f"results/{inside}", *PORT)
    results = put("results")
    (results / "index.html").write_text("x")
    found = match(results, results if say_targets else None, results)
    assert found.names == ("a", "b_fake_B_")
    assert [path.name for path in found.translations] == ["a_fake_B.png", "b_fake_B__fake_B.png"]
    assert [path.name for path in found.targets] == ["a_real_B.png", "b_fake_B__real_B.png"]
    assert [path.name for path in found.labels] == ["a_real_A.png", "b_fake_B__real_A.png"]
    assert found.convention == "NAME_fake_B with NAME_real_B (PyTorch port)"


def test_where_translations_are_label_maps_the_true_ones_are_the_targets(put):
    results = put("results", *PORT)
    found = match(results, None, results, labels_are="target")
    assert found.labels == found.targets


def test_fake_a_goes_with_real_a(put):
    results = put("results", "a_fake_A.png", "a_real_A.png", "a_real_B.png", "a_rec_B.png")
    assert chosen(match(results, None).targets) == ["results/a_real_A.png"]


def test_both_directions_in_one_folder_are_refused(put):
    results = put("results", "a_fake_A.png", "a_fake_B.png", "a_real_A.png", "a_real_B.png")
    with pytest.raises(UserError, match="holds both _fake_B and _fake_A images"):
        match(results, None)


def test_the_ports_translations_with_targets_and_labels_elsewhere(put):
    results = put("results", *PORT)
    real, maps = put("real", "a.png", "b_fake_B_.png"), put("maps", "a.png", "b_fake_B_.png")
    found = match(results, real, maps)
    assert chosen(found.targets) == ["real/a.png", "real/b_fake_B_.png"]
    assert chosen(found.labels) == ["maps/a.png", "maps/b_fake_B_.png"]


def test_own_translations_with_the_ports_targets(put):
    found = match(put("out", "a.png", "b_fake_B_.png"), put("results", *PORT))
    assert chosen(found.targets) == ["results/a_real_B.png", "results/b_fake_B__real_B.png"]


def test_real_b_without_translations_beside_it_is_a_plain_name(put):
    found = match(put("out", "a_real_B.png"), put("real", "a_real_B.png"))
    assert found.names == ("a_real_B",)


def test_the_tensorflow_port(put):
    images = put("images", "a-inputs.png", "a-outputs.png", "a-targets.png")
    found = match(images, None, images)
    assert chosen((*found.translations, *found.targets, *found.labels)) == [
        "images/a-outputs.png", "images/a-targets.png", "images/a-inputs.png",
    ]  # fmt: skip
    assert "TensorFlow" in found.convention


@pytest.mark.parametrize("above", ["", "images"])
def test_the_torch_codes_folders(put, above):
    for side in ("output", "target", "input"):
        put(f"net/{above}/{side}", "a.jpg", "b.jpg")
    net = put("net")
    found = match(net, None, net)
    assert chosen((*found.translations, *found.targets, *found.labels)) == [
        f"{side}/{name}.jpg" for side in ("output", "target", "input") for name in "ab"
    ]
    assert found.convention == "folders output and target (Torch code)"


GT = ("color", "instanceIds", "labelIds", "labelTrainIds")


@pytest.fixture
def cityscapes(put):
    """Translations, photos and labels under Cityscapes' names, in folders of cities."""
    for city in ("aachen", "bonn"):
        put(f"leftImg8bit/{city}", f"{city}_0_leftImg8bit.png")
        put(f"gtFine/{city}", *(f"{city}_0_gtFine_{kind}.png" for kind in GT))
    out = put("out", "aachen_0_leftImg8bit_fake_B.png", "bonn_0_leftImg8bit_fake_B.png")
    return out, put("leftImg8bit"), put("gtFine")


@pytest.mark.parametrize("ending", [TRAIN_IDS, LABEL_IDS, COLOURS])
def test_cityscapes_names_in_folders_of_cities(cityscapes, ending):
    found = match(*cityscapes, label_endings=("_absent", ending))
    assert found.names == ("aachen_0", "bonn_0")
    assert chosen(found.targets)[1] == "bonn/bonn_0_leftImg8bit.png"
    assert chosen(found.labels)[0] == f"aachen/aachen_0{ending}.png"
    assert found.label_ending == ending
    assert found.convention.endswith("(PyTorch port), Cityscapes names")


def test_label_ids_are_not_taken_for_class_positions(put):
    out = put("out", "a_leftImg8bit.png")
    maps = put("maps", "a_gtFine_labelIds.png")
    with pytest.raises(UserError, match="labelIds files are not class positions"):
        match(out, out, maps)


def test_equal_names_stay_as_they_are(put):
    out = put("out", "a_leftImg8bit.png")
    assert match(out, out, out).names == ("a_leftImg8bit",)


def test_names_the_first_unmatched_on_both_sides(put):
    one = put("one", "same.png", "x1.png", "x2.png", "x3.png", "x4.png")
    with pytest.raises(UserError) as error:
        match(one, put("two", "same.png", "y.png"))
    assert "4 only in" in str(error.value) and "(x1, x2, x3, …)" in str(error.value)
    assert "1 only in" in str(error.value) and "(y)" in str(error.value)


def test_a_missing_real_b_is_unmatched(put):
    results = put("results", *PORT)
    (results / "a_real_B.png").unlink()
    with pytest.raises(
        UserError, match=r"unmatched images: 1 only in the translations of .* \(a\)"
    ):
        match(results, None)


def test_refuses_folders_that_cannot_be_scored(put, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, reason in (
        (tmp_path / "absent", "no such folder"),
        (empty, r"holds no image \(.*\.png"),
        (put("above/below", "a.png").parent, r"give one of the folders in it \(.*below\)"),
        (put("twice", "a.png", "a.jpg"), "has the name of"),
        (put("gif", "a.gif"), r"a\.gif: this format is not supported; save it as PNG"),
        (put("mixed", "a.png", "b.ppm"), r"b\.ppm: this format is not supported"),
        (put("cities/x", "a_leftImg8bit.png", "a_gtFine_color.png").parent, "same name as"),
    ):
        with pytest.raises(UserError, match=reason):
            match(folder, put("real", "a.png"))
    with pytest.raises(UserError, match=r"plain names .* give --targets DIR"):
        match(put("real", "a.png"), None)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("c.png", "d.png", "e.png", "f.png"), r"4 of 10 images .*\(c, d, e, …\)"),
        (("a_fake.png",), r"holds both _fake_B and _fake images"),
    ],
)
def test_images_without_an_ending_of_the_program_are_not_dropped(put, names, reason):
    results = put("results", *PORT, *names)
    with pytest.raises(UserError, match=rf"results: {reason}"):
        match(results, None)


def test_label_maps_without_an_ending_of_cityscapes_are_not_dropped(put):
    out, maps = put("out", "a.png"), put("maps", f"a{TRAIN_IDS}.png", f"a{COLOURS}.png", "b.png")
    with pytest.raises(UserError, match=r"maps: 1 of 3 images .*\(b\)"):
        match(out, out, maps)
    (maps / "b.png").unlink()
    assert match(out, out, maps).names == ("a",)


def test_the_ports_model_test_writes_no_targets(put):
    """NAME_real is its input (junyanz/pytorch-CycleGAN-and-pix2pix, models/test_model.py)."""
    results, real = put("results", "a_fake.png", "a_real.png"), put("real", "a.png")
    found = match(results, real)
    assert chosen(found.translations) == ["results/a_fake.png"]
    assert chosen(found.targets) == ["real/a.png"] and "--model test" in found.convention
    with pytest.raises(UserError, match=r"--model test writes no targets .*--targets DIR"):
        match(results, None)
    # Names that end like this anyway.
    same = put("same", "a_fake.png", "a_real.png")
    assert match(results, same).names == ("a_fake", "a_real")


def test_pix2pixhds_names(put):
    results = put("results", "a_synthesized_image.jpg", "a_input_label.jpg")
    found = match(results, put("real", "a.png"), results)
    assert chosen(found.translations) == ["results/a_synthesized_image.jpg"]
    assert chosen(found.labels) == ["results/a_input_label.jpg"]
    put("results", "a_real_image.jpg")
    assert chosen(match(results, None).targets) == ["results/a_real_image.jpg"]


def test_a_folder_of_results_two_levels_up(put):
    put("results/mine/test_latest/images", *PORT)
    results = put("results")
    assert match(results, None).names == match(results / "mine", None).names == ("a", "b_fake_B_")
    put("results/mine/test_5/images", *PORT)
    with pytest.raises(UserError, match=r"several folders of results; .*test_5/images, .*latest"):
        match(results, None)


def test_names_composed_differently_match(put):
    assert match(put("out", "gr\u00f6\u00dfe.png"), put("real", "gro\u0308\u00dfe.png")).names == (
        "gr\u00f6\u00dfe",
    )


def test_what_is_passed_over_is_told(put):
    out, real = put("out", "a.png", "more/b.png"), put("real", "a.png", "more/b.png")
    assert match(out, real).passed_over == (
        f"{out}: passed over: 1 sub-folder with 1 image (more)",
        f"{real}: passed over: 1 sub-folder with 1 image (more)",
    )
