"""YAML read strictly, with the line and column of every field, so that an error can name them.

Data sets and suites are read with this. It follows YAML 1.2 where YAML 1.1 sets traps: `2e-4` is
a number, `no` and `on` are text, `010` is ten, a date is text; and it refuses what YAML would
swallow: a key written twice, and `no` or `null` as a key. A file can only hold text, numbers,
booleans, null, lists and mappings: a tag that asks for anything else is an error. Size, depth and
what aliases unfold to are bounded, and texts hold no control characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pix2pix.common.errors import CONTROL, UserError
from pix2pix.common.validation_errors import SWITCHES, Location, explain
from pix2pix.common.yaml_loader import MAX_DEPTH, CoreLoader

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
