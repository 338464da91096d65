"""Frozen, validated settings of one training and their digest. Never imports torch."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PROTOCOL = 1
"""Raised when a change of the code changes what the same settings train."""

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Width = Annotated[int, Field(ge=1, le=4096)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Precision = Literal["float32", "tf32", "bfloat16"]
"""What convolutions multiply in; weights, losses and optimisers are float32 always."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GeneratorSettings(_Settings):
    architecture: Literal["unet", "encoder-decoder"] = "unet"
    width: Width = 64
    """Filters of the first layer."""
    depth: Annotated[int, Field(ge=2, le=10)] | None = None
    """Halvings; None takes as many as the size allows, at most 8 (the paper's at 256×256)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    bottleneck_norm: bool = False
    """The paper's erratum: BatchNorm on the bottleneck."""


class DiscriminatorSettings(_Settings):
    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Receptive field in pixels."""
    width: Width = 64


class ObjectiveSettings(_Settings):
    gan: Literal["none", "unconditional", "conditional"] = "conditional"
    gan_loss: Literal["cross-entropy", "least-squares", "hinge"] = "cross-entropy"
    l1: Weight = 100.0
    l2: Weight = 0.0

    @model_validator(mode="after")
    def _has_a_term(self) -> ObjectiveSettings:
        if self.gan == "none" and not self.l1 and not self.l2:
            raise ValueError("nothing to train on: gan is none and both l1 and l2 are 0")
        return self


class TrainingSettings(_Settings):
    steps: Positive | None = None
    epochs: Positive | None = None
    """The length: either steps or epochs."""
    batch: Positive = 1
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    schedule: Literal["constant", "linear"] = "constant"
    """linear: constant for the first half, then linearly to 0 (the PyTorch port's default)."""
    jitter: Annotated[float, Field(ge=1, le=2)] = 286 / 256
    """Images are enlarged by this factor and cropped back at random; 1 turns it off."""
    mirror: bool = True
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _has_one_length(self) -> TrainingSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self

    def total_steps(self, pairs: int) -> int:
        """Optimiser steps for a training split of that many pairs; the last batch may be cut."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * -(-pairs // self.batch)


class CellSettings(_Settings):
    """Everything that decides the result of one training, except the pixels of the data set."""

    dataset: str
    direction: str
    size: tuple[Positive, Positive]
    """Height and width in pixels."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    generator: GeneratorSettings = GeneratorSettings()
    discriminator: DiscriminatorSettings | None = DiscriminatorSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings
    protocol: int = PROTOCOL

    def with_data(self, fingerprint: str) -> CellConfig:
        """These settings on a data set that is decoded."""
        return CellConfig(fingerprint=fingerprint, **dict(self))


class CellConfig(CellSettings):
    """Everything that decides the result of one training, and nothing else."""

    fingerprint: str
    """sha256 of the decoded pixels: the same name with other images is another cell."""

    @property
    def digest(self) -> str:
        content = self.model_dump(mode="json")
        if self.training.precision == "float32":  # as it was before the setting was there
            del content["training"]["precision"]
        return digest(content)


def digest(value: Any) -> str:
    """The first 16 hex digits of the sha256 of a value's canonical JSON."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolve_depth(size: tuple[int, int], depth: int | None) -> int:
    """The generator's depth for a size (H, W).

    Raises ValueError, with the nearest sizes that fit, where `depth` does not divide the sides,
    or where none of 4 to 8 does.
    """
    auto = depth is None
    if depth is None:
        depth = max((d for d in range(1, 9) if not any(side % 2**d for side in size)), default=0)
    multiple = 2 ** max(depth, 4) if auto else 2**depth
    if (auto and depth < 4) or any(side % multiple for side in size):
        near = " × ".join(str(max(multiple, round(side / multiple) * multiple)) for side in size)
        raise ValueError(
            f"a generator of depth {max(depth, 4) if auto else depth} needs sides that are "
            f"multiples of {multiple} (got {size[0]}×{size[1]}; nearest: {near})"
        )
    return depth
