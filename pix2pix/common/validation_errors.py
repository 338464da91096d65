"""pydantic's findings said in plain words: what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, RootModel

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
