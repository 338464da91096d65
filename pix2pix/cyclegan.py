"""CycleGAN: translation both ways, learnt without pairs (Zhu et al. 2017, arXiv 1703.10593).

G translates from X to Y, F back; a discriminator judges each side. The step follows Section 4 and
`CycleGANModel` of the PyTorch port: both generators at once, then both discriminators, on
translations from a pool of earlier ones.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix import losses
from pix2pix.config import CellConfig
from pix2pix.method import Method, forward, frozen, place
from pix2pix.model import adam
from pix2pix.networks import build_discriminator, build_generator, initialise

STORE, SWAP, PASS = 0, 1, 2


class CycleGAN(Method):
    """CycleGAN's networks and optimisers; without a GAN there are no discriminators."""

    paired = False

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimisers: dict[str, torch.optim.Optimizer],
        config: CellConfig,
    ) -> None:
        super().__init__(networks, optimisers, config.training.precision)
        self.cycle = config.cycle
        self.gan_loss = losses.GAN_LOSSES[config.objective.gan_loss]()

    @property
    def pools(self) -> dict[str, ImagePool]:
        return {n: pool for n, pool in self.networks.items() if isinstance(pool, ImagePool)}

    def draw(self, count: int) -> None:
        for pool in self.pools.values():
            pool.draw(count)

    def host_state(self) -> dict[str, Any]:
        return {name: pool.get_extra_state() for name, pool in self.pools.items()}

    def restore_host_state(self, state: dict[str, Any]) -> None:
        for name, pool in self.pools.items():
            pool.set_extra_state(state[name])

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One gradient step on G and F, then one on their discriminators, on any x and y of the two
        sides, each (N, C, H, W) in [-1, 1].

        Terms end in `_back` where they are of F and of X's discriminator.
        """
        cycle, networks = self.cycle, self.networks

        def run(name: str, images: Tensor) -> Tensor:
            return forward(networks[name], images, self.precision)

        fake_y, fake_x = run("generator", x), run("generator_back", y)
        judged = {"": ("discriminator", y, fake_y), "_back": ("discriminator_back", x, fake_x)}
        with_gan = "discriminator" in networks
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=x.device)
        if with_gan:
            with frozen(networks["discriminator"], networks["discriminator_back"]):
                for end, (name, _, fake) in judged.items():
                    terms[f"g_gan{end}"] = self.gan_loss.generator(run(name, fake))
                    total = total + terms[f"g_gan{end}"]
        if cycle.forward:
            terms["g_cycle"] = F.l1_loss(run("generator_back", fake_y), x)
            total = total + cycle.forward * terms["g_cycle"]
        if cycle.backward:
            terms["g_cycle_back"] = F.l1_loss(run("generator", fake_x), y)
            total = total + cycle.backward * terms["g_cycle_back"]
        if cycle.identity:
            same_y, same_x = run("generator", y), run("generator_back", x)
            terms["g_identity"] = F.l1_loss(same_y, y) + F.l1_loss(same_x, x)
            total = total + cycle.identity * terms["g_identity"]
        self.optimisers["optimiser_g"].zero_grad(set_to_none=True)
        total.backward()
        self.optimisers["optimiser_g"].step()
        if not with_gan:
            return {name: term.detach() for name, term in terms.items()}
        loss = torch.zeros((), device=x.device)
        for end, (name, real_image, fake) in judged.items():
            shown = networks[f"pool{end}"](fake.detach())
            real, generated = self.gan_loss.discriminator(run(name, real_image), run(name, shown))
            terms |= {f"d_real{end}": real, f"d_fake{end}": generated}
            loss = loss + 0.5 * (real + generated)
        self.optimisers["optimiser_d"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["optimiser_d"].step()
        return {name: term.detach() for name, term in terms.items()}


def build(
    config: CellConfig,
    channels: tuple[int, int],
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> CycleGAN:
    """New networks and optimisers, drawn from the cell's seed alone; each network and each pool
    draws a stream of its own.

    `channels`: of X and Y; `memory_format`: of the weights.
    """
    sides = {"": channels, "_back": channels[::-1]}
    networks: dict[str, nn.Module] = {}
    for end, between in sides.items():
        networks[f"generator{end}"] = build_generator(config.generator, between, config.size)
    if config.discriminator is not None:
        for end, (_, target) in sides.items():
            networks[f"discriminator{end}"] = build_discriminator(config.discriminator, target)
    trained = dict(networks)
    for name, network in trained.items():
        initialise(network, torch.Generator().manual_seed(stream(config.seed, name)))
    if config.discriminator is not None:
        for end, (_, target) in sides.items():
            shape = (config.cycle.pool, target, *config.size)
            networks[f"pool{end}"] = ImagePool(shape, stream(config.seed, f"pool{end}"))
    for network in networks.values():
        place(network, device, memory_format)
    optimisers = {}
    for key, kind in (("optimiser_g", "generator"), ("optimiser_d", "discriminator")):
        parts = [network for name, network in trained.items() if name.startswith(kind)]
        if parts:
            parameters = [p for network in parts for p in network.parameters()]
            optimisers[key] = adam(parameters, config, device)
    return CycleGAN(networks, optimisers, config)


def stream(seed: int, name: str) -> int:
    """The seed of one network or pool: 32 bits, all that torch's generator on the CPU takes."""
    return int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


class ImagePool(nn.Module):
    """Earlier translations, of which a discriminator sees one in two (Section 4; Shrivastava et
    al. 2017).

    Until it is full, every image is stored and shown. Then each is, with a chance of one half,
    shown itself, or takes the place of a stored one, which is shown.
    """

    images: Tensor
    slots: Tensor
    acts: Tensor

    def __init__(self, shape: tuple[int, int, int, int], seed: int) -> None:
        """`shape`: images, channels, height, width; no images turn the pool off."""
        super().__init__()
        self.size = shape[0]
        self.stored = 0
        self.generator = torch.Generator().manual_seed(seed)
        self.register_buffer("images", torch.zeros(shape))
        # What `draw` decided, on the device, so that a CUDA graph reads it there.
        self.register_buffer("slots", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("acts", torch.zeros(0, dtype=torch.long), persistent=False)

    def draw(self, count: int) -> None:
        """Decide where the next `count` images go."""
        if not self.size:
            return
        slots, acts = [], []
        for _ in range(count):
            if self.stored < self.size:
                slots.append(self.stored)
                acts.append(STORE)
                self.stored += 1
            else:
                swap = torch.rand((), generator=self.generator) < 0.5
                slots.append(int(torch.randint(self.size, (), generator=self.generator)))
                acts.append(SWAP if swap else PASS)
        for name, values in (("slots", slots), ("acts", acts)):
            drawn, held = torch.tensor(values), getattr(self, name)
            if held.shape == drawn.shape:
                held.copy_(drawn)
            else:
                setattr(self, name, drawn.to(held.device))

    def forward(self, images: Tensor) -> Tensor:
        """What to show the discriminator, for translations (N, C, H, W) without gradients."""
        if not self.size:
            return images
        shown = []
        for index, image in enumerate(images.split(1)):
            slot, act = self.slots[index : index + 1], self.acts[index]
            old = self.images.index_select(0, slot)
            shown.append(torch.where(act == SWAP, old, image))
            self.images.index_copy_(0, slot, torch.where(act == PASS, old, image))
        return torch.cat(shown)

    def get_extra_state(self) -> dict[str, Any]:
        return {"stored": self.stored, "generator": self.generator.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.stored = state["stored"]
        self.generator.set_state(state["generator"])
