"""The suite record: which cells, numbers and claims a report is made of, and how they differ from
the paper's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from experiments.plan import Plan, SuiteKey
from experiments.run.jobs import (
    exact_labels,
    in_suite_scorer,
    label_side,
    needed_scores,
    needs_scorer,
    reference_config,
)
from experiments.run.journal import write_json
from experiments.spec import DIRECTION, SETTINGS, PretrainedProfile, Published, suite_names
from pix2pix.common.errors import UserError
from pix2pix.common.locks import owning
from pix2pix.common.yaml_files import first_problem
from pix2pix.data.cache import LabelledPart
from pix2pix.data.registry import load_registry

TABLE_DATASETS = ("cityscapes", "cityscapes_gtfine")
"""The data sets of the paper's tables, by their names here."""
IN_WORDS = {
    "generator.blocks",  # the paper of CycleGAN has 6 or 9, by size
    "generator.width",
    "discriminator.width",
    "training.steps",
    "training.epochs",
    "training.batch",
    "training.jitter",
}
OF_THE_CODE = (
    "generator.bottleneck_norm",
    "training.biases",
    "training.sampling",
    "training.feedback",
)
"""In these the default differs from the code that made the paper's tables."""

Name = Annotated[str, Field(pattern=r"^[\w.=+-]+$")]
"""A name that is also part of a path."""
Finite = Annotated[float, Field(allow_inf_nan=False)]

Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ArmRecord(_Frozen):
    """An arm of the suite, whether it was asked for or not."""

    name: str
    changes: dict[str, JsonValue] = {}
    """{setting: value} in which the arm differs from the base."""
    reference: str = ""
    """The digest of what it is scored against, where that is not the record's reference."""
    identity: str = ""
    """The digest of its cell with seed 0: another one means that the arm is another training."""


class CellRecord(_Frozen):
    """One arm with one seed, and the digest that names its run directory."""

    arm: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)]
    digest: Annotated[str, Field(pattern=r"^[\w-]+$")]


class PublishedRecord(_Frozen):
    """The numbers that the paper prints."""

    source: str
    rows: dict[str, dict[str, Finite]]
    """{arm: {score: value}}"""


class SuiteRecord(_Frozen):
    """A suite on one data set in one variant, as it was asked for.

    `write_record` writes it, `mirror` logs it to MLflow as it is, and reports read it there.
    """

    suite: Name
    title: str
    question: str = ""
    dataset: Name
    variant: Name
    """The profile and what was overridden: `quick+training.steps=500`."""
    own: tuple[str, ...] = ()
    """What does not come with the package: `suite`, `dataset`."""
    direction: str
    overrides: dict[str, JsonValue] = {}
    commit: str
    fingerprint: str
    """Of the decoded pixels of the data set."""
    size: tuple[int, int]
    """Height and width in pixels."""
    pairs: dict[str, int] = {}
    """{split: pairs}; empty where they were not counted."""
    unpaired: bool = False
    """Whether inputs and targets do not belong together; `pairs` counts the longer side."""
    ignored: dict[str, Share] = {}
    """{split: share of the label pixels that are of no class}; empty without labels."""
    absent: dict[str, tuple[str, ...]] = {}
    """{split: classes that never occur in it}, where there are such."""
    steps: int | None = None
    """Of every cell; None where arms differ, or where epochs are counted."""
    epochs: int | None = None
    arms: tuple[ArmRecord, ...]
    """Every arm of the suite, in its order."""
    cells: tuple[CellRecord, ...]
    """Those that were asked for, by arm and seed."""
    reference: Annotated[str, Field(pattern=r"^[\w-]+$")] | None = None
    """The digest of the real photos' own scores and of the scorer that gave them."""
    scores: tuple[str, ...]
    """Families of scores."""
    published: PublishedRecord | None = None
    claims: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    """What differs from the paper, a sentence each."""
    other_settings: tuple[str, ...] = ()
    """Those of `deviations` that are settings."""

    @property
    def key(self) -> SuiteKey:
        """What the record, its MLflow runs and its report are found by."""
        return SuiteKey(self.suite, self.dataset, self.variant)

    @property
    def several_tasks(self) -> bool:
        """Whether arms have directions of their own, so that their scores do not compare."""
        return any(DIRECTION in arm.changes for arm in self.arms)

    def reference_of(self, arm: str) -> str | None:
        """The digest of what an arm is scored against."""
        own = (one.reference for one in self.arms if one.name == arm)
        return next(own, "") or self.reference

    @property
    def changes(self) -> dict[str, dict[str, JsonValue]]:
        """{arm: its changes}"""
        return {arm.name: arm.changes for arm in self.arms}

    @property
    def published_rows(self) -> dict[str, dict[str, float]]:
        """{arm: {score: the paper's value}}; empty where the paper prints none."""
        return self.published.rows if self.published else {}


def record_path(out: Path, suite: str, dataset: str, variant: str) -> Path:
    """Where the record of a suite on a data set in a variant lies."""
    return out / "suites" / suite / f"{dataset}-{variant}.json"


def suite_records(out: Path) -> list[Path]:
    """Every suite record in `out`."""
    return sorted(out.glob("suites/*/*.json"))


def write_record(
    plan: Plan,
    fingerprint: str,
    out: Path,
    commit: str,
    pairs: dict[str, int] | None = None,
    labelled: dict[str, LabelledPart] | None = None,
) -> Path:
    """Write the record, keeping earlier cells (other seeds, other arms) of the same settings.

    `pairs`, `labelled`: how many pairs each split has, and which part of its labels.
    """
    path = record_path(out, *plan.key)
    with owning(path.with_name(f".{path.name}.lock")):  # another launch may be adding seeds
        record = _record(plan, fingerprint, commit, pairs or {}, labelled or {})
        _write(path, record, [*_kept(path, record), *record.cells])
    return path


def merge_record(record: SuiteRecord, out: Path) -> Path:
    """Add the cells of a record from elsewhere to that of `out`, which keeps everything else.

    UserError if the two are of other settings, data or scorers.
    """
    path = record_path(out, *record.key)
    with owning(path.with_name(f".{path.name}.lock")):
        mine = check_mergeable(record, out)
        cells = {(c.arm, c.seed): c for c in (*record.cells, *mine.cells)}
        _write(path, mine, cells.values())
    return path


def _write(path: Path, record: SuiteRecord, cells: Iterable[CellRecord]) -> None:
    """Write a record with these cells, by arm and seed."""
    order = [arm.name for arm in record.arms]
    ordered = tuple(sorted(cells, key=lambda cell: (order.index(cell.arm), cell.seed)))
    write_json(path, record.model_copy(update={"cells": ordered}).model_dump(mode="json"))


def check_mergeable(record: SuiteRecord, out: Path) -> SuiteRecord:
    """The record of the same name in `out`, or this one if there is none; UserError if that has
    other settings, data or scorers."""
    path = record_path(out, *record.key)
    mine = read_suite_record(path) if path.exists() else record
    for field in ("fingerprint", "reference", "arms"):
        if getattr(mine, field) != getattr(record, field):
            raise UserError(f"{path}: another {field} than the imported record's")
    return mine


def _record(
    plan: Plan,
    fingerprint: str,
    commit: str,
    pairs: dict[str, int],
    labelled: dict[str, LabelledPart],
) -> SuiteRecord:
    """The record of the plan's own cells alone."""
    suite, cells = plan.suite, plan.cells(fingerprint)
    lengths = {(c.config.training.steps, c.config.training.epochs) for c in cells}
    steps, epochs = lengths.pop() if len(lengths) == 1 else (None, None)
    identities = {arm: plan.config(arm, 0).with_data(fingerprint).digest for arm in suite.arms}
    return SuiteRecord(
        suite=suite.name,
        title=suite.title,
        question=suite.question,
        dataset=plan.entry.name,
        variant=plan.variant,
        own=_own(plan),
        direction=plan.direction,
        overrides=plan.overrides,
        commit=commit,
        fingerprint=fingerprint,
        size=plan.size,
        pairs=pairs,
        unpaired=not plan.entry.paired(plan.direction),
        ignored={split: part.ignored for split, part in labelled.items()},
        absent={split: part.absent for split, part in labelled.items() if part.absent},
        steps=steps,
        epochs=epochs,
        arms=tuple(
            ArmRecord(
                name=arm,
                changes=changes,
                identity=identities[arm],
                reference=_own_reference(plan, fingerprint, arm),
            )
            for arm, changes in suite.arms.items()
        ),
        cells=tuple(CellRecord(arm=c.arm, seed=c.seed, digest=c.config.digest) for c in cells),
        reference=reference_config(plan, fingerprint).digest,
        scores=_scores(plan),
        published=_published(suite.published),
        claims=tuple(suite.claims),
        deviations=tuple(deviations(plan)),
        other_settings=tuple(of_settings(plan)),
    )


def _scores(plan: Plan) -> tuple[str, ...]:
    """The suite's families of scores, and `hole`, which no suite of other tasks asks for; of
    several tasks, and of unpaired images, those alone that can be measured."""
    measured = {s for one in plan.directions for s in needed_scores(plan.entry, one)}
    asked: list[str] = [
        family
        for family in plan.suite.scores
        if family in measured | {"diversity"}
        or (len(plan.directions) == 1 and plan.entry.paired(plan.direction))
    ]
    return tuple(dict.fromkeys([*(asked or sorted(measured)), *sorted({"hole"} & measured)]))


def _own_reference(plan: Plan, fingerprint: str, arm: str) -> str:
    direction = plan.direction_of(arm)
    if direction == plan.direction:
        return ""
    return reference_config(plan, fingerprint, direction).digest


def _published(published: Published | None) -> PublishedRecord | None:
    """The paper's numbers by arm and score."""
    if published is None:
        return None
    rows = {a: dict(zip(published.columns, row, strict=True)) for a, row in published.rows.items()}
    return PublishedRecord(source=published.source, rows=rows)


def _own(plan: Plan) -> tuple[str, ...]:
    """Which of `suite` and `dataset` do not come with the package, whose names are reserved."""
    suite = () if plan.suite.name in suite_names() else ("suite",)
    return suite if plan.entry.name in load_registry() else (*suite, "dataset")


def _kept(path: Path, record: SuiteRecord) -> list[CellRecord]:
    """Cells of the record on disk that `record` lacks, whose arm still means the same training
    and which the same scorer scored."""
    try:
        earlier = parse_record(path.read_bytes())
    except (OSError, ValueError):
        return []
    if earlier.reference != record.reference:
        return []
    identities = {arm.name: arm.identity for arm in record.arms}
    same = {arm.name for arm in earlier.arms if arm.identity == identities.get(arm.name)}
    mine = {(cell.arm, cell.seed) for cell in record.cells}
    return [c for c in earlier.cells if c.arm in same and (c.arm, c.seed) not in mine]


def read_suite_record(path: Path) -> SuiteRecord:
    """The suite record in a file; UserError names the file and the first field that is wrong."""
    try:
        return parse_record(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a suite record: {reason}; move it away") from None


def parse_record(text: str | bytes) -> SuiteRecord:
    """A suite record from JSON; ValueError says in one line what is missing or wrong."""
    try:
        return SuiteRecord.model_validate_json(text)
    except ValidationError as error:
        missing = [e["loc"] for e in error.errors() if e["type"] == "missing"]
        fields = ", ".join(".".join(map(str, loc)) for loc in missing)
        raise ValueError(f"{fields} missing" if fields else first_problem(error)) from None


def deviations(plan: Plan) -> list[str]:
    """Everything that keeps a plan's numbers from being comparable to the published ones."""
    sentences = [*_of_data(plan), *of_settings(plan), *_of_the_code(plan)]
    if needs_scorer(plan):
        pretrained = isinstance(in_suite_scorer(plan), PretrainedProfile)
        network = "FCN-8s heads on VGG16's ImageNet features" if pretrained else "an FCN-8s"
        sentences.append(
            f"FCN-scores come from {network} trained here on the real training photos, not from "
            "the published Cityscapes scorer; compare arms with the ground-truth row."
        )
    return sentences


def _of_the_code(plan: Plan) -> Iterable[str]:
    """What this code does otherwise, whatever the settings; reasons are in docs/protocols.md."""
    side = label_side(plan.entry, plan.direction)
    configs = [c for c in plan.configs() if c.method == "pix2pix"]
    if len(configs) < len(plan.configs()):
        yield (
            "CycleGAN: both sides are drawn in orders of their own, such that the two of a pair "
            "never stand beside each other; the public code draws the second side with replacement."
        )
    unets = [c for c in configs if c.generator.architecture != "resnet"]
    if not all(c.generator.bottleneck_norm for c in unets):
        yield (
            "No BatchNorm on the bottleneck, as in the public code since March 2017; the paper's "
            "tables were made with one."
        )
    training = [c.training for c in configs]
    if not all(t.biases == "zero" for t in training):
        yield (
            "D's first and last layer and G's last one train their biases; the public Torch code "
            "sets all biases to zero at every step."
        )
    if not all(t.sampling == "replacement" for t in training):
        yield (
            "Every epoch is a permutation of the pairs; the public Torch code draws with "
            "replacement."
        )
    if not all(t.feedback == "stale" for t in training):
        yield (
            "D's gradient is halved, as the paper says, and G's step uses the updated D; the "
            "public Torch code sums it and reuses D's activations of before its update."
        )
    if any(c.training.batch > 1 for c in configs):
        yield (
            "Scores are of images translated one at a time, and in a section of their own in "
            "batches as trained; how the paper tested its Table 2 is not known."
        )
    if side:
        yield (
            "Label maps are resized by nearest neighbour and stay discrete; the paper's were "
            "resized bilinearly and saved as JPEG."
        )
    if side == "target" and plan.entry.name in TABLE_DATASETS:
        yield (
            f"Labels are compared at {plan.size[0]}×{plan.size[1]} pixels"
            + (", and in a section of their own at their own size" * exact_labels(plan.entry))
            + "; the paper's at 1024×2048."
        )


def of_settings(plan: Plan) -> list[str]:
    """The deviations that come from the plan's own length, width and other settings."""
    return [*_of_length(plan), *_of_each_arm(plan)]


def _of_data(plan: Plan) -> Iterable[str]:
    if plan.suite.published and plan.entry.name not in TABLE_DATASETS:
        title = plan.entry.title or plan.entry.name
        yield f"Data set {title}; the published numbers are of Cityscapes."
    source = plan.suite.published.source if plan.suite.published else ""
    same = plan.direction.replace("->", "→") in source
    if source and not same and ("→" in source or "direction" in plan.overrides):
        yield f"The published numbers are not of {plan.direction}."
    if "edges" in map(plan.entry.derived_role, plan.directions):
        yield "Edges are Canny's (scikit-image); the paper's are HED's, thinned."
    side = 128 if any(c.method == "cyclegan" for c in plan.configs()) else 256
    if plan.size != (side, side):
        yield f"Images of {plan.size[0]}×{plan.size[1]} pixels; the paper's are {side}×{side}."
    unconfirmed = plan.entry.paper.unconfirmed if plan.profile.paper_schedule else ()
    if unconfirmed:
        yield f"The paper's {', '.join(unconfirmed)} for this data set: (unconfirmed)."


def _of_length(plan: Plan) -> Iterable[str]:
    configs = plan.configs()
    widths = {c.generator.width for c in configs}
    widths |= {c.discriminator.width for c in configs if c.discriminator}
    if widths != {64}:
        yield f"First layers of {_each(widths)} filters; the paper's have 64."
    steps = {c.training.steps for c in configs} - {None}
    if steps:
        yield (
            f"{_each(steps)} training steps; the paper trains 200 epochs of Cityscapes "
            "(595,000 steps at batch 1)."
        )
    epochs = {c.training.epochs for c in configs} - {None, 200}
    if epochs:
        yield f"{_each(epochs)} epochs; the paper's tables are of 200."
    paper = 10 if plan.suite.name == "generator" else 1  # no user's own suite has that name
    batches = {c.training.batch for c in configs}
    if batches != {paper}:
        yield f"Batch {_each(batches)}; the paper's is {paper}."
    jitters = {c.training.jitter for c in configs}
    if jitters == {1.0} and plan.entry.paper.jitter is not False:
        yield "No jitter; the paper enlarges by 286/256 and crops back at random."
    elif jitters - {286 / 256, 1.0}:
        yield f"Jitter by {_each(jitters)}; the paper's is 286/256."


def _of_each_arm(plan: Plan) -> Iterable[str]:
    """Settings that differ from the paper's in every arm; what one arm changes is its question."""
    arms = [plan.settings(arm) for arm in plan.arms]
    for key, field in SETTINGS.items():
        if key in (*IN_WORDS, *OF_THE_CODE) or any(
            key in plan.suite.arms[arm] for arm in plan.arms
        ):
            continue
        values = {arm.get(key, field.default) for arm in arms}
        if key == "training.mirror" and plan.entry.paper.mirror is False:
            values.discard(False)
        default = 8 if key == "generator.depth" else field.default
        if values - {default, field.default}:
            yield f"{key} is {_each(values)}; the paper's is {default}."


def _each(values: set) -> str:
    return " or ".join(f"{v:,}" if type(v) is int else str(v) for v in sorted(values, key=str))
