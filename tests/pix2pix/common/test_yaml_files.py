"""YAML's traps, and errors that name file, line, column and field."""

import tracemalloc

import pytest
from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.yaml_files import describe, load_yaml, parse_yaml


class _Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    width: int = 64
    rate: float = 2e-4
    mirror: StrictBool = True


class _Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    arms: dict[str, _Inner] = {}
    only: _Inner | None = None


def _problems(text: str) -> str:
    value, positions = parse_yaml(text, "suite.yaml")
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate(value)
    return describe(caught.value, positions, _Outer)


def test_scalars_follow_yaml_1_2() -> None:
    value, _ = parse_yaml("[2e-4, 1E3, no, on, yes, 010, 0x10, 2020-01-01, true, ~, .5, 1:30]", "x")
    assert value == [2e-4, 1e3, "no", "on", "yes", 10, 16, "2020-01-01", True, None, 0.5, "1:30"]
    assert type(value[0]) is float


@pytest.mark.parametrize("digits", ["9" * 5000, "0x" + "f" * 5000, "1e" + "9" * 5000])
def test_a_number_of_any_length_is_refused_in_one_line(digits) -> None:
    message = _problems(f"title: a\nonly: {{width: {digits}}}")
    assert message.startswith("suite.yaml:2:8: only.width: must be a whole number (got ")
    assert len(message) < 200


def test_numeric_keys_are_text() -> None:
    assert parse_yaml("{70: a, 1e3: b}", "x")[0] == {"70": "a", "1e3": "b"}


@pytest.mark.parametrize("word", ["no", "on", "Yes", "off", "true", "null", "~"])
def test_a_switch_as_key_asks_for_quotes(word: str) -> None:
    with pytest.raises(UserError, match=r"^x:2:3: the key .* quote it: '"):
        parse_yaml(f"classes:\n  {word}: [1, 2, 3]", "x")
    assert parse_yaml(f"'{word}': 1", "x")[0] == {word: 1}


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    with pytest.raises(UserError, match=r"^x:4:3: the key arms\.a occurs twice, first in line 2$"):
        parse_yaml("arms:\n  a: 1\n  b: 2\n  a: 3\n", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", "x:2:2: "),
        ("a:\n\t- 1", "x:2:1: .*spaces"),
        ("a: &x [*x]", "x:1:4: unfolds too far"),
        ("[" * 1500, r"x:1:\d+: is nested too deeply"),
        ("- " * 3000, r"x:1:\d+: is nested too deeply"),
        ("a: 1\n---\nb: 2", "x:2:1: "),
        ("a: !!int x", "x:1:4: tags "),
        ("a: !!set {b}", "x:1:4: tags "),
        ("a: !!python/object/apply:os.system [id]", "x:1:4: tags "),
        ("a: \x00", "x: is not YAML"),
        ('a: "\\U00110000"', "x:1:.*: chr"),
        ('a: "\\ud800"', r"x:1:4: .*control character U\+D800"),
        ('a: "\\e[31m"', r"x:1:4: .*control character U\+001B"),
        ('"a\\nb": 1', "x:1:1: .*one line"),
        ("a: " + "b" * 300_000, "x: has more than 200,000 characters"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        parse_yaml(text, "x")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: größe".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        load_yaml(tmp_path / "latin.yaml")


def test_an_unknown_key_names_the_nearest_and_all() -> None:
    assert _problems("title: a\narms:\n  x: {widht: 3}") == (
        "suite.yaml:3:7: arms.x.widht: unknown key (did you mean width?); "
        "allowed: mirror, rate, width"
    )
    assert "allowed: arms, only, title" in _problems("title: a\narm: {}")


def test_values_say_what_is_allowed() -> None:
    text = "arms: {x: {width: '64'}, y: {rate: fast}, z: {mirror: no}}\nonly: {width: 1.5}"
    assert _problems(text).splitlines() == [
        "suite.yaml:1:1: title: is required",
        "suite.yaml:1:12: arms.x.width: must be a whole number (got '64')",
        "suite.yaml:1:30: arms.y.rate: must be a number (got 'fast')",
        "suite.yaml:1:47: arms.z.mirror: must be true or false (got 'no')",
        "suite.yaml:2:8: only.width: must be a whole number (got 1.5)",
    ]


def test_positions_are_found_by_dotted_path_and_through_dotted_keys() -> None:
    _, positions = parse_yaml("arms:\n  70x70:\n    discriminator.patch: 71\n  list: [a, b]", "f")
    message = positions.message("arms.70x70.discriminator.patch", "must be one of 1, 70 (got 71)")
    assert message == "f:3:5: arms.70x70.discriminator.patch: must be one of 1, 70 (got 71)"
    assert positions.message("arms.list.1", "no") == "f:4:13: arms.list[1]: no"
    assert positions.message(("arms", "gone"), "no") == "f:1:1: arms: no"


def test_a_device_is_not_read_without_end() -> None:
    with pytest.raises(UserError, match="/dev/zero: has more than"):
        load_yaml("/dev/zero")


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(UserError, match="unfolds too far"):
        parse_yaml("\n".join(lines), "x")


def test_an_alias_bomb_takes_no_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    tracemalloc.start()
    with pytest.raises(UserError, match="unfolds too far"):
        parse_yaml("\n".join(lines), "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize(
    "text", ["a: !!t" + "f" * 1400, "a: *" + "f" * 1400, "!t" + "f" * 1400 + "!x a"]
)
def test_a_message_is_short_however_long_the_names_in_it(text):
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "x")
    assert len(str(caught.value)) < 400
