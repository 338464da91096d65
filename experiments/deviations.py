"""How a plan differs from what the paper did, in sentences that a report prints."""

from __future__ import annotations

from experiments.jobs import needs_scorer
from experiments.plan import Plan

TABLE_DATASETS = ("cityscapes", "cityscapes_gtfine")


def deviations(plan: Plan) -> list[str]:
    """Everything that keeps a plan's numbers from being comparable to the published ones."""
    cells = plan.cells("")
    said: list[str] = []
    if plan.entry.name not in TABLE_DATASETS:
        said.append(f"Data set {plan.entry.title}; the published numbers are of Cityscapes.")
    if plan.size != (256, 256):
        said.append(f"Images of {plan.size[0]}×{plan.size[1]} pixels; the paper's are 256×256.")
    widths = {c.config.generator.width for c in cells}
    widths |= {c.config.discriminator.width for c in cells if c.config.discriminator}
    if widths != {64}:
        said.append(f"First layers of {_each(widths)} filters; the paper's have 64.")
    lengths = {c.config.training.steps for c in cells} - {None}
    if lengths:
        said.append(
            f"{_each(lengths)} training steps; the paper trains 200 epochs of Cityscapes "
            "(595,000 steps at batch 1)."
        )
    if any(c.config.training.epochs not in (None, 200) for c in cells):
        epochs = {c.config.training.epochs for c in cells}
        said.append(f"{_each(epochs)} epochs; the paper's tables are of 200.")
    batches = {c.config.training.batch for c in cells}
    expected = plan.suite.base.get("training.batch", 1)
    if batches != {expected}:
        said.append(f"Batch {_each(batches)}; the paper's is {expected}.")
    jitters = {c.config.training.jitter for c in cells}
    if jitters == {1.0} and plan.entry.paper.jitter is not False:
        said.append("No jitter; the paper enlarges by 286/256 and crops back at random.")
    schedules = {c.config.training.schedule for c in cells}
    if schedules != {"constant"}:
        said.append("The learning rate decays linearly; the public Torch code keeps it constant.")
    losses = {c.config.objective.gan_loss for c in cells if c.config.discriminator}
    if losses - {"cross-entropy"}:
        said.append(f"GAN loss {_each(losses)}; the paper's is cross-entropy.")
    if any(c.config.generator.bottleneck_norm for c in cells):
        said.append("BatchNorm on the bottleneck: the paper's erratum, removed in its public code.")
    said.append(
        "Every epoch is a permutation of the pairs; the public Torch code draws with replacement."
    )
    said.append(
        "D's gradient is halved, as the paper says, and G's step uses the updated D; the public "
        "Torch code sums it and reuses D's output from before its update."
    )
    if needs_scorer(plan):
        said.append(
            "FCN-scores come from an FCN-8s trained here on the real training photos, not from "
            "the published Cityscapes scorer; compare arms with the ground-truth row."
        )
    return said


def _each(values: set) -> str:
    return " or ".join(f"{v:,}" if isinstance(v, int) else str(v) for v in sorted(values))
