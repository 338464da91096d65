import pytest
from pydantic import ValidationError

from pix2pix.config import (
    CellConfig,
    DiscriminatorSettings,
    ObjectiveSettings,
    TrainingSettings,
    resolve_depth,
)


def cell(**changes):
    values = {
        "dataset": "procedural",
        "fingerprint": "f" * 64,
        "direction": "labels->photo",
        "size": (128, 128),
        "seed": 1,
        "training": TrainingSettings(steps=10),
    }
    return CellConfig(**{**values, **changes})


def test_the_digest_is_of_every_setting():
    variants = [
        cell(),
        cell(seed=2),
        cell(size=(128, 256)),
        cell(fingerprint="e" * 64),
        cell(direction="photo->labels"),
        cell(training=TrainingSettings(steps=11)),
        cell(training=TrainingSettings(steps=10, mirror=False)),
        cell(discriminator=DiscriminatorSettings(patch=1)),
        cell(objective=ObjectiveSettings(l1=0)),
        cell(protocol=3),
    ]
    assert len({v.digest for v in variants}) == len(variants)


def test_a_setting_that_is_spelled_out_at_its_default_changes_nothing():
    spelled = cell(objective=ObjectiveSettings(l1=100.0, perceptual=0.0))
    assert spelled.digest == cell().digest
    assert cell(objective=ObjectiveSettings(perceptual=1.0)).digest != cell().digest


def test_the_digest_survives_json():
    config = cell()
    assert CellConfig.model_validate_json(config.model_dump_json()).digest == config.digest


def test_a_known_digest_does_not_change_by_accident():
    """A digest that moves makes every user train everything again: raise PROTOCOL instead."""
    assert cell().digest == "3af19fa4e9ba5a37"


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (TrainingSettings, {"steps": 1, "epochs": 1}),
        (TrainingSettings, {}),
        (TrainingSettings, {"steps": 0}),
        (TrainingSettings, {"steps": 10, "learning_rate": float("nan")}),
        (TrainingSettings, {"steps": 10, "speed": 1}),
        (TrainingSettings, {"steps": "10"}),
        (ObjectiveSettings, {"gan": False}),
        (DiscriminatorSettings, {"patch": 71}),
    ],
)
def test_settings_that_make_no_sense_are_refused(model, values):
    with pytest.raises(ValidationError):
        model(**values)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        cell().seed = 3


def test_epochs_count_the_cut_batch():
    assert TrainingSettings(epochs=3, batch=10).total_steps(25) == 9
    assert TrainingSettings(steps=7, batch=10).total_steps(25) == 7


@pytest.mark.parametrize(
    ("size", "depth", "resolved"),
    [
        ((256, 256), None, 8),
        ((128, 128), None, 7),
        ((512, 512), None, 8),
        ((256, 512), None, 8),
        ((96, 96), None, 5),
        ((96, 128), 4, 4),
    ],
)
def test_depth_by_size(size, depth, resolved):
    assert resolve_depth(size, depth) == resolved


@pytest.mark.parametrize(("size", "depth"), [((100, 100), None), ((128, 128), 8), ((96, 128), 6)])
def test_a_size_that_no_depth_divides_is_refused_with_the_nearest_that_fits(size, depth):
    with pytest.raises(ValueError, match="nearest: "):
        resolve_depth(size, depth)
