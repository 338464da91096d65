"""What training needs of a method: networks, optimisers, a step, what translates.

The loop, the CUDA graph, checkpoints and samples know no more than this. `model.py` is pix2pix,
`cyclegan.py` is CycleGAN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pix2pix.common.tf32 import get_flags, set_flags, set_tf32
from pix2pix.config import Precision


class Method:
    """The networks and optimisers of one training, by name, and the step that trains them."""

    paired = True
    """Whether a step needs targets that belong to its inputs."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimisers: dict[str, torch.optim.Optimizer],
        precision: Precision,
    ) -> None:
        self.networks, self.optimisers, self.precision = networks, optimisers, precision
        self.learning_rate = float("nan")
        """The rate that was set last."""

    @property
    def generators(self) -> dict[str, nn.Module]:
        """What translates, by the name of its file: `generator`, from inputs to targets, and
        `generator_back` for a method that trains both ways."""
        names = ("generator", "generator_back")
        return {name: self.networks[name] for name in names if name in self.networks}

    def draw(self, count: int) -> None:
        """Draw on the host what the next step needs for `count` images; before every step."""

    def host_state(self) -> dict[str, Any]:
        """What `draw` changes, to be given back to `restore_host_state`."""
        return {}

    def restore_host_state(self, state: dict[str, Any]) -> None:
        """Undo every `draw` since `host_state`."""

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One gradient step on every network, on inputs x and targets y in [-1, 1].

        Returns the terms of the objectives, unweighted, as scalars on the device.
        """
        raise NotImplementedError

    def paired_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """`step`, where possible with the discriminator's two passes in one."""
        return self.step(x, y)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of all optimisers."""
        if rate == self.learning_rate:
            return
        self.learning_rate = rate
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):  # on a GPU, read by the CUDA graph
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The state of every network and optimiser by name."""
        parts: dict[str, Any] = {**self.networks, **self.optimisers}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Restore what `state_dict` returned, possibly on another device."""
        for name, network in self.networks.items():
            network.load_state_dict(state[name])
        for name, optimiser in self.optimisers.items():
            # How the rate is stored depends on the device, which may have changed.
            own = ("lr", "capturable")
            saved, mine = state[name]["param_groups"], optimiser.param_groups
            groups = [s | {key: m[key] for key in own} for s, m in zip(saved, mine, strict=True)]
            optimiser.load_state_dict(state[name] | {"param_groups": groups})
            _lay_out(optimiser)


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give moments the memory format of their weights: fused Adam walks both in memory order, and
    the moments in a file may be laid out differently."""
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter).copy_(value).detach()


def place(network: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a network to a device and lay out its weights there."""
    network.to(device).to(memory_format=layout)  # type: ignore[call-overload]


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Inside the block, gradients pass through the networks, whose weights get none."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


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
