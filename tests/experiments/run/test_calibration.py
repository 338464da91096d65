import io
import json
import sys

import pytest
import torch

from experiments.plan import make_plan
from experiments.run import calibrate as process
from experiments.run.calibration import Calibration, calibrate, calibrated, choose, subject
from experiments.spec import load_suite
from pix2pix.common.errors import UserError
from pix2pix.data.registry import find_entry, load_registry
from pix2pix.fast_step import Execution

SMALL = {"training.precision": "bfloat16", "generator.width": 8, "discriminator.width": 8}


@pytest.fixture
def plan():
    entry = find_entry(load_registry(None), "procedural")
    return make_plan(load_suite("patch_size"), entry, "smoke", overrides=SMALL)


def test_every_suite_of_a_profile_asks_for_the_same_cell_in_float32(plan):
    config = subject([plan])
    assert (config.discriminator.patch, config.objective.gan) == (70, "conditional")
    assert config.training.precision == "float32"
    entry = find_entry(load_registry(None), "procedural")
    for suite in ("losses", "color"):
        other = subject([make_plan(load_suite(suite), entry, "smoke", overrides=SMALL)])
        same = ("size", "generator", "discriminator", "objective", "training")
        assert all(getattr(config, field) == getattr(other, field) for field in same)


def test_a_precision_is_chosen_where_it_is_a_tenth_faster():
    assert choose({"float32": 1.0, "bfloat16": 0.95}) == "float32"
    assert choose({"float32": 1.0, "bfloat16": 0.8}) == "bfloat16"
    assert choose({"float32": 1.0, "bfloat16": 1.3}) == "float32"


def test_steps_are_timed_once_and_the_choice_is_kept(plan, tmp_path):
    config = subject([plan])
    assert calibrated(config, tmp_path) is None
    found = calibrate(config, tmp_path, "cpu", cells=2)
    assert set(found.seconds_per_step) == {"float32", "bfloat16"}
    assert all(seconds > 0 for seconds in found.seconds_per_step.values())
    assert found.precision == choose(found.seconds_per_step)
    assert calibrated(config, tmp_path) == found
    assert calibrate(config, tmp_path, "cpu") == found  # to the last digit: not timed again
    assert found.text.startswith(
        f"{found.precision} chosen: float32 {found.seconds_per_step['float32']:.4g} s"
    )


def test_a_folder_is_of_one_precision_whatever_machine_goes_on(plan, tmp_path):
    config = subject([plan])
    calibrate(config, tmp_path, "cpu")
    (path,) = (tmp_path / "calibrations").glob("*.json")
    kept = json.loads(path.read_text())
    assert kept["measured_on"]["size"] == [96, 96]
    path.write_text(json.dumps(kept | {"device": "another CPU"}))
    with pytest.raises(UserError, match=r"chosen in this --out on another CPU, and .+: say"):
        calibrate(config, tmp_path, "cpu")
    assert calibrated(config, tmp_path).device == "another CPU"  # a report is of what was trained


def test_a_calibration_that_is_none_is_named(plan, tmp_path):
    config = subject([plan])
    calibrate(config, tmp_path, "cpu")
    (path,) = (tmp_path / "calibrations").glob("*.json")
    for text in ("{", "[]", '{"precision": "tf32", "seconds_per_step": {"float32": 1}}'):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"{path.name}: not a calibration \(.+\); delete it"):
            calibrated(config, tmp_path)


def test_a_failing_measurement_is_one_line(plan, tmp_path):
    config = subject([plan]).model_copy(update={"size": (90, 90)})
    with pytest.raises(UserError, match=r"auto: the steps could not be timed \(.*90×90.*\)"):
        calibrate(config, tmp_path, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_where_no_graph_can_be_captured_plain_steps_are_timed(plan, monkeypatch, capsys):
    monkeypatch.setattr(process, "execution_of", lambda *_: Execution(graph=True))
    asked = {"config": subject([plan]).model_dump(mode="json"), "device": "cpu", "threads": 1}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    assert process.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == {"float32", "bfloat16"}


def test_its_words():
    found = Calibration("bfloat16", {"float32": 0.5, "bfloat16": 0.35}, "AMD EPYC")
    assert found.text == "bfloat16 chosen: float32 0.5 s, bfloat16 0.35 s a step (AMD EPYC)"
