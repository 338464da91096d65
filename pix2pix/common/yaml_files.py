"""YAML read strictly, with the line and column of every field, so that an error can name them.

Suites, profiles, data sets and `--set` values are read with this. Scalars follow YAML 1.2: `2e-4`
is a number, `no` and `on` are text, `010` is ten, a date is text. Refused are a key that occurs
twice, `no` or `null` as a key without quotes, and tags (`!!int`, `!!python/…`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pix2pix.common.errors import CONTROL, UserError

Location = Sequence[str | int]
"""Where a field is: the keys and list indices that lead to it, as in pydantic's `loc`."""
MAX_CHARACTERS = 200_000
"""Of one file: 25 times the registry that comes with the package, and seconds of reading."""
MAX_DEPTH, MAX_FIELDS = 40, 100_000
"""Of what aliases unfold to: a small file could unfold without end."""
LONGEST = 300
"""Characters of a text that PyYAML writes, which quotes whole names."""
SWITCHES = {"yes", "no", "on", "off", "true", "false", "null", "~", ""}
"""Words that some version of YAML reads as a boolean or as null."""


class Positions:
    """Where each field of a YAML file is: the line and column, from 1, of its key or list item."""

    def __init__(self, source: str) -> None:
        """`source` is the file's name in messages."""
        self.source = source
        self._marks: dict[str, tuple[str, int, int]] = {"": ("", 1, 1)}

    def __len__(self) -> int:
        return len(self._marks)

    def record(self, path: Location, mark: yaml.Mark) -> None:
        """Note where a field is."""
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        key = "".join(f".{step}" for step in path)
        self._marks[key] = (field.removeprefix("."), mark.line + 1, mark.column + 1)

    def nearest(self, location: str | Location) -> tuple[str, int, int]:
        """The innermost field at a dotted path or a `loc`: its name (`arms.70x70.sizes[0]`), line
        and column. Steps that the file does not have, such as a union's in pydantic, are skipped.
        """
        known = rest = ""
        for step in location.split(".") if isinstance(location, str) else location:
            rest += f".{step}"  # a key may hold dots itself
            for tail in (rest, f".{step}"):
                if known + tail in self._marks:
                    known, rest = known + tail, ""
                    break
        return self._marks[known]

    def message(self, location: str | Location, text: str, missing: str | None = None) -> str:
        """`FILE:LINE:COL: field.path: text`; `missing` names a field that is not in the file."""
        field, line, column = self.nearest(location)
        if missing is not None:
            field = f"{field}.{missing}".removeprefix(".")
        words = (f"{field}: {text}" if field else text).split()
        return " ".join([f"{self.source}:{line}:{column}:", *words])


def load_yaml(path: Path) -> tuple[Any, Positions]:
    """The content of a YAML file and where its fields are; UserError names line and column."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> tuple[Any, Positions]:
    """Like `load_yaml`, for a text; `source` is its name in messages."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{source}: has more than {MAX_CHARACTERS:,} characters; split it")
    positions = Positions(source)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = None if node is None else _read(node, (), positions)
    except yaml.MarkedYAMLError as error:
        raise UserError(_syntax_error(error, source)) from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: is not YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError) as error:  # PyYAML's, also for an escape of no character
        problem = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        unknown = yaml.MarkedYAMLError(problem=problem, problem_mark=loader.get_mark())
        raise UserError(_syntax_error(unknown, source)) from None
    return value, positions


class _Loader(yaml.BaseLoader):
    """PyYAML's parser, without tags."""

    def fetch_tag(self) -> None:
        """Called by the scanner at every tag."""
        raise yaml.MarkedYAMLError(problem="tags are not allowed", problem_mark=self.get_mark())


_SCALARS: dict[str, Callable[[str], Any]] = {
    r"~|null|Null|NULL|": lambda _: None,
    r"true|True|TRUE": lambda _: True,
    r"false|False|FALSE": lambda _: False,
    r"[-+]?[0-9]{1,99}": int,
    r"0o[0-7]{1,99}": lambda text: int(text, 8),
    r"0x[0-9a-fA-F]{1,99}": lambda text: int(text, 16),
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?": float,
    r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)": lambda text: float(text.replace(".", "")),
}
"""What an unquoted text means: YAML 1.2's core schema."""


def _read(node: yaml.Node, path: Location, positions: Positions) -> Any:
    """The value of a node; the places of its fields are recorded."""
    if len(path) > MAX_DEPTH or len(positions) > MAX_FIELDS:
        raise _problem(node, "unfolds too far (an alias inside itself?)")
    if isinstance(node, yaml.SequenceNode):
        values = []
        for index, item in enumerate(node.value):
            positions.record((*path, index), item.start_mark)
            values.append(_read(item, (*path, index), positions))
        return values
    if isinstance(node, yaml.MappingNode):
        content: dict[str, Any] = {}
        for key_node, value in node.value:
            key = _key(key_node)
            if key in content:
                field, line, _ = positions.nearest((*path, key))
                raise _problem(key_node, f"the key {field} occurs twice, first in line {line}")
            positions.record((*path, key), key_node.start_mark)
            content[key] = _read(value, (*path, key), positions)
        return content
    _check_characters(node)
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        for pattern, convert in _SCALARS.items():
            if re.fullmatch(pattern, node.value):
                return convert(node.value)
    return node.value


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or "\n" in node.value:
        raise _problem(node, "a key must be one line of text; quote a text with { } or [ ]")
    if node.style is None and node.value.lower() in SWITCHES:
        word = node.value or "nothing"
        raise _problem(node, f"the key {word} is a boolean or null in YAML; quote it: '{word}'")
    _check_characters(node)
    return str(node.value)


def _check_characters(node: yaml.Node) -> None:
    """Refuse what an escape may put into a text: half characters, and orders to a terminal."""
    if found := CONTROL.search(node.value):
        raise _problem(node, f"the text holds the control character U+{ord(found[0]):04X}")


def _problem(node: yaml.Node, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _syntax_error(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    text = error.problem or "is not YAML"
    if error.context:
        text += f" ({error.context})"
    text = text[:LONGEST]
    if "\\t" in text:
        text += "; YAML is indented with spaces"
    return f"{where}: {' '.join(text.split())}"


def describe(
    error: ValidationError, positions: Positions, model: type[BaseModel] | None = None
) -> str:
    """One line per error: `FILE:LINE:COL: field.path: what is wrong (what is allowed)`.

    `model` is the class that was validated: with it, the message about an unknown key lists the
    allowed keys and the nearest of them.
    """
    lines: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        missing = str(item["loc"][-1]) if item["type"] == "missing" else None
        texts = lines.setdefault(positions.message(item["loc"], "", missing), [])
        text = _explain(item, model)
        if text not in texts:
            texts.append(text)
    return "\n".join(f"{place} {' or '.join(texts)}" for place, texts in lines.items())


def first_problem(error: ValidationError) -> str:
    """`field.path: what is wrong`, of a JSON file's first error, in one line of bounded length."""
    found = error.errors(include_url=False)[0]
    field = ".".join(map(str, found["loc"]))[:100]
    shown = field if field.isprintable() else ascii(field)
    return f"{shown}: {found['msg'][:200]}".removeprefix(": ")


def closest(name: str, allowed: Sequence[str]) -> str:
    """` (did you mean X?)`, or nothing if no allowed name is similar."""
    near = [other for other in allowed if other.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "none": "null",
    "dict": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "list": "a list",
    "tuple": "a list",
}
"""What a field must be, by the first word of pydantic's error type: `int_parsing`, `int_type`."""


def _explain(error: Any, model: type[BaseModel] | None) -> str:
    """An item of `ValidationError.errors()` in the words of a file's author."""
    kind, context, given = error["type"], error.get("ctx") or {}, error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        allowed = sorted(_fields_at(model, error["loc"][:-1])) if model else []
        hint = closest(str(error["loc"][-1]), allowed)
        return f"unknown key{hint}" + (f"; allowed: {', '.join(allowed)}" if allowed else "")
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    first = kind.partition("_")[0]
    if kind == "literal_error":
        text = f"must be one of {context['expected'].replace(' or ', ', ')}"
    elif kind.endswith(("_type", "_parsing", "_required", "_from_float")) and first in _TYPES:
        text = f"must be {_TYPES[first]}"
    else:
        text = error["msg"].replace("Input should be", "must be").replace("String", "text", 1)
        text = text.replace("greater than or equal to", "at least")
        text = text.replace("less than or equal to", "at most")
    shown = "nothing" if given is None else repr(given)
    return f"{text} (got {shown if len(shown) <= 60 else shown[:57] + '…'})"


def _fields_at(model: type[BaseModel], location: Location) -> set[str]:
    """The fields that a model allows at a pydantic `loc`, found in its JSON schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    here = _members(schema, definitions)
    for step in location:
        inner = []
        for part in here:
            child = part.get("properties", {}).get(step)
            child = child or part.get("additionalProperties") or part.get("items")
            inner += _members(child, definitions) if isinstance(child, dict) else []
        here = inner or here  # a step of pydantic's own (the member of a union)
    return {name for part in here for name in part.get("properties", ())}


def _members(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of a union in a JSON schema, with references followed."""
    if "$ref" in schema:
        return _members(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return [m for part in schema.get("anyOf", ()) for m in _members(part, definitions)] or [schema]
