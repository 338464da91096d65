"""The objectives of G and D (Section 3.1): min over G, max over D of L_cGAN(G, D) + λ L1(G).

A GAN loss is a small object with two methods on logits; `GAN_LOSSES` names them.
"""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class GANLoss(Protocol):
    """What D minimises on real and generated images, and what G minimises."""

    def discriminator(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        """Two scalars from logits (N, 1, h, w) on each; D's objective is half their sum."""
        ...

    def generator(self, generated: Tensor) -> Tensor:
        """A scalar from logits (N, 1, h, w) on generated images."""
        ...


class CrossEntropy:
    """The paper's loss: binary cross-entropy for D; G maximises log D(x, G(x)) (Section 3.3)."""

    def discriminator(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(-real).mean(), F.softplus(generated).mean()

    def generator(self, generated: Tensor) -> Tensor:
        return F.softplus(-generated).mean()


class LeastSquares:
    """LSGAN (Mao et al. 2017) with targets 1 and 0."""

    def discriminator(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        return (real - 1).square().mean(), generated.square().mean()

    def generator(self, generated: Tensor) -> Tensor:
        return (generated - 1).square().mean()


class Hinge:
    """The hinge objective of Lim and Ye (2017) and SAGAN."""

    def discriminator(self, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        return F.relu(1 - real).mean(), F.relu(1 + generated).mean()

    def generator(self, generated: Tensor) -> Tensor:
        return -generated.mean()


GAN_LOSSES: dict[str, type[GANLoss]] = {
    "cross-entropy": CrossEntropy,
    "least-squares": LeastSquares,
    "hinge": Hinge,
}
