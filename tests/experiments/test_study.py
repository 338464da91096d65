from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.study import (
    Options,
    _priority,
    dry_run,
    make_study,
    plan_jobs,
    prepare_data,
)
from pix2pix.common.errors import UserError
from pix2pix.data.cache import LabelledPart


def test_of_two_directions_that_one_training_serves_one_comes_last():
    study = make_study(Options(("cycle", "cycle_back"), profile="smoke", out=Path("none")))
    jobs = [job for plan in study.plans for job in plan_jobs(study, plan, "0" * 64)]
    ordered = [job.config for job in sorted(jobs, key=_priority) if job.kind == "cell"]
    first, last = ordered[:-5], ordered[-5:]
    assert {config.turned.digest for config in last} < {config.digest for config in first}


def test_long_cells_of_a_seed_come_first_and_seeds_in_priority():
    study = make_study(Options(("patch_size",), profile="smoke", seeds=(1, 2), out=Path("none")))
    jobs = plan_jobs(study, study.plans[0], "0" * 64)
    titles = [job.title for job in sorted(reversed(jobs), key=_priority)]
    assert titles[0] == "ground truth"
    assert [title.rpartition(" ")[2] for title in titles[1:]] == ["1"] * 4 + ["2"] * 4
    assert titles[1].startswith("70x70") and titles[4].startswith("1x1")


def test_all_suites_are_those_whose_networks_are_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    names = [plan.suite.name for plan in make_study(Options(("all",))).plans]
    assert "losses" in names and "perceptual" not in names
    assert "suite perceptual skipped: objective.perceptual" in capsys.readouterr().err
    assert make_study(Options(("perceptual",))).plans, "refused where it would be trained"


@pytest.fixture
def streets(tmp_path):
    """A data set whose index maps are numbered from 1, and its entry's last lines."""
    for split in ("train", "val", "test"):
        for folder, image in (
            (split, np.zeros((32, 32, 3), np.uint8)),
            (f"{split}annot", np.repeat(np.array([1, 1, 2, 3], np.uint8), 8)[None].repeat(32, 0)),
        ):
            (tmp_path / folder).mkdir()
            Image.fromarray(image).save(tmp_path / folder / "a.png")

    def study(more: str):
        (tmp_path / "sets.yaml").write_text(
            "mine:\n  layout: folders\n  path: .\n"
            '  sides: {photo: {folder: "{split}"}, '
            'labels: {kind: index, folder: "{split}annot"}}\n'
            "  classes: {one: [1, 2, 3], two: [4, 5, 6], three: [7, 8, 9]}\n" + more
        )
        options = Options(
            ("losses",),
            profile="smoke",
            dataset="mine",
            datasets=tmp_path / "sets.yaml",
            data_root=tmp_path,
            out=tmp_path / "runs",
        )
        return make_study(options)

    return study


def test_what_a_catch_all_takes_is_counted_and_said(streets, capsys) -> None:
    _, _, labelled = prepare_data(streets("  ignore: rest\n"))
    assert labelled["test"] == LabelledPart(0.25, ("one",))
    said = "".join(capsys.readouterr())
    assert "label pixels of no class: 25.0% of train, 25.0% of val, 25.0% of test" in said
    assert "mostly the values 3 (100% of them)" in said and "never in train: one" in said


def test_more_than_the_entry_allows_is_refused(streets) -> None:
    strict = "  ignore: rest\n  ignore_at_most: 0.2\n"
    with pytest.raises(UserError, match=r"mostly the values 3 .*write ignore_at_most: 0\.25"):
        prepare_data(streets(strict))
    prepare_data(streets("  ignore: rest\n  ignore_at_most: 0.25\n"))


def test_photos_and_pairs_of_one_folder_are_not_mixed(tmp_path, capsys) -> None:
    options = {"dataset": "folder", "data_root": tmp_path}
    path = tmp_path / "mine.yaml"
    path.write_text("title: t\ndirection: grey->photo\narms:\n  a: {}\n")
    with pytest.raises(UserError, match="mine takes plain photos and losses pairs"):
        make_study(Options(("losses", str(path)), **options))
    study = make_study(Options(("losses", str(path)), direction="L->photo", **options))
    assert {plan.direction for plan in study.plans} == {"L->photo"}


def test_grey_photos_of_a_colorization_are_counted(tmp_path, capsys) -> None:
    for index in range(12):
        shade = (50, 50, 50 if index in (3, 4) else 90)
        Image.new("RGB", (32, 32), shade).save(tmp_path / f"{index:02}.png")
    options = {"dataset": "folder", "data_root": tmp_path, "overrides": [("size", 32)]}
    options |= {"profile": "smoke", "out": tmp_path / "runs", "arms": ("L1",)}
    prepare_data(make_study(Options(("colorization",), **options)))
    assert "data set folder: 2 of 9 training photos are grey" in capsys.readouterr().err


def _unpaired(root: Path, a: int, b: int, **options):
    """A study of `cycle` on folders trainA trainB testA testB."""
    for side, count in (("A", a), ("B", b)):
        for folder, number in ((f"train{side}", count), (f"test{side}", 1)):
            (root / folder).mkdir(parents=True)
            for index in range(number):
                Image.new("RGB", (32, 32), (index, 9, 9)).save(root / folder / f"{index}.png")
    changes = [("size", 32), ("discriminator.patch", 16), ("training.epochs", 2)]
    own = {"dataset": "unpaired", "data_root": root, "out": root / "runs", "profile": "smoke"}
    return make_study(Options(("cycle",), overrides=changes, **own, **options))


def test_a_single_image_a_side_is_refused_before_it_would_be_trained_on(tmp_path) -> None:
    with pytest.raises(UserError, match="unpaired: has one image a side to train on; cyclegan"):
        prepare_data(_unpaired(tmp_path, 1, 1))


def test_steps_are_counted_of_the_photos_that_an_input_is_derived_from(tmp_path) -> None:
    study = _unpaired(tmp_path, 5, 3, direction="grey->B", arms=("CycleGAN",))
    _, pairs, _ = prepare_data(study)
    assert pairs["train"] == 3 and "1     6" in dry_run(study)
    both_sides = replace(study.options, direction="A->B")
    assert "1     10" in dry_run(make_study(both_sides))


def test_data_of_two_folders_have_a_report_each(tmp_path) -> None:
    keys = []
    for name in ("one", "two"):
        (tmp_path / name / "pairs").mkdir(parents=True)
        options = Options(("losses",), dataset="folder", data_root=tmp_path / name / "pairs")
        keys += [plan.key for plan in make_study(options).plans]
    assert [key.variant for key in keys] == ["quick+data=one-pairs", "quick+data=two-pairs"]
