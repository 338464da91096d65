"""The registry of data sets: entries of `datasets.yaml` and of a file of the user's own.

`python -m pix2pix.datasets` lists, downloads and verifies the data sets (pix2pix/datasets.py).
Nothing here imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from pix2pix.common.errors import UserError
from pix2pix.common.yaml_files import closest, describe, load_yaml
from pix2pix.data.tasks import ROLES

REGISTRY = Path(__file__).resolve().with_name("datasets.yaml")
"""A link to the one beside run_ablations.py; in a wheel a copy of it."""
SPLITS = ("train", "val", "test")
IGNORED = 255
"""Value in label arrays for pixels of no class."""

Byte = Annotated[StrictInt, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
Count = Annotated[StrictInt, Field(ge=1)]


class _Fields(BaseModel):
    """Fields of a YAML file: unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class LabelClass:
    """One class: its name, its colour in painted label maps, its value in index maps."""

    name: str
    colour: Colour
    index: int


class ClassColour(_Fields):
    """A class in YAML: `[r, g, b]`, or `{colour: [r, g, b], index: 7}`."""

    colour: Colour
    index: Byte | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_short_form(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError("must be a colour [red, green, blue], each 0 to 255")
        return {"colour": value}


class Side(_Fields):
    """One half of a pair: where its images are and how they are read."""

    kind: Literal["photo", "index", "palette"] = "photo"
    """photo: 8-bit RGB. index: values are class indices. palette: labels painted in colours."""
    half: Literal["left", "right"] | None = None
    folder: StrictStr | None = None
    """Below the data set's folder; `{split}` stands for the split's folder."""
    ending: StrictStr | None = None
    """What file names of this side end with, after the part that both sides share."""
    grey: StrictBool = False
    """Allows 8-bit grey images on a photo side; they are read as RGB."""
    tolerance: Annotated[StrictInt, Field(ge=1, le=441)] = 60
    """Painted labels in JPEG: a pixel further than this from every class colour is ignored."""


class Archive(_Fields):
    """A published archive of a data set."""

    url: StrictStr
    bytes: Count | None = None
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """None if nobody publishes it: the first download is pinned (pix2pix/data/download.py)."""


class Paper(_Fields):
    """How the paper trained on a data set; None if the paper does not report it."""

    train_images: Count | None = None
    epochs: Count | None = None
    batch: Count | None = None
    jitter: StrictBool | None = None
    mirror: StrictBool | None = None
    unconfirmed: tuple[Literal["train_images", "epochs", "batch", "jitter", "mirror"], ...] = ()


class SplitFolders(_Fields):
    """The folder of each split; two splits may share one."""

    train: StrictStr = "train"
    val: StrictStr = "val"
    test: StrictStr = "test"


class DatasetEntry(_Fields):
    """One data set, as described in `datasets.yaml` or in a file given by --datasets."""

    name: str
    """The key in the file."""
    title: StrictStr = ""
    homepage: StrictStr = ""
    licence: StrictStr = ""
    layout: Literal["procedural", "side-by-side", "folders", "cityscapes"]
    path: StrictStr = ""
    """Folder below --data-root (default: the name), or an absolute path."""
    sides: Annotated[dict[str, Side], Field(min_length=1)]
    direction: StrictStr = ""
    """Default `INPUT->TARGET`; labels->photo if the set has both, else the first two sides, or of
    one side alone grey->SIDE."""
    splits: SplitFolders = SplitFolders()
    fit: Literal["resize", "pad"] = "resize"
    """How images get the size of the training. pad: mirrored at the bottom and right, and cut off
    again before anything is scored."""
    unpaired: StrictBool = False
    """Whether the images of the two sides do not belong together: each side has names and a number
    of its own, only methods that need no pairs train on them, and scores that compare a
    translation with its target are not measured."""
    recognise: StrictBool = False
    """Whether other known layouts are looked for where the folders of the sides are missing."""
    colours: dict[str, ClassColour] = Field(default={}, alias="classes", max_length=254)
    ignore: tuple[Byte | Colour, ...] | Literal["rest"] = ()
    """Index values or colours of no class; rest: all values that no class has."""
    ignore_at_most: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Share of a split's label pixels that may be of no class; more is refused before training."""
    clip: StrictStr | None = None
    """A regular expression: images whose names begin with the same match are frames of one film
    clip, and intervals over test images draw whole clips."""
    archive: Archive | None = None
    paper: Paper = Paper()
    notes: StrictStr = ""

    @cached_property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order of the file; without an index, a class's place is its index."""
        return tuple(
            LabelClass(name, found.colour, place if found.index is None else found.index)
            for place, (name, found) in enumerate(self.colours.items())
        )

    @property
    def label_role(self) -> str | None:
        """The side that holds labels, or None."""
        return next((role for role, side in self.sides.items() if side.kind != "photo"), None)

    @property
    def default_direction(self) -> str:
        """`INPUT->TARGET` for a suite that names no direction."""
        if self.direction:
            return self.direction
        roles = ("labels", "photo") if {"labels", "photo"} <= set(self.sides) else (*self.sides,)
        return f"{roles[0]}->{roles[1]}" if len(roles) > 1 else f"grey->{roles[0]}"

    def location(self, data_root: Path) -> Path:
        """The folder that holds the images."""
        return Path(data_root) / (self.path or self.name)

    def roles(self, direction: str | None = None) -> tuple[str, str]:
        """(input role, target role) of a direction such as `labels->photo`; None: the default.

        The input may be one that is derived from a photo (pix2pix/data/tasks.py).
        """
        chosen = direction or self.default_direction
        roles = tuple(role.strip() for role in chosen.split("->"))
        if len(roles) == 2 and roles[0] != roles[1]:
            if set(roles) <= set(self.sides):
                return roles[0], roles[1]
            if roles[0] in ROLES and (roles[1] in self._photos() or self.takes_photos(chosen)):
                return roles[0], roles[1]
        allowed = [f"{a}->{b}" for a in self.sides for b in self.sides if a != b]
        photos = [*self._photos(), *["photo"] * self.recognise]
        allowed += [f"{'|'.join(ROLES)}->{photo}" for photo in photos]
        raise UserError(
            f"direction: {self.name} has no direction {chosen!r}; "
            f"allowed: {', '.join(allowed)} (default {self.default_direction})"
        )

    def derived_role(self, direction: str | None = None) -> str | None:
        """The input role of a direction if it is derived from the target; None if it has files."""
        role = self.roles(direction)[0]
        return None if role in self.sides else role

    def paired(self, direction: str | None = None) -> bool:
        """Whether every input of a direction has a target; a derived input always has."""
        return not self.unpaired or self.derived_role(direction) is not None

    def takes_photos(self, direction: str | None) -> bool:
        """Whether a direction asks for plain photos, where the sides are found on the disk."""
        role, _, target = (direction or "").replace(" ", "").partition("->")
        return self.recognise and "photo" not in self.sides and role in ROLES and target == "photo"

    def _photos(self) -> list[str]:
        return [role for role, side in self.sides.items() if side.kind == "photo"]

    def how_to_get(self, data_root: Path) -> str:
        """One clause that tells the user where to get the images."""
        if self.archive:
            command = f"python -m pix2pix.datasets --download {self.name}"
            return f"get it with: {command} --data-root {data_root}"
        if self.homepage:
            return f"get it from {self.homepage} and put it there, or point --data-root elsewhere"
        return "point --data-root at the folder that holds it"

    @model_validator(mode="after")
    def _check(self) -> DatasetEntry:
        self._check_names()
        self._check_sides()
        self._check_classes()
        try:
            self.roles()
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def _check_names(self) -> None:
        for text in (self.name, *self.sides):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text) or "->" in text:
                raise ValueError(f"a name may hold letters, digits, _ . and - (got {text!r})")
        for text in self.colours:
            # Reports write class names into HTML, Markdown, CSV and MLflow's metric names.
            if not 1 <= len(text) <= 60 or re.search(r"[<>`|\\]|^[=+@-]", text):
                raise ValueError(
                    "classes: a class's name has 1 to 60 characters, none of < > ` | \\, and does "
                    f"not begin with = + - @ (got {text[:60]!r})"
                )
        try:
            re.compile(self.clip or "")
        except re.error as error:
            raise ValueError(f"clip: not a regular expression: {error}") from None

    def _check_sides(self) -> None:
        for role, side in self.sides.items():
            if self.layout in ("folders", "cityscapes") and side.folder is None:
                raise ValueError(f"sides.{role}.folder: is required in the layout {self.layout}")
            split_named = "{split}" in (side.folder or "")
            if self.layout == "cityscapes" and (side.ending is None or split_named):
                raise ValueError(f"sides.{role}: cityscapes needs an ending, and no {{split}}")
            if self.layout == "side-by-side" and side.kind == "index":
                raise ValueError(f"sides.{role}.kind: must be photo or palette in side-by-side")
        with_split = {"{split}" in (side.folder or "") for side in self.sides.values()}
        if self.layout == "folders" and len(with_split) > 1:
            raise ValueError("sides: either every folder holds {split} or none does")
        if self.layout in ("folders", "cityscapes"):
            places: dict[tuple[str, str], str] = {}
            for role, side in self.sides.items():
                other = places.setdefault((side.folder or "", (side.ending or "").lower()), role)
                if other != role:
                    raise ValueError(f"sides.{role}: names the same files as {other}")
        halves = sorted(side.half or "" for side in self.sides.values())
        if self.layout == "side-by-side" and halves != ["left", "right"]:
            raise ValueError("sides: side-by-side needs one side with half: left and one right")
        if self.unpaired and (self.layout != "folders" or len(self.sides) != 2 or self.label_role):
            raise ValueError("unpaired: is for two sides of photos in the layout folders")
        if self.unpaired and self.fit == "pad":
            raise ValueError("unpaired: its images are resized; fit: pad does not go with it")
        if self.recognise and (set(self.sides) != {"A", "B"} or self.label_role):
            raise ValueError("recognise: is for two sides of photos called A and B")

    def _check_classes(self) -> None:
        labelled = [role for role, side in self.sides.items() if side.kind != "photo"]
        if len(labelled) > 1:
            raise ValueError(f"sides: at most one side may hold labels (got {', '.join(labelled)})")
        if bool(labelled) != bool(self.classes):
            raise ValueError("classes: go with a side of kind index or palette, which needs them")
        for field in ("colour", "index"):
            first: dict[int | Colour, str] = {}
            for label in self.classes:
                value = getattr(label, field)
                if value in first:
                    other = first[value]
                    raise ValueError(f"classes.{label.name}: has the {field} {value} of {other}")
                first[value] = label.name
                if self.ignore != "rest" and value in self.ignore:
                    raise ValueError(f"ignore: {value} is the {field} of the class {label.name}")


class _Registry(RootModel[dict[str, DatasetEntry]]):
    """The whole file: data sets by name."""


def load_registry(extra: Path | None = None) -> dict[str, DatasetEntry]:
    """Every data set by name: those of `datasets.yaml`, then those of the user's own file.

    Raises UserError with file, line, column and field for each mistake.
    """
    registry = _read(REGISTRY)
    if extra is not None:
        registry |= _read(Path(extra), taken=tuple(registry))
    return registry


def find_entry(registry: dict[str, DatasetEntry], name: str) -> DatasetEntry:
    """The data set of that name; UserError lists the existing names, the nearest first."""
    if name not in registry:
        raise UserError(
            f"dataset: {name!r} is unknown{closest(name, list(registry))}; "
            f"allowed: {', '.join(registry)}"
        )
    return registry[name]


def _read(path: Path, taken: tuple[str, ...] = ()) -> dict[str, DatasetEntry]:
    value, positions = load_yaml(path)
    if not isinstance(value, dict) or not value:
        raise UserError(f"{path}:1:1: must hold data sets (name: {{layout: …, sides: …}})")
    for name, fields in value.items():
        if name in taken:
            raise UserError(positions.message([name], "the name is taken; choose another"))
        if isinstance(fields, dict):
            if "name" in fields:
                problem = "unknown key; the entry's key is its name"
                raise UserError(positions.message([name, "name"], problem))
            value[name] = {**fields, "name": name}
    try:
        return _Registry.model_validate(value).root
    except ValidationError as error:
        raise UserError(describe(error, positions, _Registry)) from None
