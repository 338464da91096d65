"""Dotted settings (`discriminator.patch`): which there are, what each allows, how layers merge."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.validation_errors import closest
from pix2pix.common.yaml_positions import Positions, describe, parse_yaml
from pix2pix.config import (
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)

SECTIONS: dict[str, type[BaseModel]] = {
    "generator": GeneratorSettings,
    "discriminator": DiscriminatorSettings,
    "objective": ObjectiveSettings,
    "training": TrainingSettings,
}
SETTINGS = {
    f"{section}.{field}": model.model_fields[field]
    for section, model in SECTIONS.items()
    for field in model.model_fields
}

Dotted = dict[str, Any]


def _meant(key: str) -> str:
    """What an unknown key may be meant for: within its section, where it has one."""
    section, dot, name = key.rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in SETTINGS if one.startswith(section + ".")}
    if dot and beside:
        near = difflib.get_close_matches(name, list(beside), n=1)
        return f" (did you mean {beside[near[0]]}?)" if near else _allowed(beside.values())
    return closest(key, list(SETTINGS)) or _allowed(SETTINGS)


def _allowed(names: Iterable[str]) -> str:
    return f"; allowed: {', '.join(sorted(names))}"


def check(settings: Dotted, positions: Positions, prefix: str) -> Dotted:
    """Settings with every key known and every value allowed by itself.

    `prefix` is where they stand in the file (`arms.70x70`). UserError names file, line and field.
    """
    checked: Dotted = {}
    for key, value in settings.items():
        where = f"{prefix}.{key}" if prefix else key
        if key not in SETTINGS:
            raise UserError(positions.message(where, f"unknown setting{_meant(key)}"))
        field = SETTINGS[key]
        adapter = TypeAdapter(Annotated[field.annotation, "setting", *field.metadata])
        try:
            checked[key] = adapter.validate_python(value, strict=True)
        except ValidationError as error:
            text = describe(error, Positions("")).split(": ", 1)[-1]
            raise UserError(positions.message(where, text)) from None
    return checked


def parse_override(text: str) -> tuple[str, Any]:
    """`key=value` of `--set`, the value read as YAML. UserError names `--set`."""
    key, separator, raw = text.partition("=")
    if not separator or not key:
        raise UserError(f"--set {text}: must be key=value, such as training.steps=2000")
    value, _ = parse_yaml(raw, f"--set {key}")
    return key, value


def check_override(key: str, value: Any) -> Dotted:
    """One `--set` as checked settings."""
    try:
        return check({key: value}, Positions("--set"), "")
    except UserError as error:
        text = str(error).split(": ", 1)[-1].removeprefix(f"{key}: ")
        raise UserError(f"--set {key}: {text}") from None


def merge(layers: Iterable[Dotted]) -> Dotted:
    """Later layers win; `steps` in one takes the place of `epochs` in an earlier one, and back."""
    merged: Dotted = {}
    for layer in layers:
        for mine, other in (("steps", "epochs"), ("epochs", "steps")):
            if layer.get(f"training.{mine}") is not None:
                merged.pop(f"training.{other}", None)
        merged |= layer
    return merged


def sections(settings: Dotted) -> dict[str, dict[str, Any]]:
    """{'training.steps': 5} to {'training': {'steps': 5}}, with every section present."""
    nested: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in settings.items():
        section, _, field = key.partition(".")
        nested[section][field] = value
    return nested
