"""The networks and optimisers of one training, and the step that trains them (Section 3.3).

`training_step` is the reference: it reads like the paper. `fast_step.py` has those that do the same
in less time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pix2pix import losses
from pix2pix.checkpoint import build_generator
from pix2pix.config import CellConfig, ObjectiveSettings, Precision
from pix2pix.networks import PatchDiscriminator, initialise
from pix2pix.precision import forward


@dataclass
class Model:
    """The networks and optimisers of one training; `discriminator` is None without a GAN."""

    generator: nn.Module
    discriminator: nn.Module | None
    optimiser_g: torch.optim.Optimizer
    optimiser_d: torch.optim.Optimizer | None
    objective: ObjectiveSettings
    gan_loss: losses.GANLoss
    precision: Precision
    learning_rate: float = float("nan")
    """What was set last."""

    def translate(self, x: Tensor) -> Tensor:
        """G's images for inputs x."""
        return forward(self.generator, x, self.precision)

    def judge(self, x: Tensor, image: Tensor) -> Tensor:
        """D's logits on images of inputs x."""
        assert self.discriminator is not None
        conditional = self.objective.gan == "conditional"
        seen = torch.cat((x, image), dim=1) if conditional else image
        return forward(self.discriminator, seen, self.precision)

    def set_learning_rate(self, rate: float) -> None:
        if rate == self.learning_rate:
            return
        self.learning_rate = rate
        for optimiser in (self.optimiser_g, self.optimiser_d):
            for group in optimiser.param_groups if optimiser is not None else ():
                if isinstance(group["lr"], Tensor):  # on a GPU, where a graph reads it
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def state_dict(self) -> dict[str, dict]:
        parts = (self.generator, self.discriminator, self.optimiser_g, self.optimiser_d)
        names = ("generator", "discriminator", "optimiser_g", "optimiser_d")
        return {n: p.state_dict() for n, p in zip(names, parts, strict=True) if p is not None}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        for name, part_state in state.items():
            part = getattr(self, name)
            if isinstance(part, torch.optim.Optimizer):
                # How the rate is kept is the device's matter, which may be another one now.
                own = ("lr", "capturable")
                groups = [
                    saved | {key: mine[key] for key in own}
                    for saved, mine in zip(
                        part_state["param_groups"], part.param_groups, strict=True
                    )
                ]
                part_state = part_state | {"param_groups": groups}
            part.load_state_dict(part_state)
            if isinstance(part, torch.optim.Optimizer):
                _lay_out(part)


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give moments the memory format of their weights: a fused Adam walks through both as they lie
    in memory, and those of a file may lie otherwise."""
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter).copy_(value).detach()


def build(
    config: CellConfig,
    channels: tuple[int, int],
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Model:
    """New networks and optimisers, drawn from the cell's seed alone.

    `channels`: of inputs and targets; `memory_format`: of the weights, which decides that of all
    that is computed. G is drawn before D, each from its own stream, so that all
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
        discriminator.to(device, memory_format=memory_format)
    generator.to(device, memory_format=memory_format)
    settings, on_gpu = config.training, device.type == "cuda"

    def adam(network: nn.Module) -> torch.optim.Optimizer:
        rate = settings.learning_rate
        return torch.optim.Adam(
            network.parameters(),
            torch.tensor(rate, dtype=torch.float32, device=device) if on_gpu else rate,
            (settings.beta1, settings.beta2),
            fused=True,
            capturable=on_gpu,
        )

    return Model(
        generator,
        discriminator,
        adam(generator),
        adam(discriminator) if discriminator is not None else None,
        config.objective,
        losses.GAN_LOSSES[config.objective.gan_loss](),
        settings.precision,
    )


def training_step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """One gradient step on D, then one on G, on inputs x and targets y in [-1, 1].

    Returns the terms of both objectives, unweighted, as scalars on the device.
    """
    translation, terms = model.translate(x), {}
    if model.discriminator is not None:
        judged = model.judge(x, y), model.judge(x, translation.detach())
        terms |= discriminator_update(model, *judged)
    return terms | generator_update(model, x, y, translation)


def discriminator_update(model: Model, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
    """D's step on its logits on targets and on translations; its terms."""
    assert model.optimiser_d is not None
    real, generated = model.gan_loss.discriminator(real, generated)
    model.optimiser_d.zero_grad(set_to_none=True)
    (0.5 * (real + generated)).backward()
    model.optimiser_d.step()
    return {"d_real": real.detach(), "d_fake": generated.detach()}


def generator_update(model: Model, x: Tensor, y: Tensor, translation: Tensor) -> dict[str, Tensor]:
    """G's step against the updated D; its terms."""
    objective, terms = model.objective, {}
    if model.discriminator is not None:
        model.discriminator.requires_grad_(False)
        try:
            terms["g_gan"] = model.gan_loss.generator(model.judge(x, translation))
        finally:
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
