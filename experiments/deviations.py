"""How a plan differs from the paper, in sentences that a report prints."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.plan import Plan
from experiments.run.jobs import needs_scorer
from experiments.spec import SETTINGS

TABLE_DATASETS = ("cityscapes", "cityscapes_gtfine")
IN_WORDS = {
    "generator.width",
    "discriminator.width",
    "training.steps",
    "training.epochs",
    "training.batch",
    "training.jitter",
}


def deviations(plan: Plan) -> list[str]:
    """Everything that keeps a plan's numbers from being comparable to the published ones."""
    sentences = [*_of_data(plan), *of_settings(plan)]
    sentences.append(
        "Every epoch is a permutation of the pairs; the public Torch code draws with replacement."
    )
    sentences.append(
        "D's gradient is halved, as the paper says, and G's step uses the updated D; the public "
        "Torch code sums it and reuses D's output from before its update."
    )
    if needs_scorer(plan):
        sentences.append(
            "FCN-scores come from an FCN-8s trained here on the real training photos, not from "
            "the published Cityscapes scorer; compare arms with the ground-truth row."
        )
    return sentences


def of_settings(plan: Plan) -> list[str]:
    """The deviations that come from the plan's own length, width and other settings."""
    return [*_of_length(plan), *_of_each_arm(plan)]


def _of_data(plan: Plan) -> Iterable[str]:
    if plan.entry.name not in TABLE_DATASETS:
        title = plan.entry.title or plan.entry.name
        yield f"Data set {title}; the published numbers are of Cityscapes."
    if plan.size != (256, 256):
        yield f"Images of {plan.size[0]}×{plan.size[1]} pixels; the paper's are 256×256."
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
        if key in IN_WORDS or any(key in plan.suite.arms[arm] for arm in plan.arms):
            continue
        values = {arm.get(key, field.default) for arm in arms}
        if key == "training.mirror" and plan.entry.paper.mirror is False:
            values.discard(False)
        if values - {field.default}:
            yield f"{key} is {_each(values)}; the paper's is {field.default}."


def _each(values: set) -> str:
    return " or ".join(f"{v:,}" if type(v) is int else str(v) for v in sorted(values, key=str))
