"""Suites and profiles from YAML, and the settings that both are made of. Never imports torch.

One suite is one ablation and one file. Settings have dotted names: `discriminator.patch`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from eval.metrics import METRICS
from pix2pix.common.errors import UserError
from pix2pix.common.yaml_files import Positions, closest, describe, load_yaml, parse_yaml
from pix2pix.config import (
    CellSettings,
    CycleSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
    TranslationSettings,
)

FOLDER = Path(__file__).parent
GROUND_TRUTH = "ground truth"
DIRECTION = "direction"
"""The one key of an arm that is no setting of a training."""
SIDE = Annotated[int, Field(ge=16, le=4096)]
ScorerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""Part of the names of its scores: `fcn.class_iou/NAME`."""

SECTIONS: dict[str, type[BaseModel]] = {
    "generator": GeneratorSettings,
    "discriminator": DiscriminatorSettings,
    "objective": ObjectiveSettings,
    "training": TrainingSettings,
    "cycle": CycleSettings,
    "translation": TranslationSettings,
}
SETTINGS = {"method": CellSettings.model_fields["method"]} | {
    f"{section}.{field}": model.model_fields[field]
    for section, model in SECTIONS.items()
    for field in model.model_fields
}

Dotted = dict[str, Any]


def _suggestion(key: str) -> str:
    """What to write instead of an unknown key: the closest setting, of its section if known."""
    section, _, name = key.rpartition(".")
    known = sorted(k for k in SETTINGS if k.startswith(f"{section}."))
    if not known and (whole := closest(key, list(SETTINGS))):
        return whole
    known = known or sorted(SETTINGS)
    by_field = {setting.rpartition(".")[2]: setting for setting in known}
    near = difflib.get_close_matches(name, by_field, n=1)
    return f" (did you mean {by_field[near[0]]}?)" if near else f"; allowed: {', '.join(known)}"


def check_settings(settings: Dotted, positions: Positions, prefix: str) -> Dotted:
    """Settings with every key known and every value allowed by itself.

    `prefix` is where they stand in the file (`arms.70x70`). UserError names file, line and field.
    """
    checked: Dotted = {}
    for key, value in settings.items():
        where = f"{prefix}.{key}" if prefix else key
        if key not in SETTINGS:
            raise UserError(positions.message(where, f"unknown setting{_suggestion(key)}"))
        field = SETTINGS[key]
        allowed: Any = Annotated[field.annotation, "setting", *field.metadata]
        adapter: TypeAdapter[Any] = TypeAdapter(allowed)
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
        return check_settings({key: value}, Positions("--set"), "")
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


def sections(settings: Dotted) -> dict[str, Any]:
    """{'training.steps': 5} to {'training': {'steps': 5}}, with every section present."""
    nested: dict[str, Any] = {section: {} for section in SECTIONS}
    for key, value in settings.items():
        section, _, field = key.partition(".")
        if field:
            nested[section][field] = value
        else:
            nested[key] = value
    return nested


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Published(_Document):
    """The paper's numbers: a row per arm, in the order of `columns`."""

    source: str
    columns: list[str]
    rows: dict[str, list[Annotated[float, Field(allow_inf_nan=False)]]]


class Suite(_Document):
    """One ablation: a base plus changed settings an arm, its scores, published numbers, claims."""

    name: str
    title: str
    question: str = ""
    direction: str | None = None
    """`input->target` of the data set's sides; None takes the data set's own default."""
    base: dict[str, Any] = {}
    arms: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """Settings by arm; `direction` among them takes the place of the suite's."""
    profiles: dict[str, dict[str, Any]] = {}
    scores: list[Literal["fcn", "labels", "lpips", "color", "pixel", "hole", "diversity"]] = [
        "fcn",
        "lpips",
        "color",
        "pixel",
    ]
    published: Published | None = None
    claims: list[str] = []


class ScorerProfile(_Document):
    """The in-suite FCN-8s, trained from scratch (`eval.scorer.train.ScorerSettings`)."""

    width: Annotated[int, Field(ge=1, le=4096)]
    batches: Annotated[int, Field(ge=1, lt=2**31)]
    batch: Annotated[int, Field(ge=2, lt=2**31)]
    validate_every: Annotated[int, Field(ge=1, lt=2**31)]
    patience: Annotated[int, Field(ge=1, lt=2**31)]
    photometric: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class PretrainedProfile(_Document):
    """The in-suite heads on VGG16 (`eval.scorer.pretrained.HeadSettings`)."""

    photos: Annotated[int, Field(ge=1, lt=2**31)]
    batches: Annotated[int, Field(ge=1, lt=2**31)]
    batch: Annotated[int, Field(ge=1, lt=2**31)]
    photometric: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Profile(_Document):
    """What every arm of every suite inherits: size, seeds, settings."""

    size: SIDE | Annotated[list[SIDE], Field(min_length=2, max_length=2)]
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    settings: dict[str, Any]
    scorer: PretrainedProfile
    """Used wherever the weights of VGG16 are on the disk."""
    scorer_from_scratch: ScorerProfile
    """Used elsewhere."""
    other_scorers: dict[ScorerName, PretrainedProfile | ScorerProfile] = {}
    """They score the same images, and decide nothing: reports show whether verdicts hang on the
    scorer. One on VGG16 is left out where its weights are not on the disk."""
    paper_schedule: bool = False
    """Length, batch, jitter and mirroring as the paper has them for the data set."""

    @model_validator(mode="after")
    def _scorers_differ(self) -> Profile:
        seen: list[BaseModel] = [self.scorer]
        for name, scorer in self.other_scorers.items():
            if name.startswith("batch-") or name == "full-size":
                raise ValueError(f"other_scorers: {name}: scores of other images are named so")
            if scorer in seen:
                raise ValueError(f"other_scorers: {name}: equal to another scorer of this profile")
            seen.append(scorer)
        return self


class _Profiles(RootModel[dict[str, Profile]]):
    pass


def suite_names() -> list[str]:
    """The suites that come with the package, by name."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "profiles")


def load_suite(name: str | Path) -> Suite:
    """A suite by name, or from a YAML file of the user's own.

    UserError for an unknown name and for everything wrong in the file, with line and field.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"--suite {name}: no such file")
    else:
        if name not in suite_names():
            raise UserError(
                f"--suite {name}: unknown suite{closest(str(name), suite_names())}; "
                f"allowed: {', '.join(suite_names())}, all, or the path of a .yaml file"
            )
        path = FOLDER / f"{name}.yaml"
    content, positions = load_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping with title and arms")
    if path.parent != FOLDER and path.stem in suite_names():
        raise UserError(f"{path}: a suite that comes with the package has that name: rename it")
    if "name" in content:
        raise UserError(positions.message("name", "unknown key: the file's name names the suite"))
    try:
        suite = Suite.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise UserError(describe(error, positions, Suite)) from None
    return _checked(suite, positions)


def _checked(suite: Suite, positions: Positions) -> Suite:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", suite.name):
        raise UserError(
            f"{positions.source}: the file's name names the suite: letters, digits, _ and - only"
        )
    for arm in suite.arms:
        # Names go into files, tables, LaTeX and spreadsheets, which take = + - @ for formulas.
        if not arm.strip() or len(arm) > 60 or re.search(r"[/\\,<>`]|^[=+@-]", arm):
            message = (
                "an arm's name has 1 to 60 characters, none of / \\ , < > `, "
                "and does not begin with = + - @"
            )
            raise UserError(positions.message(f"arms.{arm}", message))
    if GROUND_TRUTH in suite.arms:
        raise UserError(positions.message(f"arms.{GROUND_TRUTH}", "is the real photos' own row"))
    profiles = load_profiles()
    for profile in suite.profiles.keys() - profiles:
        message = f"unknown profile; allowed: {', '.join(profiles)}"
        raise UserError(positions.message(f"profiles.{profile}", message))
    for arm, given in suite.arms.items():
        if not isinstance(given.get(DIRECTION, ""), str):
            raise UserError(positions.message(f"arms.{arm}.{DIRECTION}", "must be input->target"))
    updates: dict[str, Any] = {"base": check_settings(suite.base, positions, "base")}
    own = {arm: {DIRECTION: s[DIRECTION]} for arm, s in suite.arms.items() if DIRECTION in s}
    arms = {arm: {k: v for k, v in s.items() if k != DIRECTION} for arm, s in suite.arms.items()}
    for part, content in (("arms", arms), ("profiles", suite.profiles)):
        updates[part] = {
            name: check_settings(settings, positions, f"{part}.{name}")
            for name, settings in content.items()
        }
    updates["arms"] = {arm: own.get(arm, {}) | s for arm, s in updates["arms"].items()}
    known = [*suite.arms, GROUND_TRUTH]
    if suite.published is not None:
        for index, column in enumerate(suite.published.columns):
            _check_score(column, positions, f"published.columns.{index}")
        for arm, row in suite.published.rows.items():
            where = f"published.rows.{arm}"
            if arm not in known:
                raise UserError(positions.message(where, f"no such arm{closest(arm, known)}"))
            if len(row) != len(suite.published.columns):
                message = f"has {len(row)} values for {len(suite.published.columns)} columns"
                raise UserError(positions.message(where, message))
    stated: dict[tuple[frozenset[str], str], int] = {}
    for index, claim in enumerate(suite.claims):
        where = f"claims.{index}"
        try:
            first, _, second, score, _ = parse_claim(claim)
        except ValueError as error:
            raise UserError(positions.message(where, str(error))) from None
        for arm in (first, second):
            if arm not in known:
                message = f"no such arm: {arm}{closest(arm, known)}"
                raise UserError(positions.message(where, message))
        _check_score(score, positions, where)
        if first == second:
            raise UserError(positions.message(where, f"compares {first} with itself"))
        earlier = stated.setdefault((frozenset((first, second)), score), index)
        if earlier != index:  # more claims make each harder to prove
            message = f"claims[{earlier}] is about the same arms and score; leave one out"
            raise UserError(positions.message(where, message))
    return suite.model_copy(update=updates)


def _check_score(score: str, positions: Positions, where: str) -> None:
    if score not in METRICS:
        hint = closest(score, list(METRICS)) or f"; allowed: {', '.join(METRICS)}"
        raise UserError(positions.message(where, f"unknown score {score}{hint}"))


def parse_claim(claim: str) -> tuple[str, str, str, str, str]:
    """`70x70 > 1x1 on fcn.class_iou (Table 3)` to (arm, '>' or '<', arm, score, source).

    The source may be missing: then it is "". Raises ValueError for a text that is no claim.
    """
    match = re.fullmatch(r"(.+?) ([<>]) (.+?) on (\S+)(?: \((.+)\))?", claim)
    if match is None:
        raise ValueError(
            f"must read 'ARM > ARM on SCORE' or 'ARM < ARM on SCORE', and may end with its source, "
            f"as in '(Table 1)' (got {claim!r})"
        )
    return match[1], match[2], match[3], match[4], match[5] or ""


def load_profiles(path: Path = FOLDER / "profiles.yaml") -> dict[str, Profile]:
    """The profiles of `profiles.yaml`, validated."""
    content, positions = load_yaml(path)
    try:
        profiles = _Profiles.model_validate(content).root
    except ValidationError as error:
        raise UserError(describe(error, positions, _Profiles)) from None
    checked = {}
    for name, profile in profiles.items():
        settings = check_settings(profile.settings, positions, f"{name}.settings")
        checked[name] = profile.model_copy(update={"settings": settings})
    return checked
