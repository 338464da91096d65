"""The registry of data sets: `datasets.yaml` and a file of the user's own. No torch here.

`python -m pix2pix.datasets` lists, downloads and verifies them (pix2pix/datasets.py).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import RootModel, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.yaml_files import closest, describe, load_yaml
from pix2pix.data.dataset_entry import IGNORED, SPLITS, DatasetEntry, LabelClass

__all__ = ["IGNORED", "SPLITS", "DatasetEntry", "LabelClass", "find_entry", "load_registry"]

REGISTRY = Path(__file__).resolve().parents[2] / "datasets.yaml"


class _Registry(RootModel[dict[str, DatasetEntry]]):
    pass


def load_registry(extra: Path | None = None) -> dict[str, DatasetEntry]:
    """Every data set by name: those of `datasets.yaml`, then those of the user's own file."""
    registry = _read(REGISTRY)
    if extra is not None:
        for name, entry in _read(Path(extra), taken=tuple(registry)).items():
            registry[name] = entry
    return registry


def _read(path: Path, taken: tuple[str, ...] = ()) -> dict[str, DatasetEntry]:
    value, positions = load_yaml(path)
    if not isinstance(value, dict) or not value:
        raise UserError(f"{path}:1:1: must hold data sets (name: {{layout: …, sides: …}})")
    for name, written in value.items():
        if name in taken:
            raise UserError(positions.message([name], "the name is taken; choose another"))
        if isinstance(written, dict):
            if "name" in written:
                raise UserError(positions.message([name, "name"], "unknown key; the key names it"))
            value[name] = {**written, "name": name}
    try:
        return _Registry.model_validate(value).root
    except ValidationError as error:
        raise UserError(describe(error, positions, path, _Registry)) from None


def find_entry(registry: dict[str, DatasetEntry], name: str) -> DatasetEntry:
    """The data set of that name; UserError lists those that exist, the nearest first."""
    if name not in registry:
        raise UserError(
            f"dataset: {name!r} is unknown{closest(name, list(registry))}; "
            f"allowed: {', '.join(registry)}"
        )
    return registry[name]
