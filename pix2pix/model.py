"""The networks and optimisers of one training, and the step that trains them (Section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pix2pix import losses
from pix2pix.checkpoint import build_generator
from pix2pix.config import CellConfig, ObjectiveSettings
from pix2pix.networks import PatchDiscriminator, initialise


@dataclass
class Model:
    """The networks and optimisers of one training; `discriminator` is None without a GAN."""

    generator: nn.Module
    discriminator: nn.Module | None
    optimiser_g: torch.optim.Optimizer
    optimiser_d: torch.optim.Optimizer | None
    objective: ObjectiveSettings
    gan_loss: losses.GANLoss

    def set_learning_rate(self, rate: float) -> None:
        for optimiser in (self.optimiser_g, self.optimiser_d):
            for group in optimiser.param_groups if optimiser is not None else ():
                group["lr"] = rate

    def state_dict(self) -> dict[str, dict]:
        parts = (self.generator, self.discriminator, self.optimiser_g, self.optimiser_d)
        names = ("generator", "discriminator", "optimiser_g", "optimiser_d")
        return {n: p.state_dict() for n, p in zip(names, parts, strict=True) if p is not None}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        for name, part_state in state.items():
            getattr(self, name).load_state_dict(part_state)


def build(config: CellConfig, channels: tuple[int, int], device: torch.device) -> Model:
    """New networks and optimisers, drawn from the cell's seed alone.

    `channels`: of inputs and targets. G is drawn before D, each from its own stream, so that all
    arms of one seed start from the same generator.
    """
    generator = build_generator(config.generator, channels, config.size)
    initialise(generator, torch.Generator().manual_seed(config.seed))
    discriminator = None
    if config.discriminator is not None:
        conditional = config.objective.gan == "conditional"
        discriminator = PatchDiscriminator(
            channels[1] + (channels[0] if conditional else 0),
            config.discriminator.patch,
            config.discriminator.width,
        )
        initialise(discriminator, torch.Generator().manual_seed(config.seed + 2**32))
        discriminator.to(device)
    generator.to(device)

    def adam(network: nn.Module) -> torch.optim.Optimizer:
        betas = (config.training.beta1, config.training.beta2)
        return torch.optim.Adam(
            network.parameters(), config.training.learning_rate, betas, fused=True
        )

    return Model(
        generator,
        discriminator,
        adam(generator),
        adam(discriminator) if discriminator is not None else None,
        config.objective,
        losses.GAN_LOSSES[config.objective.gan_loss](),
    )


def training_step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """One gradient step on D, then one on G, on inputs x and targets y in [-1, 1].

    Returns the terms of both objectives, unweighted, as scalars on the device.
    """
    objective, terms = model.objective, {}
    translation = model.generator(x)

    if model.discriminator is not None and model.optimiser_d is not None:
        conditional = objective.gan == "conditional"

        def judged(image: Tensor) -> Tensor:
            return model.discriminator(torch.cat((x, image), dim=1) if conditional else image)

        real, generated = model.gan_loss.discriminator(judged(y), judged(translation.detach()))
        model.optimiser_d.zero_grad(set_to_none=True)
        (0.5 * (real + generated)).backward()
        model.optimiser_d.step()
        terms |= {"d_real": real, "d_fake": generated}

        model.discriminator.requires_grad_(False)
        terms["g_gan"] = model.gan_loss.generator(judged(translation))
        model.discriminator.requires_grad_(True)

    terms["g_l1"] = losses.l1(translation, y)
    total = objective.l1 * terms["g_l1"]
    if objective.l2:
        terms["g_l2"] = losses.l2(translation, y)
        total = total + objective.l2 * terms["g_l2"]
    if "g_gan" in terms:
        total = total + terms["g_gan"]
    model.optimiser_g.zero_grad(set_to_none=True)
    total.backward()
    model.optimiser_g.step()
    return {name: term.detach() for name, term in terms.items()}
