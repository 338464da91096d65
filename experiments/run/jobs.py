"""What a suite needs done, as jobs for other processes. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, with_config

from eval.scorer.file import recorded_sha256
from experiments.plan import Plan
from experiments.run.journal import last, read_records, replay, write_json
from experiments.spec import GROUND_TRUTH, PretrainedProfile, ScorerProfile
from pix2pix.common.errors import UserError
from pix2pix.common.files import read_json
from pix2pix.common.yaml_files import first_problem
from pix2pix.config import CellConfig, CellSettings, digest
from pix2pix.data.backbones import on_disk
from pix2pix.data.registry import DatasetEntry
from pix2pix.data.tasks import HOLES

SCORES_PROTOCOL = 2
"""Raised when a change of the code changes what the same images score."""

FULL_SIZE = "full-size"
"""Scores of label maps at the size of the data set's files: `labels.class_iou/full-size`."""

SHEET = ("scores.json", "per_image.csv", "per_image.npz")
"""The files that hold a job's scores."""

DRAWS = 5
"""Translations of one image with other noise, of which the diversity is measured."""

CPU_GFLOPS_PER_THREAD = 75.0
"""Measured with this suite's convolutions on one core; only for the first time estimate."""


STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ReferenceConfig(BaseModel):
    """What the real photos' own scores depend on."""

    model_config = STRICT | {"frozen": True}

    dataset: str
    fingerprint: str
    direction: str
    size: tuple[int, int]
    """Height and width in pixels."""
    scorer: ScorerProfile | PretrainedProfile | None
    """How the in-suite scorer is trained; None if the data set has no labels to segment."""
    derivation: int = 0
    """As in CellSettings: the pictures of the inputs depend on it."""
    protocol: int = SCORES_PROTOCOL

    @property
    def digest(self) -> str:
        content = self.model_dump(mode="json", exclude=set() if self.derivation else {"derivation"})
        if self.scorer:  # a setting that is new changes no digest of before
            content["scorer"] = self.scorer.model_dump(mode="json", exclude_defaults=True)
        return digest(content)


@with_config(STRICT)
@dataclass(frozen=True)
class DataSource:
    """Where a worker finds the pairs: an entry of the registry, its files, its decoded cache."""

    name: str
    registry: str | None
    root: str
    cache: str
    decoded: str | None = None
    """The folder in the cache to take as it is, where the files are on another machine."""


@with_config(STRICT)
@dataclass(frozen=True)
class OtherScorer:
    """A scorer beside the first: it scores the same images and decides nothing."""

    reference: str
    """The digest of the reference whose first scorer it would be, which names its file."""
    settings: ScorerProfile | PretrainedProfile


@with_config(STRICT)
@dataclass(frozen=True)
class Job:
    """A cell to train and score, or a reference (the real photos) to score."""

    config: CellConfig | ReferenceConfig
    title: str
    out: str
    data: DataSource
    reference: str
    """Digest of the reference that the scores are measured against."""
    scorer: ScorerProfile | PretrainedProfile | None
    device: str = "cpu"
    threads: int = 1
    checkpoint_seconds: float = 60.0
    commit: str = "unknown"
    others: dict[str, OtherScorer] = field(default_factory=dict)
    """The other scorers by name."""
    draws: int = 0
    """Translations of each test image whose diversity is measured; 0: it is not."""

    @property
    def kind(self) -> Literal["cell", "reference"]:
        return "cell" if isinstance(self.config, CellConfig) else "reference"

    @property
    def digest(self) -> str:
        return self.config.digest

    @property
    def directory(self) -> Path:
        return Path(self.out) / f"{self.kind}s" / self.digest

    def write_config(self) -> None:
        """Write config.json, which says what the run directory holds."""
        content = {"digest": self.digest, **self.config.model_dump(mode="json")}
        write_json(self.directory / "config.json", content)

    def to_json(self) -> str:
        """The job as one line of JSON."""
        return _JOB.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        """The job that `to_json` wrote; UserError for any other text."""
        try:
            return _JOB.validate_json(text)
        except ValidationError as error:
            raise UserError(f"job: {first_problem(error)}") from None


_JOB = TypeAdapter(Job)


def label_side(entry: DatasetEntry, direction: str) -> str | None:
    """`input`, `target` or None: on which side the labels are in a direction."""
    roles = direction.split("->")
    return ("input", "target")[roles.index(entry.label_role)] if entry.label_role in roles else None


def exact_labels(entry: DatasetEntry) -> bool:
    """Whether the label files give every pixel's class at their own size, not that of the training:
    painted or lossy ones are only exact enough once they are smaller."""
    side = entry.sides[entry.label_role] if entry.label_role else None
    return side is not None and side.kind == "index" and entry.fit == "resize"


def reference_config(plan: Plan, fingerprint: str, direction: str | None = None) -> ReferenceConfig:
    """The reference that a plan's cells of a direction (default: the plan's) are scored against."""
    direction = direction or plan.direction
    return ReferenceConfig(
        dataset=plan.entry.name,
        fingerprint=fingerprint,
        direction=direction,
        size=plan.size,
        scorer=in_suite_scorer(plan) if needs_scorer(plan, direction) else None,
        derivation=plan.derivation(direction),
    )


def in_suite_scorer(plan: Plan) -> ScorerProfile | PretrainedProfile:
    """The scorer on VGG16 where its weights are on this machine, else the one from scratch."""
    return plan.profile.scorer if on_disk("vgg") else plan.profile.scorer_from_scratch


def other_scorers(plan: Plan, reference: ReferenceConfig) -> dict[str, OtherScorer]:
    """The profile's other scorers that this machine can train; none where none is needed."""
    return {
        name: OtherScorer(reference.model_copy(update={"scorer": settings}).digest, settings)
        for name, settings in plan.profile.other_scorers.items()
        if reference.scorer not in (None, settings)
        and (isinstance(settings, ScorerProfile) or on_disk("vgg"))
    }


def needs_scorer(plan: Plan, direction: str | None = None) -> bool:
    """Whether the FCN-score can be measured in a direction (default: the plan's): labels as input,
    photos as target."""
    side = label_side(plan.entry, direction or plan.direction)
    return bool(plan.entry.classes) and side == "input"


def needed_scores(entry: DatasetEntry, direction: str) -> list[str]:
    """The families that can be measured for a data set and direction."""
    if not entry.paired(direction):
        return ["color"]
    families = ["lpips", "color", "pixel"]
    families += ["hole"] * (entry.derived_role(direction) in HOLES)
    side = label_side(entry, direction) if entry.classes else None
    return {"input": ["fcn"], "target": ["labels"], None: []}[side] + families


def build_jobs(
    plan: Plan, fingerprint: str, data: DataSource, out: Path, **common: Any
) -> list[Job]:
    """The references first, because every cell's scores need their scorer; then the cells.

    `common`: further fields of `Job`, the same for all of them.
    """
    references = {
        direction: reference_config(plan, fingerprint, direction) for direction in plan.directions
    }
    draws = DRAWS if "diversity" in plan.suite.scores else 0

    def job(config: CellConfig | ReferenceConfig, title: str) -> Job:
        reference = references[config.direction]
        scored_by = str(out), data, reference.digest, reference.scorer
        others = other_scorers(plan, reference)
        drawn = draws if isinstance(config, CellConfig) else 0
        return Job(config, title, *scored_by, others=others, draws=drawn, **common)

    cells = [job(cell.config, f"{cell.arm} seed {cell.seed}") for cell in plan.cells(fingerprint)]
    titles = [GROUND_TRUTH, *(f"{GROUND_TRUTH}, {d}" for d in plan.directions[1:])]
    return [*map(job, references.values(), titles), *cells]


@dataclass(frozen=True)
class State:
    """How far a job has come: `done`, `to score`, `stopped` at a step, `failed` or `new`."""

    word: str
    step: int = 0
    seconds_per_step: float | None = None


def state(job: Job) -> State:
    """Read a job's state from its journal."""
    records = replay(read_records(job.directory / "journal.jsonl"))
    if not records:
        return State("new")
    trained, event = last(records, "trained"), records[-1]["event"]
    if trained or event == "done":
        word = "done" if event == "done" and scores_current(job) else "to score"
    else:
        word = "failed" if event == "failed" else "stopped"
    reached = trained or last(records, "checkpoint") or {"step": 0}
    return State(word, reached["step"], (last(records, "losses") or {}).get("seconds_per_step"))


def scores_current(job: Job) -> bool:
    """Whether a job's scores need not be measured again: all that can be are there (LPIPS, once
    its backbone is on the disk), against this job's reference, by the scorer that is on the disk
    (one that was lost and trained again has other weights), and their files are as they were
    written."""
    try:
        settings = read_json(job.directory / "scores.json")["settings"]
        measured_by = (settings.get("fcn") or {}).get("weights_sha256")
        written = last(read_records(job.directory / "journal.jsonl"), "scores") or {}
        checksums = written.get("sha256") or sheet_checksums(job.directory)
        if checksums != sheet_checksums(job.directory):
            return False
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    scorer_now = (
        recorded_sha256(scorer_path(job.out, job.reference)) if job.scorer and measured_by else None
    )
    if scorer_now not in (None, measured_by):
        return False
    scored_by = settings.get("other_scorers", {})
    for name, other in job.others.items():
        on_the_disk = recorded_sha256(scorer_path(job.out, other.reference))
        if name not in scored_by or on_the_disk not in (None, scored_by[name]):
            return False
    if not isinstance(job.config, CellConfig):
        return True
    if job.draws > settings.get("diversity", {}).get("draws", 0):
        return False
    if job.config.training.batch not in settings.get("test_batches", [1]):
        return False
    if not settings.get("lpips_backbone_on_disk", True) and on_disk("alex"):
        return False
    return settings.get("reference") == job.reference


def scorer_path(out: str, reference: str) -> Path:
    """The file of a reference's scorer, whether it exists or not."""
    return Path(out) / "scorers" / f"{reference}.safetensors"


def sheet_checksums(directory: Path) -> dict[str, str]:
    """{name: SHA-256} of the score files that a run directory has."""
    paths = (directory / name for name in SHEET)
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in paths if p.exists()}


def step_gflop(config: CellSettings) -> float:
    """Floating-point work of one training step in GFLOP (2 × multiply-adds), from PAPER figures.

    Measured at 256×256 and width 64 and scaled by pixels and by width squared. A resnet's is
    counted: 6 for what is outside the blocks, 4.83 a block (10⁹ multiply-adds forward), three
    times for training.
    """
    settings, blocks = config.generator, config.generator.blocks
    resnet = 6 * (6.07 + 4.83 * blocks)
    generator = {"unet": 36.19, "encoder-decoder": 24.11, "resnet": resnet}[settings.architecture]
    patches = {1: 9.0, 16: 35.5, 34: 43.0, 70: 50.75, 142: 42.0, 286: 34.6}
    discriminator = patches[config.discriminator.patch] if config.discriminator else 0.0
    d_width = config.discriminator.width if config.discriminator else 64
    pixels = config.size[0] * config.size[1] / 256**2
    if config.both_ways:
        cycle = config.cycle
        generator *= 2 + bool(cycle.forward) + bool(cycle.backward) + 2 * bool(cycle.identity)
        discriminator *= 2
    work = generator * (settings.width / 64) ** 2 + discriminator * (d_width / 64) ** 2
    if config.objective.uses_vgg:  # to relu4_3 or relu2_2: two passes forward and one backward
        work += 109.0 if config.objective.style else 37.0
    return work * pixels * config.training.batch


def expected_pace(config: CellSettings) -> float:
    """Expected seconds per step on one CPU thread, from the arithmetic alone."""
    return step_gflop(config) / CPU_GFLOPS_PER_THREAD


def checkpoint_bytes(config: CellSettings) -> int:
    """Approximate size of a checkpoint: weights and two Adam moments, in float32."""
    resnet = 0.76e6 + 1.18e6 * config.generator.blocks
    weights = resnet if config.generator.architecture == "resnet" else 54.4e6
    generator = weights * (config.generator.width / 64) ** 2
    discriminator = 11.2e6 * ((config.discriminator.width if config.discriminator else 0) / 64) ** 2
    trained = (generator + discriminator) * (2 if config.both_ways else 1)
    pools = 2 * config.cycle.pool * 3 * config.size[0] * config.size[1] if config.both_ways else 0
    return int(trained * 12 + pools * 4)
