"""PyYAML's safe loader with the scalars of YAML 1.2, and a bound on depth and on digits."""

from __future__ import annotations

import re
import typing
from typing import Any

import yaml

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
