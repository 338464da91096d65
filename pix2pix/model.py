"""The networks and optimisers of one training, and the step that trains them (Section 3.3).

`training_step` is the reference and reads like the paper; `fast_step.py` has faster equivalents.
`training.precision` only changes what convolutions multiply in: weights, losses, optimisers and the
sums within a normalisation are always float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from pix2pix import losses, perceptual
from pix2pix.common.errors import UserError
from pix2pix.common.tf32 import get_flags, set_flags, set_tf32
from pix2pix.config import CellConfig, ObjectiveSettings, Precision
from pix2pix.data.vgg16 import VGG16
from pix2pix.networks import PatchDiscriminator, build_generator, initialise


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
    stale: bool = False
    """Whether G learns from D's activations of before its update (`TrainingSettings.feedback`)."""
    vgg: VGG16 | None = None
    """For the perceptual losses; never trained, so no part of the state."""
    learning_rate: float = float("nan")
    """The rate that was set last."""

    def translate(self, x: Tensor) -> Tensor:
        """G's images for inputs x, both (N, C, H, W) float in [-1, 1]."""
        return forward(self.generator, x, self.precision)

    def discriminate(self, x: Tensor, image: Tensor) -> Tensor:
        """D's logits (N, 1, h, w) on images, given inputs x if D is conditional."""
        assert self.discriminator is not None
        conditional = self.objective.gan == "conditional"
        seen = torch.cat((x, image), dim=1) if conditional else image
        return forward(self.discriminator, seen, self.precision)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of both optimisers."""
        if rate == self.learning_rate:
            return
        self.learning_rate = rate
        for optimiser in (self.optimiser_g, self.optimiser_d):
            for group in optimiser.param_groups if optimiser is not None else ():
                if isinstance(group["lr"], Tensor):  # on a GPU, read by the CUDA graph
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The state of both networks and optimisers by name, without the missing ones."""
        parts = (self.generator, self.discriminator, self.optimiser_g, self.optimiser_d)
        names = ("generator", "discriminator", "optimiser_g", "optimiser_d")
        return {n: p.state_dict() for n, p in zip(names, parts, strict=True) if p is not None}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Restore what `state_dict` returned, possibly on another device."""
        for name, part_state in state.items():
            part = getattr(self, name)
            if isinstance(part, torch.optim.Optimizer):
                # How the rate is stored depends on the device, which may have changed.
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
    """Give moments the memory format of their weights: fused Adam walks both in memory order, and
    the moments in a file may be laid out differently."""
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

    `channels`: of inputs and targets; `memory_format`: of the weights; activations follow it.
    G and D are drawn from separate streams, so arms of one seed whose generators are alike
    start from the same weights.
    Raises UserError if the objective needs VGG16 and its weights are not on this machine.
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
        _place(discriminator, device, memory_format)
    _place(generator, device, memory_format)
    vgg = perceptual.build_vgg(config.objective) if config.objective.uses_vgg else None
    if vgg is not None:
        _place(vgg, device, torch.channels_last)  # a tenth faster on the CPU
    settings, on_gpu = config.training, device.type == "cuda"

    def adam(network: nn.Module) -> torch.optim.Optimizer:
        rate = settings.learning_rate
        return torch.optim.Adam(
            network.parameters() if settings.biases == "trained" else without_biases(network),
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
        settings.feedback == "stale",
        vgg,
    )


def without_biases(network: nn.Module) -> list[nn.Parameter]:
    """The parameters but for the biases of convolutions, which then stay 0."""
    convolutions = (m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)))
    biases = {id(module.bias) for module in convolutions}
    return [parameter for parameter in network.parameters() if id(parameter) not in biases]


def _place(network: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a network to a device and lay out its weights there."""
    network.to(device).to(memory_format=layout)  # type: ignore[call-overload]


def training_step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
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


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def discriminator_update(model: Model, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
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
    model: Model, x: Tensor, y: Tensor, translation: Tensor, stale: Tensor | None = None
) -> dict[str, Tensor]:
    """One gradient step on G; returns its terms.

    G learns from the updated D, or from `stale`, D's logits of before its update.
    """
    objective, terms = model.objective, {}
    if stale is not None:
        terms["g_gan"] = model.gan_loss.generator(stale)
    elif model.discriminator is not None:
        model.discriminator.requires_grad_(False)
        try:
            terms["g_gan"] = model.gan_loss.generator(model.discriminate(x, translation))
        finally:
            model.discriminator.requires_grad_(True)
    terms["g_l1"] = losses.l1(translation, y)
    total = objective.l1 * terms["g_l1"]
    if objective.l2:
        terms["g_l2"] = losses.l2(translation, y)
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


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Switch TF32 on for "tf32" and off otherwise, for GPU work launched inside this block.

    TF32 applies to every convolution. bfloat16 is applied per network, by `forward`.
    """
    before = get_flags()
    set_tf32(precision == "tf32")
    try:
        yield
    finally:
        set_flags(before)


def forward(network: nn.Module, x: Tensor, precision: Precision) -> Any:
    """The network's float32 output for x, with convolutions in bfloat16 if that is the precision.

    G's tanh and D's last layer compute in float32 in either case (networks.py). Each call has its
    own autocast: one around a whole step would keep the casts of weights made before their update.
    """
    if precision != "bfloat16":
        return network(x)
    with torch.autocast(x.device.type, torch.bfloat16):
        return network(x)
