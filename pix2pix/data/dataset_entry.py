"""What may be said about a data set: the validated form of an entry in `datasets.yaml`."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from pix2pix.common.errors import UserError

SPLITS = ("train", "val", "test")
IGNORED = 255
"""Stands in label arrays for pixels of no class."""

Byte = Annotated[StrictInt, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
Count = Annotated[StrictInt, Field(ge=1)]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelClass(_Written):
    """One class: its name, its colour in painted label maps, its value in index maps."""

    name: str
    colour: Colour
    index: int


class ClassColour(_Written):
    """A class as it is written: `[r, g, b]`, or `{colour: [r, g, b], index: 7}`."""

    colour: Colour
    index: Annotated[StrictInt, Field(ge=0, le=255)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError("must be a colour [red, green, blue], each 0 to 255")
        return {"colour": value}


class Side(_Written):
    """One half of a pair: where its images lie and how they are read."""

    # Tasks derived from photos alone (grey, edges, holes) will be further kinds, with no files.
    kind: Literal["photo", "index", "palette"] = "photo"
    """photo: 8-bit RGB. index: PNG whose values are class indices. palette: painted labels."""
    half: Literal["left", "right"] | None = None
    folder: StrictStr | None = None
    """Below the data set's folder; `{split}` stands for the split's folder."""
    ending: StrictStr | None = None
    """How the names of this side end, after the part that both sides share."""
    grey: StrictBool = False
    """Allows 8-bit grey images on a photo side; they are read as RGB."""
    tolerance: Annotated[StrictInt, Field(ge=1, le=441)] = 60
    """Painted labels in JPEG: a pixel further from every class colour (RGB) is ignored."""

    @model_validator(mode="after")
    def _folder_is_inside(self) -> Side:
        if self.folder is not None:
            path = PurePosixPath(self.folder)
            if path.is_absolute() or ".." in path.parts or not self.folder:
                raise ValueError(f"folder must lie below the data set's path (got {self.folder!r})")
            if set(re.findall(r"\{[^}]*\}?|\}", self.folder)) - {"{split}"}:
                raise ValueError(f"folder knows only {{split}} in braces (got {self.folder!r})")
        return self


class Archive(_Written):
    url: StrictStr
    bytes: Count | None = None
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """None where nobody publishes it: then the first download's is pinned."""

    @model_validator(mode="after")
    def _is_web_address(self) -> Archive:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must start with https:// or http:// (got {self.url!r})")
        return self


class Paper(_Written):
    """How the paper trained on it; None where it does not say."""

    train_images: Count | None = None
    epochs: Count | None = None
    batch: Count | None = None
    jitter: StrictBool | None = None
    mirror: StrictBool | None = None
    unconfirmed: tuple[Literal["train_images", "epochs", "batch", "jitter", "mirror"], ...] = ()


class SplitFolders(_Written):
    train: StrictStr = "train"
    val: StrictStr = "val"
    test: StrictStr = "test"

    @model_validator(mode="after")
    def _are_inside(self) -> SplitFolders:
        for folder in (self.train, self.val, self.test):
            if not folder or folder.startswith("/") or ".." in PurePosixPath(folder).parts:
                raise ValueError(f"must name folders below the data set's path (got {folder!r})")
        return self


class DatasetEntry(_Written):
    """One data set, as described in `datasets.yaml` or in a file given by --datasets."""

    name: str
    title: StrictStr = ""
    homepage: StrictStr = ""
    licence: StrictStr = ""
    layout: Literal["procedural", "side-by-side", "folders", "cityscapes"]
    path: StrictStr = ""
    """Folder below --data-root (default: the name), or an absolute path."""
    sides: Annotated[dict[str, Side], Field(min_length=2)]
    direction: StrictStr = ""
    """Default `INPUT->TARGET`; labels->photo where both exist, else the first two sides."""
    splits: SplitFolders = SplitFolders()
    colours: dict[str, ClassColour] = Field(default={}, alias="classes", max_length=254)
    ignore: tuple[Byte | Colour, ...] | Literal["rest"] = ()
    """Index values or colours of no class; rest: all that are not named."""
    archive: Archive | None = None
    paper: Paper = Paper()
    notes: StrictStr = ""

    @cached_property
    def classes(self) -> tuple[LabelClass, ...]:
        return tuple(
            LabelClass(
                name=name,
                colour=written.colour,
                index=position if written.index is None else written.index,
            )
            for position, (name, written) in enumerate(self.colours.items())
        )

    @property
    def label_role(self) -> str | None:
        """The side that holds labels, or None."""
        return next((role for role, side in self.sides.items() if side.kind != "photo"), None)

    @property
    def default_direction(self) -> str:
        if self.direction:
            return self.direction
        roles = ("labels", "photo") if {"labels", "photo"} <= set(self.sides) else (*self.sides,)
        return f"{roles[0]}->{roles[1]}"

    def location(self, data_root: Path) -> Path:
        """The folder that holds the images."""
        return Path(data_root) / (self.path or self.name)

    def roles(self, direction: str | None = None) -> tuple[str, str]:
        """(input role, target role) of a direction such as `labels->photo`; None: the default."""
        chosen = direction or self.default_direction
        roles = tuple(role.strip() for role in chosen.split("->"))
        if len(roles) != 2 or roles[0] == roles[1] or not set(roles) <= set(self.sides):
            allowed = [f"{a}->{b}" for a in self.sides for b in self.sides if a != b]
            raise UserError(
                f"direction: {self.name} has no direction {chosen!r}; "
                f"allowed: {', '.join(allowed)} (default {self.default_direction})"
            )
        return roles[0], roles[1]

    def how_to_get(self, data_root: Path) -> str:
        """One clause that says where the images come from."""
        if self.archive:
            command = f"python -m pix2pix.datasets --download {self.name}"
            return f"get it with: {command} --data-root {data_root}"
        if self.homepage:
            return f"get it from {self.homepage} and put it there, or point --data-root elsewhere"
        return "point --data-root at the folder that holds it"

    @model_validator(mode="after")
    def _is_consistent(self) -> DatasetEntry:
        for check in (self._check_names, self._check_sides, self._check_classes):
            problem = check()
            if problem:
                raise ValueError(problem)
        try:
            self.roles()
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def _check_names(self) -> str | None:
        for text in (self.name, *self.sides):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text) or "->" in text:
                return f"a name may hold letters, digits, _ . and - (got {text!r})"
        for text in self.colours:
            if not 1 <= len(text) <= 60 or re.search(r"[<>`|\\]|^[=+@-]", text):
                return (
                    "classes: a class's name has 1 to 60 characters, none of < > ` | \\, and does "
                    f"not begin with = + - @ (got {text[:60]!r})"
                )
        if self.archive and ("/" in self.path or self.path in (".", "..")):
            return f"path: must be one plain folder name where there is an archive ({self.path!r})"
        return None

    def _check_sides(self) -> str | None:
        for role, side in self.sides.items():
            if self.layout in ("folders", "cityscapes") and side.folder is None:
                return f"sides.{role}.folder: is required in the layout {self.layout}"
            if self.layout == "cityscapes" and (side.ending is None or "{split}" in side.folder):
                return f"sides.{role}: the layout cityscapes needs an ending, and no {{split}}"
            if self.layout == "side-by-side" and side.kind == "index":
                return f"sides.{role}.kind: side-by-side images hold photos or painted labels"
            if side.grey and side.kind != "photo":
                return f"sides.{role}.grey: is for photos; this side is {side.kind}"
        with_split = {"{split}" in (side.folder or "") for side in self.sides.values()}
        if self.layout == "folders" and len(with_split) > 1:
            return "sides: either every folder holds {split} or none does"
        halves = sorted(side.half or "" for side in self.sides.values())
        if self.layout == "side-by-side" and halves != ["left", "right"]:
            return "sides: the layout side-by-side needs one side with half: left and one right"
        return None

    def _check_classes(self) -> str | None:
        labelled = [role for role, side in self.sides.items() if side.kind != "photo"]
        if len(labelled) > 1:
            return f"sides: one side at most may hold labels (got {', '.join(labelled)})"
        if bool(labelled) != bool(self.classes):
            return "classes: go with a side of kind index or palette, and such a side needs them"
        for field in ("colour", "index"):
            first: dict[Any, str] = {}
            for one in self.classes:
                value = getattr(one, field)
                if value in first:
                    return f"classes.{one.name}: has the {field} {value} of {first[value]}"
                first[value] = one.name
                if self.ignore != "rest" and value in self.ignore:
                    return f"ignore: {value} is the {field} of the class {one.name}"
        return None
