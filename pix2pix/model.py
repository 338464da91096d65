"""pix2pix: its networks and optimisers, and the step that trains them (Section 3.3).

`training_step` is the reference and reads like the paper; `fast_step.py` has faster equivalents.
`training.precision` only changes what convolutions multiply in: weights, losses, optimisers and the
sums within a normalisation are always float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix import losses, perceptual
from pix2pix.common.errors import UserError
from pix2pix.config import CellConfig, Precision
from pix2pix.data.vgg16 import VGG16
from pix2pix.method import Method, forward, frozen, place
from pix2pix.networks import (
    BatchStatisticsNorm,
    build_discriminator,
    build_generator,
    initialise,
)


class Pix2Pix(Method):
    """pix2pix's networks and optimisers; `discriminator` is None without a GAN."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimisers: dict[str, torch.optim.Optimizer],
        config: CellConfig,
        vgg: VGG16 | None = None,
    ) -> None:
        """`vgg`: for the perceptual losses; never trained, so no part of the state."""
        super().__init__(networks, optimisers, config.training.precision)
        self.objective = config.objective
        self.gan_loss = losses.GAN_LOSSES[config.objective.gan_loss]()
        self.stale = config.training.feedback == "stale"
        """Whether G learns from D's activations of before its update."""
        self.vgg = vgg

    @property
    def generator(self) -> nn.Module:
        return self.networks["generator"]

    @property
    def discriminator(self) -> nn.Module | None:
        return self.networks.get("discriminator")

    @property
    def optimiser_g(self) -> torch.optim.Optimizer:
        return self.optimisers["optimiser_g"]

    @property
    def optimiser_d(self) -> torch.optim.Optimizer | None:
        return self.optimisers.get("optimiser_d")

    def translate(self, x: Tensor) -> Tensor:
        """G's images for inputs x, both (N, C, H, W) float in [-1, 1]."""
        return forward(self.generator, x, self.precision)

    def discriminate(self, x: Tensor, image: Tensor) -> Tensor:
        """D's logits (N, 1, h, w) on images, given inputs x if D is conditional."""
        assert self.discriminator is not None
        conditional = self.objective.gan == "conditional"
        seen = torch.cat((x, image), dim=1) if conditional else image
        return forward(self.discriminator, seen, self.precision)

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return training_step(self, x, y)

    def paired_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return paired_step(self, x, y)


def build(
    config: CellConfig,
    channels: tuple[int, int],
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Pix2Pix:
    """New networks and optimisers, drawn from the cell's seed alone.

    `channels`: of inputs and targets; `memory_format`: of the weights; activations follow it.
    G and D are drawn by themselves, so arms of one seed whose generators are alike start from the
    same weights. (Torch draws weights with 32 bits of a seed, so both draw the same numbers.)
    Raises UserError if the objective needs VGG16 and its weights are not on this machine.
    """
    generator = build_generator(config.generator, channels, config.size)
    initialise(generator, torch.Generator().manual_seed(config.seed))
    networks: dict[str, nn.Module] = {"generator": generator}
    if config.discriminator is not None:
        conditional = config.objective.gan == "conditional"
        discriminator = build_discriminator(
            config.discriminator, channels[1] + (channels[0] if conditional else 0)
        )
        initialise(discriminator, torch.Generator().manual_seed(config.seed + 2**32))
        networks["discriminator"] = discriminator
    for network in networks.values():
        place(network, device, memory_format)
    vgg = perceptual.build_vgg(config.objective) if config.objective.uses_vgg else None
    if vgg is not None:
        place(vgg, device, torch.channels_last)  # a tenth faster on the CPU
    names = {"generator": "optimiser_g", "discriminator": "optimiser_d"}
    zero = config.training.biases == "zero"
    optimisers = {
        names[name]: adam(without_biases(network) if zero else network.parameters(), config, device)
        for name, network in networks.items()
    }
    return Pix2Pix(networks, optimisers, config, vgg)


def adam(
    parameters: Iterable[nn.Parameter], config: CellConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Adam with the cell's rate and betas; on a GPU, the rate is a tensor that a graph reads."""
    settings, on_gpu = config.training, device.type == "cuda"
    rate = settings.learning_rate
    return torch.optim.Adam(
        parameters,
        torch.tensor(rate, dtype=torch.float32, device=device) if on_gpu else rate,
        (settings.beta1, settings.beta2),
        fused=True,
        capturable=on_gpu,
    )


def without_biases(network: nn.Module) -> list[nn.Parameter]:
    """The parameters but for the biases of convolutions, which then stay 0."""
    convolutions = (m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)))
    biases = {id(module.bias) for module in convolutions}
    return [parameter for parameter in network.parameters() if id(parameter) not in biases]


def training_step(model: Pix2Pix, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """One gradient step on D, then one on G, on inputs x and targets y in [-1, 1].

    Returns the terms of both objectives, unweighted, as scalars on the device.
    """
    translation = model.translate(x)
    terms: dict[str, Tensor] = {}
    stale: Tensor | None = None
    if model.discriminator is not None:
        if model.stale:
            # What autograd keeps is handed out as it is then: activations of before D's update,
            # which changes the weights in place.
            with torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
                generated = stale = model.discriminate(x, translation)
        real = model.discriminate(x, y)
        if stale is None:
            generated = model.discriminate(x, translation.detach())
        terms |= discriminator_update(model, real, generated)
    return terms | generator_update(model, x, y, translation, stale)


def paired_step(model: Pix2Pix, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """`training_step`, but D sees target and translation in one pass if the batch is one image.

    BatchNorm then normalises each image by itself, as it does in two passes.
    """
    if model.discriminator is None or model.stale or len(x) > 1:
        return training_step(model, x, y)
    translation = model.translate(x)
    with _statistics_per_image(model.discriminator):
        seen = x.expand(2, -1, -1, -1), torch.cat((y, translation.detach()))
        real, generated = model.discriminate(*seen).chunk(2)
    terms = discriminator_update(model, real, generated)
    return terms | generator_update(model, x, y, translation)


@contextmanager
def _statistics_per_image(network: nn.Module) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, BatchStatisticsNorm)]
    before = [norm.per_image for norm in norms]
    for norm in norms:
        norm.per_image = True
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.per_image = own


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def discriminator_update(model: Pix2Pix, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
    """One gradient step on D from its logits on targets and on translations; returns its terms."""
    assert model.optimiser_d is not None and model.discriminator is not None
    real, generated = model.gan_loss.discriminator(real, generated)
    model.optimiser_d.zero_grad(set_to_none=True)
    loss = 0.5 * (real + generated)
    if model.stale:  # the graph leads on to G
        loss.backward(inputs=list(model.discriminator.parameters()), retain_graph=True)
    else:
        loss.backward()
    model.optimiser_d.step()
    return {"d_real": real.detach(), "d_fake": generated.detach()}


def generator_update(
    model: Pix2Pix, x: Tensor, y: Tensor, translation: Tensor, stale: Tensor | None = None
) -> dict[str, Tensor]:
    """One gradient step on G; returns its terms.

    G learns from the updated D, or from `stale`, D's logits of before its update.
    """
    objective, terms = model.objective, {}
    if stale is not None:
        terms["g_gan"] = model.gan_loss.generator(stale)
    elif model.discriminator is not None:
        with frozen(model.discriminator):
            terms["g_gan"] = model.gan_loss.generator(model.discriminate(x, translation))
    terms["g_l1"] = F.l1_loss(translation, y)
    total = objective.l1 * terms["g_l1"]
    if objective.l2:
        terms["g_l2"] = F.mse_loss(translation, y)
        total = total + objective.l2 * terms["g_l2"]
    if model.vgg is not None:
        seen = forward(model.vgg, translation, model.precision)
        with torch.no_grad():
            wanted = forward(model.vgg, y, model.precision)
        for name, weight, loss in (
            ("g_perceptual", objective.perceptual, perceptual.feature_loss),
            ("g_style", objective.style, perceptual.style_loss),
        ):
            if weight:
                terms[name] = loss(seen, wanted)
                total = total + weight * terms[name]
    if "g_gan" in terms:
        total = total + terms["g_gan"]
    model.optimiser_g.zero_grad(set_to_none=True)
    total.backward(inputs=list(model.generator.parameters()) if stale is not None else None)
    model.optimiser_g.step()
    return {name: term.detach() for name, term in terms.items()}


def precision_problem(precision: Precision, device: torch.device) -> str:
    """Why a device cannot train in a precision; empty if it can."""
    if precision == "float32" or (precision == "bfloat16" and device.type != "cuda"):
        return ""
    if device.type != "cuda":
        return "only GPUs have TF32 (NVIDIA Ampere or later); this training runs on the CPU"
    if torch.cuda.get_device_capability(device) >= (8, 0):  # older GPUs only emulate bfloat16
        return ""
    name = torch.cuda.get_device_name(device)
    return f"{name} does not support {precision} (NVIDIA Ampere or later does)"


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise UserError if the device cannot train in the precision; there is no fallback."""
    if reason := precision_problem(precision, device):
        others = [p for p in get_args(Precision) if not precision_problem(p, device)]
        raise UserError(f"training.precision {precision}: {reason}; use {' or '.join(others)}")
