"""The spec loader on suites that nobody wrote by hand: what is valid comes back as it was, and a
key that nobody knows is refused wherever it stands, with file, line and field."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import METRICS
from experiments.spec import load_suite
from pix2pix.common.errors import UserError

letters = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\,<>`")
NAMES = st.text(letters, min_size=1, max_size=20).filter(
    lambda name: name[0] not in "=+-@" and name.lower() not in WORDS and name == name.strip()
)
WORDS = {"yes", "no", "on", "off", "true", "false", "null", "~", "ground truth"}
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "discriminator.patch": st.sampled_from([1, 16, 34, 70, 142, 286]),
    "generator.width": st.integers(1, 4096),
    "generator.dropout": st.floats(0, 1, exclude_max=True),
    "objective.gan": st.sampled_from(["none", "unconditional", "conditional"]),
    "objective.l1": st.floats(0, allow_nan=False, allow_infinity=False),
    "training.steps": st.integers(1, 2**31 - 1),
    "training.mirror": st.booleans(),
}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=30)
blocks = st.fixed_dictionaries({}, optional=SETTINGS)


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """A valid suite, as the mapping that its file holds."""
    arms = draw(st.dictionaries(NAMES, blocks, min_size=1, max_size=4))
    columns = draw(st.lists(st.sampled_from(list(METRICS)), max_size=3, unique=True))
    row = st.lists(st.floats(-1e9, 1e9), min_size=len(columns), max_size=len(columns))
    rows = draw(st.dictionaries(st.sampled_from([*arms, "ground truth"]), row, max_size=3))
    return {
        "title": draw(TEXT),
        "question": draw(TEXT),
        "base": draw(blocks),
        "arms": arms,
        "profiles": draw(st.dictionaries(st.sampled_from(["smoke", "quick", "paper"]), blocks)),
        "scores": draw(st.lists(st.sampled_from(["fcn", "lpips", "color", "pixel"]))),
        "published": {"source": draw(TEXT), "columns": columns, "rows": rows},
    }


def load(content: dict[str, Any], block_style: bool = True):
    """The suite that a file of this content holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        text = (
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            if block_style
            else json.dumps(content, ensure_ascii=False)
        )
        path.write_text(text, encoding="utf-8")
        return load_suite(path)


@settings(max_examples=60, deadline=None)
@given(suites(), st.booleans())
def test_a_valid_suite_comes_back_as_it_was_written(content: dict, block_style: bool) -> None:
    suite = load(content, block_style)
    read = suite.model_dump(exclude={"name", "direction", "claims"})
    assert read == content
    assert list(suite.arms) == list(content["arms"])
    again = load({key: value for key, value in suite.model_dump().items() if key != "name"})
    assert again == suite


def _mappings(value: Any, here: tuple = ()) -> list[tuple]:
    """Where the mappings of a suite stand, except those whose keys its author chooses."""
    if not isinstance(value, dict):
        return []
    inner = [place for key, one in value.items() for place in _mappings(one, (*here, key))]
    free = here in (("arms",), ("published", "rows"))
    return inner if free else [here, *inner]


@settings(max_examples=60, deadline=None)
@given(suites(), st.data())
def test_a_key_that_nobody_knows_is_refused_with_file_line_and_field(content, data) -> None:
    place = data.draw(st.sampled_from(_mappings(content)))
    key = data.draw(st.sampled_from(["colour", "training.step", "Title", "lr", "patch"]))
    target: Any = content
    for step in place:
        target = target[step]
    target[key] = {} if place == ("profiles",) else 1
    try:
        load(content)
    except UserError as error:
        said = str(error)
    else:
        raise AssertionError(f"{key} was taken at {place}")
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    lines = [one for one in said.split("\n") if key in one]
    assert lines, said
    file, line, column, rest = lines[0].split(":", 3)
    assert file.endswith("mine.yaml") and "unknown" in rest
    written = text.splitlines()[int(line) - 1][int(column) - 1 :]
    assert written.startswith((key, f"'{key}'", f'"{key}"')), (said, written)
    assert ".".join([*place, key]) in rest or key in rest.split(":")[0]
