import pytest

from experiments.spec import SETTINGS, check_override, merge, parse_override, sections
from pix2pix.common.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.learning_rate=2e-4", ("training.learning_rate", 2e-4)),
        ("training.steps=10", ("training.steps", 10)),
        ("objective.gan=none", ("objective.gan", "none")),
        ("training.mirror=false", ("training.mirror", False)),
    ],
)
def test_values_of_set_are_read_as_yaml(text, expected):
    assert parse_override(text) == expected
    assert check_override(*expected) == dict([expected])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.step=5", r"--set training\.step: unknown setting.*training\.steps"),
        ("training.steps=lots", r"--set training\.steps: must be a whole number.*lots"),
        ("training.steps=0", r"--set training\.steps: must be at least 1"),
        ("training.mirror=no", r"--set training\.mirror: must be true or false"),
        ("discriminator.patch=71", r"--set discriminator\.patch: must be one of 1, 16, 34, 70"),
        ("training.steps", "must be key=value"),
        ("=5", "must be key=value"),
        ("training.steps={", r"--set training\.steps"),
        ("training.learning_rate=.nan", r"--set training\.learning_rate"),
    ],
)
def test_a_wrong_set_names_itself(text, message):
    with pytest.raises(UserError, match=message):
        check_override(*parse_override(text))


def test_later_layers_win_and_steps_replace_epochs():
    merged = merge([{"training.epochs": 200, "training.batch": 1}, {"training.steps": 5}])
    assert merged == {"training.batch": 1, "training.steps": 5}
    assert merge([merged, {"training.epochs": 2}]) == {"training.batch": 1, "training.epochs": 2}


def test_sections_are_those_of_the_configuration():
    nested = sections({"method": "cyclegan", "training.steps": 5, "objective.l1": 0})
    assert nested["training"] == {"steps": 5} and nested["objective"] == {"l1": 0}
    assert nested["method"] == "cyclegan"
    assert set(nested) == {key.partition(".")[0] for key in SETTINGS}
