"""Combines a suite, a data set, a profile and the command line into cells (arm × seed)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from experiments.spec import (
    DIRECTION,
    Dotted,
    Profile,
    Suite,
    check_override,
    load_profiles,
    merge,
    parse_claim,
    sections,
)
from pix2pix.common.errors import UserError
from pix2pix.common.yaml_files import closest
from pix2pix.config import (
    STREAMS,
    CellConfig,
    CellSettings,
    CycleSettings,
    GeneratorSettings,
    check_resnet_size,
    resolve_depth,
    smallest_image,
)
from pix2pix.data import tasks
from pix2pix.data.registry import DatasetEntry

SEEDS_THAT_DECIDE = 5
"""A paired comparison needs at least this many seeds (docs/statistics.md)."""


class SuiteKey(NamedTuple):
    """The names of a suite, its data set and its variant: one record, one report."""

    suite: str
    dataset: str
    variant: str


@dataclass(frozen=True)
class Cell:
    """One training that a suite asks for."""

    arm: str
    seed: int
    config: CellConfig


@dataclass(frozen=True)
class Plan:
    """A suite on a data set with a profile and the overrides of the command line.

    An arm's own settings win over an override: they are the question that the suite asks.
    """

    suite: Suite
    profile_name: str
    profile: Profile
    entry: DatasetEntry
    direction: str
    """Of the arms that name none, and of the reference that the report shows."""
    size: tuple[int, int]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    overrides: Dotted
    left_out: tuple[str, ...] = ()
    """Arms whose direction, or whose pairs, the data set lacks."""
    place: str = ""
    """Names the folder of data that have no name of their own."""

    @property
    def key(self) -> SuiteKey:
        """What this plan's record, MLflow runs and report are found by."""
        return SuiteKey(self.suite.name, self.entry.name, self.variant)

    @property
    def directions(self) -> tuple[str, ...]:
        """The plan's own, then the others of its arms, each once."""
        return tuple(dict.fromkeys([self.direction, *map(self.direction_of, self.arms)]))

    def direction_of(self, arm: str) -> str:
        """`input->target` of an arm."""
        own = self.suite.arms[arm].get(DIRECTION)
        return "->".join(self.entry.roles(own)) if own else self.direction

    def derivation(self, direction: str) -> int:
        """`tasks.VERSION` if inputs are derived from photos, else 0."""
        return tasks.VERSION if self.entry.derived_role(direction) else 0

    @property
    def variant(self) -> str:
        """The profile's name, with every override, and the place of data without a name of their
        own: `quick+training.steps=500`, `quick+data=my-pairs`."""
        changes = [f"{key}={value}" for key, value in sorted(self.overrides.items())]
        changes += [f"data={self.place}"] * bool(self.place)
        return "+".join([self.profile_name, *(re.sub(r"[^\w.=-]", "-", c) for c in changes)])

    def settings(self, arm: str) -> Dotted:
        """All settings of an arm, every layer merged."""
        paper = paper_settings(self.entry) if self.profile.paper_schedule else {}
        return merge(
            (
                self.profile.settings,
                paper,
                self.suite.base,
                self.suite.profiles.get(self.profile_name, {}),
                {k: v for k, v in self.overrides.items() if k not in ("size", DIRECTION)},
                {k: v for k, v in self.suite.arms[arm].items() if k != DIRECTION},
            )
        )

    def cells(self, fingerprint: str) -> list[Cell]:
        """Every arm × seed on the data of that fingerprint; UserError as `config`."""
        return [
            Cell(arm, seed, self.config(arm, seed).with_data(fingerprint))
            for seed in self.seeds
            for arm in self.arms
        ]

    def configs(self) -> list[CellSettings]:
        """Every arm × seed, before the data are read; UserError as `config`."""
        return [self.config(arm, seed) for seed in self.seeds for arm in self.arms]

    def config(self, arm: str, seed: int) -> CellSettings:
        """The typed settings of an arm with a seed; UserError where they contradict each other."""
        where = f"suite {self.suite.name}, arm {arm}"
        direction = self.direction_of(arm)
        try:
            config = CellSettings(
                dataset=self.entry.name,
                direction=direction,
                size=self.size,
                seed=seed,
                derivation=self.derivation(direction),
                **sections(self.settings(arm)),
            )
            generator = self._generator(config.generator)
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"{where}: {text}") from None
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        in_lab = self.entry.derived_role(direction) == tasks.LAB
        if in_lab and (config.objective.uses_vgg or config.both_ways):
            need = "VGG16 sees RGB" if config.objective.uses_vgg else "CycleGAN translates images"
            raise UserError(
                f"{where}: {need}, and {direction} draws a and b of Lab; take grey->photo"
            )
        # What is unused must not change the digest.
        updates: dict[str, Any] = {"generator": generator}
        if config.method == "cyclegan":
            updates["streams"] = STREAMS
        else:
            updates["cycle"] = CycleSettings()
        if config.objective.gan == "none":
            updates["discriminator"] = None
            updates.setdefault("cycle", config.cycle.model_copy(update={"pool": 50}))
            updates["objective"] = config.objective.model_copy(update={"gan_loss": "cross-entropy"})
            updates["training"] = config.training.model_copy(update={"feedback": "updated"})
        elif config.discriminator:
            patch, least = config.discriminator.patch, smallest_image(config.discriminator.patch)
            if min(self.size) < least:
                raise UserError(
                    f"{where}: discriminator.patch: a {patch}×{patch} discriminator needs images "
                    f"of at least {least} pixels a side (got {self.size[0]}×{self.size[1]})"
                )
        # Likewise: one image is normalised by its own statistics in either case.
        if config.training.batch == 1:
            for section in ("generator", "discriminator"):
                network = updates.get(section, getattr(config, section))
                updates[section] = network and network.model_copy(update={"statistics": "batch"})
        if not config.generator.dropout:
            updates["translation"] = config.translation.model_copy(update={"dropout": True})
        if config.translation.scale > 1 and self.entry.fit == "pad":
            raise UserError(f"{where}: translation.scale: {self.entry.name} pads its images")
        return config.model_copy(update=updates)

    def _generator(self, settings: GeneratorSettings) -> GeneratorSettings:
        """With the depth for the size, and without what the architecture does not use."""
        default = GeneratorSettings()
        if settings.architecture == "resnet":
            check_resnet_size(self.size)
            unused = ("depth", "bottleneck_norm", "dropout_levels", "statistics", "noise")
            return settings.model_copy(update={name: getattr(default, name) for name in unused})
        depth = resolve_depth(self.size, settings.depth)
        return settings.model_copy(update={"depth": depth, "blocks": default.blocks})


def paper_settings(entry: DatasetEntry) -> Dotted:
    """The paper's schedule for a data set; Cityscapes' if the paper names none."""
    paper = entry.paper
    settings: Dotted = {"training.epochs": paper.epochs or 200, "training.batch": paper.batch or 1}
    if paper.jitter is False:
        settings["training.jitter"] = 1.0
    if paper.mirror is False:
        settings["training.mirror"] = False
    return settings


def make_plan(
    suite: Suite,
    entry: DatasetEntry,
    profile_name: str,
    *,
    seeds: tuple[int, ...] | None = None,
    arms: tuple[str, ...] | None = None,
    overrides: dict[str, Any] | None = None,
    direction: str | None = None,
) -> Plan:
    """Combine a suite, a data set, a profile and the command line; UserError if they do not fit.

    `direction` takes the place of the suite's.
    """
    profiles = load_profiles()
    if profile_name not in profiles:
        raise UserError(
            f"--profile {profile_name}: unknown{closest(profile_name, list(profiles))}; "
            f"allowed: {', '.join(profiles)}"
        )
    profile = profiles[profile_name]
    checked: Dotted = {}
    size = profile.size
    for key, value in (overrides or {}).items():
        if key == "size":
            size = _check_size(value)
            checked["size"] = "x".join(map(str, size)) if isinstance(size, list) else size
        else:
            checked |= check_override(key, value)
            if all(key in suite.arms[arm] for arm in arms or suite.arms if arm in suite.arms):
                raise UserError(f"--set {key}: every arm of {suite.name} sets it itself")
    for arm in arms or ():
        if arm not in suite.arms:
            raise UserError(
                f"--arms {arm}: suite {suite.name} has no such arm"
                f"{closest(arm, list(suite.arms))}; allowed: {', '.join(suite.arms)}"
            )
    layers = (profile.settings, suite.base, suite.profiles.get(profile_name, {}), checked)
    suite, left_out = _possible(suite, entry, arms, direction, merge(layers))
    own = [settings.get(DIRECTION) for settings in suite.arms.values()]
    first = own[0] if all(own) else None
    chosen = "->".join(entry.roles(direction or suite.direction or first))
    if direction:
        checked[DIRECTION] = chosen
    return Plan(
        suite,
        profile_name,
        profile,
        entry,
        chosen,
        (size[0], size[1]) if isinstance(size, list) else (size, size),
        seeds or tuple(profile.seeds),
        tuple(arm for arm in suite.arms if arms is None or arm in arms),
        checked,
        left_out,
    )


def _possible(
    suite: Suite,
    entry: DatasetEntry,
    arms: tuple[str, ...] | None,
    direction: str | None,
    shared: Dotted,
) -> tuple[Suite, tuple[str, ...]]:
    """A suite without the arms whose own direction the data set lacks, or that need pairs of it
    where it has none, and without their claims; and these arms.

    `shared`: the settings of arms that do not set them themselves.

    UserError if none is left, or if an arm that was asked for is among them.
    """
    missing: dict[str, UserError] = {}
    for arm, settings in suite.arms.items():
        own = settings.get(DIRECTION) or direction or suite.direction
        try:
            entry.roles(own)
        except UserError as error:
            if DIRECTION not in settings or arm in (arms or ()):
                raise
            missing[arm] = error
            continue
        method = {**shared, **settings}.get("method", "pix2pix")
        if method == "pix2pix" and not entry.paired(own):
            missing[arm] = UserError(
                f"suite {suite.name}, arm {arm}: {method} needs pairs, and the images of"
                f" {entry.name} do not belong together; take --suite cycle, or a direction such as"
                f" grey->{list(entry.sides)[-1]}"
            )
            if arm in (arms or ()):
                raise missing[arm]
    if not missing:
        return suite, ()
    if len(missing) == len(suite.arms):
        raise next(iter(missing.values()))
    rows = suite.published and {a: r for a, r in suite.published.rows.items() if a not in missing}
    possible = suite.model_copy(
        update={
            "arms": {arm: s for arm, s in suite.arms.items() if arm not in missing},
            "claims": [c for c in suite.claims if not {*parse_claim(c)[0:3:2]} & missing.keys()],
            "published": suite.published and suite.published.model_copy(update={"rows": rows}),
        }
    )
    return possible, tuple(missing)


def _check_size(value: Any) -> int | list[int]:
    if isinstance(value, str):
        value = [int(v) for v in value.split("x")] if re.fullmatch(r"\d+x\d+", value) else value
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(isinstance(s, int) and not isinstance(s, bool) and 16 <= s <= 4096 for s in sides):
        given = str(value)[:60]
        raise UserError(
            f"--set size: must be a side from 16 to 4096 pixels, or HEIGHTxWIDTH (got {given})"
        )
    return value
