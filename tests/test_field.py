"""What users bring, from public bug reports: ../shared/field, whose files are in no repository.

Each input has an `expect.txt`; the tests beside the modules make such inputs themselves.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eval.__main__ import main as evaluate
from experiments.study import Options, make_study, prepare_data
from pix2pix.checkpoint import save_generator
from pix2pix.common.errors import UserError
from pix2pix.config import GeneratorSettings
from pix2pix.data.cache import check_source, prepare
from pix2pix.data.registry import load_registry
from pix2pix.networks import UNetGenerator
from pix2pix.translate import main as translate

FIELD = Path(__file__).resolve().parents[2] / "shared" / "field"


@pytest.fixture
def given(tmp_path, monkeypatch, request):
    """The current folder is a copy of an input."""
    source = FIELD / request.param
    if not source.is_dir():
        pytest.skip(f"{source} is not here")
    shutil.copytree(source, tmp_path / "given", symlinks=True)
    for path in (tmp_path / "given", *(tmp_path / "given").rglob("*")):
        path.chmod(0o755)
    monkeypatch.chdir(tmp_path / "given")
    return tmp_path / "given"


def decoded(dataset: str, datasets: str | None = None, root: str = "."):
    """What the suite's command says and reads before it trains."""
    options = Options(
        ("losses",),
        profile="smoke",
        dataset=dataset,
        datasets=Path(datasets) if datasets else None,
        data_root=Path(root),
        out=Path("runs"),
    )
    study = make_study(options)
    notes = check_source(study.entry, options.data_root)
    prepare_data(study)
    data = prepare(study.entry, options.data_root, study.size, None, Path("runs/cache"))
    return notes, data


def names(data) -> list[str]:
    return sorted({*data.train.names, *data.val.names, *data.test.names})


@pytest.mark.parametrize("given", ["dataset_partial"], indirect=True)
def test_pairs_that_are_not_read_are_told_or_refused(given) -> None:
    # g.png is a link to nowhere; a copy of the folder may hold its text as a file.
    if not (given / "A/g.png").is_symlink():
        with pytest.raises(UserError, match=r"g\.png: is not an image"):
            decoded("folder")
        for side in "AB":
            (given / side / "g.png").unlink()
            (given / side / "g.png").symlink_to("/nowhere/g.png")
    notes, data = decoded("folder")
    (said,) = (note for note in notes if note.startswith("passed over"))
    assert "2 .gif (A/f.gif, B/f.gif)" in said and "2 links to nowhere (A/g.png" in said
    assert "2 sub-folders with 2 images (A/sub, B/sub)" in said and "e" in names(data)


@pytest.mark.parametrize("given", ["dataset_ending_case"], indirect=True)
def test_endings_in_another_case_are_pairs_too(given) -> None:
    (name,) = load_registry(given / "datasets.yaml").keys() - load_registry().keys()
    assert names(decoded(name, "datasets.yaml")[1]) == list("01234")


@pytest.mark.parametrize("given", ["layout_cyclegan", "layout_port_aligned"], indirect=True)
def test_layouts_that_everybody_has(given) -> None:
    notes, data = decoded("folder")
    assert notes[0].startswith("taken: ") and names(data) == ["a"]


@pytest.mark.parametrize("given", ["png_exif_after_idat"], indirect=True)
def test_an_orientation_behind_the_pixels_is_refused(given) -> None:
    with pytest.raises(UserError, match="stored turned"):
        decoded("folder")


@pytest.mark.parametrize("given", ["ignore_rest_bgr_painted"], indirect=True)
def test_colours_in_another_order_are_not_ignored_in_silence(given, capsys) -> None:
    with pytest.raises(
        UserError, match=r"label pixels of no class: 68\.8% of train, .*ignore_at_most: 0\.69"
    ):
        decoded("mine", "datasets.yaml")
    arguments = ["--translations", "test", "--targets", "test", "--labels", "testannot"]
    arguments += ["--dataset", "mine", "--datasets", "datasets.yaml", "--scores", "labels"]
    assert evaluate(arguments) == 0
    assert "warning: labels: 68.75% of the pixels are of no class" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["ignore_rest_off_by_one"], indirect=True)
def test_a_class_that_never_occurs_and_an_ignored_value_are_said(given, capsys) -> None:
    decoded("mine", "datasets.yaml")
    said = "".join(capsys.readouterr())
    assert "label pixels of no class: 14.1% of train, 14.1% of val, 14.1% of test" in said
    assert "mostly the values 3 (100% of them)" in said and "never in train: one" in said


@pytest.mark.parametrize("given", ["palette_png_contradicts_classes"], indirect=True)
def test_a_palette_in_colours_of_other_classes_is_not_read_by_index(given) -> None:
    by_index = [576, 2240, 1280]
    try:
        _, data = decoded("mine", "datasets.yaml")
    except UserError as error:
        assert "colour of no class" in str(error)
    else:
        assert [int((data.train.labels == c).sum()) for c in range(3)] != by_index


@pytest.mark.parametrize("given", ["stale_cache_same_mtime"], indirect=True)
def test_files_replaced_with_their_times_are_seen(given) -> None:
    shutil.copytree("v1", "data", copy_function=shutil.copy2)
    first = decoded("folder", root="data")[1].fingerprint
    shutil.copytree("v2", "data", copy_function=shutil.copy2, dirs_exist_ok=True)
    assert decoded("folder", root="data")[1].fingerprint != first


def scored(*more: str) -> list[str]:
    return ["--translations", "t", "--targets", "g", "--scores", "pixel", *more]


@pytest.mark.parametrize("given", ["eval_partial_subfolder"], indirect=True)
def test_images_in_a_sub_folder_are_told(given, capsys) -> None:
    assert evaluate(scored()) == 0
    said = capsys.readouterr().err
    assert "warning: t: passed over: 1 sub-folder with 1 image (more)" in said


@pytest.mark.parametrize("given", ["eval_partial_unknown_suffix"], indirect=True)
def test_jfif_and_files_without_a_suffix_are_scored(given, capsys) -> None:
    assert evaluate(scored()) == 0
    assert capsys.readouterr().out.startswith("5 images")


@pytest.mark.parametrize("given", ["icc_profile"], indirect=True)
def test_other_colour_profiles_are_converted(given, capsys) -> None:
    assert evaluate([*scored()[:-1], "color,pixel"]) == 0
    found = capsys.readouterr()
    values = dict(line.split()[:2] for line in found.out.splitlines() if line.startswith("color."))
    assert all(float(value) > 0.97 for value in values.values())
    assert "another colour profile converted to sRGB" in found.err


@pytest.mark.parametrize("given", ["index_maps_into_label_generator"], indirect=True)
def test_index_maps_for_a_generator_are_painted(given, capsys) -> None:
    network = UNetGenerator(width=4, depth=5)
    origin = {"digest": "0", "dataset": "procedural", "direction": "labels->photo", "seed": 1}
    more = {"channels": (3, 3), "size": (32, 32), "origin": origin}
    save_generator(given.parent / "generator.pt", network, GeneratorSettings(width=4), **more)
    arguments = ["--checkpoint", "../generator.pt", "--inputs", ".", "--out", "../out"]
    assert translate([*arguments, "--fit", "pad"]) == 0
    assert "1 file: index maps, painted in the colours of procedural" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["pix2pixhd_names"], indirect=True)
def test_pix2pixhds_results_are_matched(given, capsys) -> None:
    assert evaluate(scored()) == 0
    assert "pix2pixHD" in capsys.readouterr().out
