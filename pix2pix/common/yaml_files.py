"""YAML read strictly, with the line and column of every field, so that an error can name them.

Data sets and suites are read with this. It follows YAML 1.2 where YAML 1.1 sets traps: `2e-4` is
a number, `no` and `on` are text, `010` is ten, a date is text; and it refuses what YAML would
swallow: a key written twice, and `no` or `null` as a key. A file can only hold text, numbers,
booleans, null, lists and mappings: a tag that asks for anything else is an error. Size, depth and
what aliases unfold to are bounded, and texts hold no control characters.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, RootModel, ValidationError

from pix2pix.common.errors import CONTROL, UserError

MAX_CHARACTERS = 200_000
"""Of one file: a few seconds of reading, and 25 times the registry that comes with the package."""
MAX_NODES = 100_000
"""Aliases can make a small file unfold without end; nothing honest comes near these bounds."""
MAX_KEY = 200
"""Characters of a key."""
LONGEST = 300
"""Characters of a message, without its place."""


class Positions:
    """Where each field of a YAML file stands: 1-based line and column of its key (or list item)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._marks: dict[tuple[str | int, ...], tuple[int, int]] = {(): (1, 1)}

    def record(self, path: tuple[str | int, ...], mark: yaml.Mark) -> None:
        self._marks[path] = (mark.line + 1, mark.column + 1)

    def find(self, location: str | Location) -> tuple[tuple[str | int, ...], tuple[int, int]]:
        """The nearest known field for a dotted path or a pydantic `loc`, and its (line, column).

        Steps that the file does not have (the tags that pydantic puts in for a union) are passed
        over; keys that hold dots themselves are understood.
        """
        if isinstance(location, str):
            steps_in = location.split(".")
            location = [int(s) if s.isascii() and s.isdigit() else s for s in steps_in]
        steps = tuple(location)
        known: tuple[str | int, ...] = ()
        start = 0
        while start < len(steps):
            for end in range(len(steps), start, -1):
                key = steps[start] if end == start + 1 else ".".join(map(str, steps[start:end]))
                key = key if (*known, key) in self._marks else str(key)
                if (*known, key) in self._marks:
                    known, start = (*known, key), end
                    break
            else:
                start += 1
        return known, self._marks[known]

    def message(self, location: str | Location, text: str, missing: str | None = None) -> str:
        """`FILE:LINE:COL: field.path: text`; `missing` names a field that is not in the file."""
        known, (line, column) = self.find(location)
        field = dotted((*known, missing) if missing is not None else known)
        said = f"{field + ': ' if field else ''}{text}"
        return f"{self.source}:{line}:{column}: {' '.join(said.split())}"


def dotted(path: Location) -> str:
    """('arms', '70x70', 'sizes', 0) -> 'arms.70x70.sizes[0]'."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def load_yaml(path: Path) -> tuple[Any, Positions]:
    """The content of one YAML file and where its fields stand; UserError names line and column."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> tuple[Any, Positions]:
    """The same for a text; `source` stands in the errors where a file's name would."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{source}: has more than {MAX_CHARACTERS:,} characters; split it")
    positions = Positions(source)
    loader = None
    try:
        loader = CoreLoader(text)
        node = loader.get_single_node()
        value = None if node is None else _Reader(loader, positions).read(node, ())
    except yaml.MarkedYAMLError as error:
        raise UserError(_syntax_error(error, source)) from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{source}: is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # an escape that stands for no character
        place = loader.get_mark() if loader is not None else None
        where = f"{source}:{place.line + 1}:{place.column + 1}" if place else source
        raise UserError(f"{where}: is not YAML: {' '.join(str(error).split())}") from None
    finally:
        if loader is not None:
            loader.dispose()
    return value, positions


def describe(
    error: ValidationError,
    positions: Positions,
    path: Path | str | None = None,
    model: type[BaseModel] | None = None,
) -> str:
    """One line an error: `FILE:LINE:COL: field.path: what is wrong (what is allowed)`.

    `path` replaces the file's name. `model` is the class that was validated: with it, an unknown
    key is answered with the keys that are allowed and the nearest of them.
    """
    if path is not None:
        positions.source = str(path)
    lines: dict[tuple[Any, ...], list[str]] = {}
    for one in error.errors(include_url=False):
        location = one["loc"]
        missing = str(location[-1]) if one["type"] == "missing" else None
        known, _ = positions.find(location)
        said = lines.setdefault((known, missing), [])
        text = explain(one, model)
        if text not in said:
            said.append(text)
    return "\n".join(
        positions.message(known, " or ".join(texts), missing)
        for (known, missing), texts in lines.items()
    )


_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_SCALARS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))


class _Reader:
    """Turns nodes into values and notes where each of them stands."""

    def __init__(self, loader: CoreLoader, positions: Positions) -> None:
        self.loader = loader
        self.positions = positions
        self.nodes = 0

    def read(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self.nodes += 1
        if len(path) > MAX_DEPTH or self.nodes > MAX_NODES:
            raise yaml.constructor.ConstructorError(
                None, None, "unfolds too far (an alias inside itself?)", node.start_mark
            )
        if node.tag not in (_SCALARS if isinstance(node, yaml.ScalarNode) else _PLAIN):
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {node.tag[:60]} is not understood here", node.start_mark
            )
        if isinstance(node, yaml.MappingNode):
            return {key: value for key, value in self._items(node, path)}
        if isinstance(node, yaml.SequenceNode):
            values = []
            for index, item in enumerate(node.value):
                self.positions.record((*path, index), item.start_mark)
                values.append(self.read(item, (*path, index)))
            return values
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        problem = None
        control = CONTROL.search(node.value)
        if control:
            problem = f"the text holds the control character U+{ord(control[0]):04X}"
        else:
            try:
                return self.loader.construct_object(node)
            except (ValueError, LookupError):  # of a tag that was written out: !!int x
                kind = node.tag.rpartition(":")[2]
                problem = f"is not of the kind {kind}: {node.value[:40]!r}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def _items(
        self, node: yaml.MappingNode, path: tuple[str | int, ...]
    ) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in first:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {dotted((*path, key))} stands twice, first in line {first[key]}",
                    key_node.start_mark,
                )
            first[key] = key_node.start_mark.line + 1
            self.positions.record((*path, key), key_node.start_mark)
            yield key, self.read(value_node, (*path, key))

    def _key(self, node: yaml.Node) -> str:
        problem = None
        if not isinstance(node, yaml.ScalarNode):
            problem = "a key must be text; quote a text with { } or [ ]"
        elif node.style is None and node.value.lower() in SWITCHES:
            shown = node.value or "nothing"
            problem = f"the key {shown} means a switch in YAML; quote it: '{node.value}'"
        elif CONTROL.search(node.value) or "\n" in node.value or len(node.value) > MAX_KEY:
            problem = f"a key is one line of at most {MAX_KEY} characters ({node.value[:40]!r})"
        if problem:
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return node.value


def _syntax_error(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    problem = error.problem or error.context or "is not YAML"
    if error.context and not isinstance(error, yaml.constructor.ConstructorError):
        problem = f"{problem} ({error.context})"
    problem = problem[:LONGEST]  # PyYAML's own words may quote whole names of tags and anchors
    if "\\t" in problem:
        problem += "; YAML is indented with spaces"
    return f"{where}: {' '.join(problem.split())}"


MAX_DEPTH = 40
MAX_DIGITS = 400
"""Of a number; a float has 309 at most."""


class CoreLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, list[Any]]] = {}

    # Every open bracket is looked at again at every token, so that depth is bounded here already.
    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        self._bound(self.flow_level)
        super().fetch_flow_collection_start(token)

    def add_indent(self, column: int) -> bool:
        self._bound(len(self.indents))
        return super().add_indent(column)

    def _bound(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise yaml.scanner.ScannerError(None, None, "is nested too deeply", self.get_mark())


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has at most {MAX_DIGITS} digits")
    base = {"0x": 16, "0o": 8}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )
CoreLoader.add_constructor("tag:yaml.org,2002:int", _integer)


Location = Sequence[str | int]

SWITCHES = {"yes", "no", "on", "off", "true", "false", "null", "~", ""}
"""Words that some reader of YAML takes for a boolean or for nothing."""


def closest(name: str, allowed: Sequence[str]) -> str:
    """' (did you mean X?)', or nothing where no name is near."""
    near = [one for one in allowed if one.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def explain(error: Any, model: type[BaseModel] | None) -> str:
    """What pydantic found (an item of `ValidationError.errors()`), in the words of a file's author.

    `model` is the class that was validated: it tells the keys that an unknown one may be meant for.
    """
    kind, context, given = error["type"], error.get("ctx") or {}, error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        allowed = sorted(_fields_at(model, error["loc"][:-1])) if model else []
        hint = closest(str(error["loc"][-1]), allowed)
        return "unknown key" + hint + (f"; allowed: {', '.join(allowed)}" if allowed else "")
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind in _WORDS:
        wanted = _WORDS[kind](context)
    else:
        wanted = error["msg"].replace("Input should be", "must be").replace("String", "text", 1)
    return f"{wanted} (got {_shown(given)}{_trap(kind, given)})"


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "literal_error": lambda c: f"must be one of {c['expected'].replace(' or ', ', ')}",
    "int_type": lambda c: "must be a whole number",
    "int_parsing": lambda c: "must be a whole number",
    "int_from_float": lambda c: "must be a whole number",
    "float_type": lambda c: "must be a number",
    "float_parsing": lambda c: "must be a number",
    "finite_number": lambda c: "must be a finite number",
    "bool_type": lambda c: "must be true or false",
    "bool_parsing": lambda c: "must be true or false",
    "string_type": lambda c: "must be text",
    "none_required": lambda c: "must be null",
    "greater_than": lambda c: f"must be more than {c['gt']}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']}",
    "less_than": lambda c: f"must be less than {c['lt']}",
    "less_than_equal": lambda c: f"must be at most {c['le']}",
    "dict_type": lambda c: "must be a mapping (key: value)",
    "model_type": lambda c: "must be a mapping (key: value)",
    "model_attributes_type": lambda c: "must be a mapping (key: value)",
    "list_type": lambda c: "must be a list",
    "tuple_type": lambda c: "must be a list",
}


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _trap(kind: str, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    if kind.startswith("bool") and value.lower() in SWITCHES:
        return "; write true or false"
    if kind.startswith(("int", "float")) and re.fullmatch(r"[-+.0-9eE]+", value):
        return "; a number in quotes is text"
    return ""


def _fields_at(model: type[BaseModel], location: Location) -> set[str]:
    """The fields that a model allows at a pydantic `loc`, found along the annotations."""
    here: list[Any] = _alternatives(model)
    for step in location:
        following: list[Any] = []
        for annotation in here:
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                field = annotation.model_fields.get(str(step)) or next(
                    (f for f in annotation.model_fields.values() if f.alias == step), None
                )
                following += _alternatives(field.annotation) if field else []
            elif typing.get_origin(annotation) is not None:
                following += [o for a in typing.get_args(annotation) for o in _alternatives(a)]
        here = following or here  # a step of pydantic's own (the tag of a union)
    return {
        field.alias or name
        for annotation in here
        if isinstance(annotation, type) and issubclass(annotation, BaseModel)
        for name, field in annotation.model_fields.items()
    }


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, Annotated unwrapped; otherwise the annotation itself."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _alternatives(part)]
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _alternatives(annotation.model_fields["root"].annotation)
    return [annotation]
