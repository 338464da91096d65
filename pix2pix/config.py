"""Frozen, validated settings of one training, their digest, and the arithmetic of patches.

Never imports torch.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

STREAMS = 1
"""Part of the digest of cyclegan's cells, whose networks draw each a stream of its own; until then,
G and F started from the same weights, and so did both discriminators."""
PROTOCOL = 2
"""Increased when a code change, or another default, alters what the same settings train."""

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Width = Annotated[int, Field(ge=1, le=4096)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Precision = Literal["float32", "tf32", "bfloat16"]
"""What convolutions multiply in; weights, losses and optimisers are always float32."""


MethodName = Literal["pix2pix", "cyclegan"]
Statistics = Literal["batch", "image"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GeneratorSettings(_Settings):
    """Section 3.2.1, Appendix 6.1.1; resnet as in CycleGAN (Appendix 7.2 there)."""

    architecture: Literal["unet", "encoder-decoder", "resnet"] = "unet"
    width: Width = 64
    """Filters of the first layer."""
    depth: Annotated[int, Field(ge=2, le=10)] | None = None
    """Halvings; None means as many as the size allows, at most 8 (the paper's at 256×256)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    bottleneck_norm: bool = False
    """The paper's erratum: BatchNorm on the bottleneck."""
    dropout_levels: Literal["innermost", "shifted"] = "innermost"
    """Which decoder layers: the three innermost, or, as in the PyTorch port, one level further out
    (none on the innermost, then on the next depth − 5)."""
    blocks: Annotated[int, Field(ge=1, le=64)] = 9
    """Residual blocks of a resnet: 6 at 128×128 pixels, 9 at 256×256 and above."""
    statistics: Statistics = "batch"
    """What BatchNorm normalises by: the whole batch, or each image (then it is instance
    normalisation with scale and bias). At batch 1 they are one."""
    noise: Annotated[int, Field(ge=0, le=1024)] = 0
    """Length of a Gaussian vector z that joins the input at every pixel (Section 3.1)."""


class DiscriminatorSettings(_Settings):
    """Section 3.2.2, Appendix 6.1.2."""

    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Receptive field in pixels."""
    width: Width = 64
    norm: Literal["batch", "instance"] = "batch"
    """BatchNorm, or InstanceNorm without scale and bias, as in CycleGAN."""
    statistics: Statistics = "batch"
    """As the generator's, of BatchNorm."""


class ObjectiveSettings(_Settings):
    """Section 3.1: terms and their weights."""

    gan: Literal["none", "unconditional", "conditional"] = "conditional"
    gan_loss: Literal["cross-entropy", "least-squares", "hinge"] = "cross-entropy"
    l1: Weight = 100.0
    l2: Weight = 0.0
    perceptual: Weight = 0.0
    """Of the features of VGG16 at relu2_2 (Johnson et al. 2016)."""
    style: Weight = 0.0
    """Of the Gram matrices of VGG16's features (Johnson et al. 2016)."""

    @property
    def uses_vgg(self) -> bool:
        """Whether a term needs the pretrained VGG16."""
        return bool(self.perceptual or self.style)

    @property
    def compares(self) -> bool:
        """Whether a term compares a translation with its target."""
        return bool(self.l1 or self.l2 or self.uses_vgg)


class CycleSettings(_Settings):
    """CycleGAN (Zhu et al. 2017, Section 3): G translates from X to Y, F back. X is what the data
    set has as input by default, whatever the direction; or an input that is derived."""

    forward: Weight = 10.0
    """Of the L1 distance between F(G(x)) and x."""
    backward: Weight = 10.0
    """Of the L1 distance between G(F(y)) and y."""
    identity: Weight = 0.0
    """Of the L1 distances between G(y) and y, and F(x) and x; 5 for paintings (Section 5.2)."""
    pool: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Translations that D's are shown again (Section 4); 0 shows them the newest alone."""


class TrainingSettings(_Settings):
    """Section 3.3, Appendix 6.2: length, optimiser, augmentation, precision."""

    steps: Positive | None = None
    epochs: Positive | None = None
    """The length: exactly one of steps and epochs."""
    batch: Positive = 1
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    schedule: Literal["constant", "linear"] = "constant"
    """linear: constant for the first half, then linearly to 0 (the PyTorch port's default)."""
    jitter: Annotated[float, Field(ge=1, le=2)] = 286 / 256
    """Images are enlarged by this factor, then cropped at random to their size; 1 turns it off."""
    mirror: bool = True
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Of the jitter's enlarging; bicubic in the PyTorch port."""
    sampling: Literal["permutation", "replacement"] = "permutation"
    """Every epoch a new order of all pairs, or pairs drawn with replacement (public Torch code)."""
    biases: Literal["trained", "zero"] = "trained"
    """Of convolutions; the public Torch code sets them to zero at every step."""
    feedback: Literal["updated", "stale"] = "updated"
    """What G learns from: D after its update, or, as in the public Torch code, D's activations of
    before it, back-propagated through the updated weights."""
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _has_one_length(self) -> TrainingSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self

    def total_steps(self, pairs: int) -> int:
        """Optimiser steps for `pairs` training pairs; an epoch's last batch may be smaller."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * -(-pairs // self.batch)


class TranslationSettings(_Settings):
    """How the trained generator is tested (Sections 3.1 and 3.3, Figure 8)."""

    dropout: bool = True
    """Whether dropout stays on, as in the paper."""
    scale: Literal[1, 2] = 1
    """2: inputs of twice the size, fully convolutionally; the result is reduced to the size."""


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
    method: MethodName = "pix2pix"
    cycle: CycleSettings = CycleSettings()
    translation: TranslationSettings = TranslationSettings()
    derivation: int = 0
    """`tasks.VERSION` where inputs are derived from photos; 0 where they are files."""
    streams: int = 0
    """STREAMS for cyclegan; 0 for pix2pix."""

    protocol: int = PROTOCOL

    @model_validator(mode="after")
    def _has_an_objective(self) -> CellSettings:
        objective, cycle = self.objective, self.cycle
        if self.method == "cyclegan":
            if objective.gan == "conditional":
                raise ValueError(
                    "cyclegan has no pairs: objective.gan must be unconditional or none"
                )
            if objective.compares:
                raise ValueError("cyclegan has no pairs: objective.l1 and the like must be 0")
            if self.training.sampling == "replacement" or self.training.feedback == "stale":
                raise ValueError(
                    "cyclegan: training.sampling and training.feedback are settings of pix2pix"
                )
            compares = bool(cycle.forward or cycle.backward or cycle.identity)
        else:
            compares = objective.compares
        if objective.gan == "none" and not compares:
            raise ValueError("nothing to train on: gan is none, and every weight is 0")
        return self

    @property
    def both_ways(self) -> bool:
        """Whether one training serves both directions of the data set."""
        return self.method == "cyclegan"

    @property
    def turned(self) -> Self:
        """The same settings in the other direction."""
        source, target = self.direction.split("->")
        return self.model_copy(update={"direction": f"{target}->{source}"})

    @property
    def as_trained(self) -> Self:
        """The settings of the training alone: cells that share them need one training, as they
        differ in the test, or in the direction where one training serves both."""
        config = self.model_copy(update={"translation": TranslationSettings()})
        if self.both_ways and self.direction > self.turned.direction:
            return config.turned
        return config

    @property
    def sharing(self) -> list[Self]:
        """The other cells that may share this one's training."""
        found = [self.as_trained]
        if self.both_ways:
            found += [self.as_trained.turned, self.turned]
        return [config for config in dict.fromkeys(found) if config != self]

    def with_data(self, fingerprint: str) -> CellConfig:
        """These settings on a data set that is decoded."""
        return CellConfig(fingerprint=fingerprint, **dict(self))


class CellConfig(CellSettings):
    """Everything that decides the result of one training, and nothing else."""

    fingerprint: str
    """sha256 of the decoded pixels: the same name with other images is another cell."""

    @property
    def digest(self) -> str:
        """16 hex digits that name this training."""
        # Without defaults, so that a setting that is added later leaves digests as they are.
        content = self.model_dump(mode="json", exclude_defaults=True)
        return digest(content | {"protocol": self.protocol})


def digest(value: Any) -> str:
    """The first 16 hex digits of the sha256 of the canonical JSON of a value or a model."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_resnet_size(size: tuple[int, int]) -> None:
    """ValueError if a resnet, which halves twice, cannot give back images of size (H, W)."""
    if any(side % 4 for side in size):
        near = " × ".join(str(max(4, round(side / 4) * 4)) for side in size)
        raise ValueError(
            f"a resnet needs sides that are multiples of 4 (got {size[0]}×{size[1]}; "
            f"nearest: {near})"
        )


def resolve_depth(size: tuple[int, int], depth: int | None) -> int:
    """The generator's depth for a size (H, W).

    Raises ValueError, naming the nearest sizes that fit, if 2**`depth` does not divide the sides,
    or, without a depth, if 2**4 does not.
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


PATCHES = (1, 16, 34, 70, 142, 286)
"""Receptive fields in pixels; PATCHES[n] has n stride-2 layers (public Torch code)."""


def discriminator_layers(patch: int) -> list[tuple[int, int]]:
    """(kernel, stride) of every convolution of the discriminator with receptive field `patch`.

    Follows `defineD_n_layers` and `defineD_pixelGAN` of the public Torch code: n stride-2 layers,
    one of stride 1, one to a single channel. ValueError for a patch that is not in PATCHES.
    """
    if patch == 1:
        return [(1, 1)] * 3
    return [(4, 2)] * PATCHES.index(patch) + [(4, 1)] * 2


def smallest_image(patch: int) -> int:
    """The shortest side in pixels for which the `patch` discriminator has any output."""
    side = 1
    while discriminator_output(patch, side) < 1:
        side += 1
    return side


def discriminator_output(patch: int, side: int) -> int:
    """Outputs along a side of `side` pixels; below 1 if the image is too small."""
    for kernel, stride in discriminator_layers(patch):
        padding = 0 if kernel == 1 else 1
        if side + 2 * padding < kernel:
            return 0
        side = (side + 2 * padding - kernel) // stride + 1
    return side
