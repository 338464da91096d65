import json

import pytest

from experiments.calibration import Calibration, calibrate, calibrated, choose, subject
from experiments.plan import make_plan
from experiments.spec import load_suite
from pix2pix.datasets import find_entry, load_registry
from pix2pix.errors import UserError

SMALL = {"training.precision": "bfloat16", "generator.width": 8, "discriminator.width": 8}


@pytest.fixture
def plan():
    entry = find_entry(load_registry(None), "procedural")
    return make_plan(load_suite("patch_size"), entry, "smoke", overrides=SMALL)


def test_what_is_timed_is_the_cell_with_the_most_work_in_float32(plan):
    config = subject([plan])
    assert config.discriminator.patch == 70
    assert config.training.precision == "float32"


def test_a_precision_is_chosen_where_it_is_a_tenth_faster():
    assert choose({"float32": 1.0, "bfloat16": 0.95}) == "float32"
    assert choose({"float32": 1.0, "bfloat16": 0.8}) == "bfloat16"
    assert choose({"float32": 1.0, "bfloat16": 1.3}) == "float32"


def test_steps_are_timed_once_and_the_choice_is_kept(plan, tmp_path):
    config = subject([plan])
    assert calibrated(config, tmp_path, "cpu", 1) is None
    found = calibrate(config, tmp_path, "cpu", 1)
    assert set(found.seconds_per_step) == {"float32", "bfloat16"}
    assert all(0.0005 < seconds < 5 for seconds in found.seconds_per_step.values())
    assert found.precision == choose(found.seconds_per_step)
    assert calibrated(config, tmp_path, "cpu", 1) == found
    assert calibrated(config, tmp_path, "cpu", 2) is None  # other threads, another time
    assert found.text.startswith(f"{found.precision} chosen: float32 0.0")


def test_a_calibration_that_is_none_is_named(plan, tmp_path):
    config = subject([plan])
    calibrate(config, tmp_path, "cpu", 1)
    (path,) = (tmp_path / "calibrations").iterdir()
    for text in ("{", "[]", '{"precision": "tf32", "seconds_per_step": {"float32": 1}}'):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"{path.name}: not a calibration \(.+\); delete it"):
            calibrated(config, tmp_path, "cpu", 1)


def test_a_kept_choice_names_what_it_was_measured_on(plan, tmp_path):
    calibrate(subject([plan]), tmp_path, "cpu", 1)
    (path,) = (tmp_path / "calibrations").iterdir()
    measured_on = json.loads(path.read_text())["measured_on"]
    assert measured_on["size"] == [96, 96]
    assert measured_on["device"] and measured_on["torch"]


def test_a_failing_measurement_is_one_line(plan, tmp_path):
    config = subject([plan]).model_copy(update={"size": (90, 90)})
    with pytest.raises(UserError, match=r"auto: the steps could not be timed \(.*90×90.*\)"):
        calibrate(config, tmp_path, "cpu", 1)


def test_its_words():
    found = Calibration("bfloat16", {"float32": 0.5, "bfloat16": 0.35})
    assert found.text == "bfloat16 chosen: float32 0.5 s, bfloat16 0.35 s a step"
