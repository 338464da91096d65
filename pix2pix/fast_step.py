"""The training step in less time: D's two passes in one, and on a GPU the whole step as one graph.

`model.training_step` is what these are held to (tests/pix2pix/test_fast_step.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pix2pix.config import Precision
from pix2pix.model import Model, discriminator_update, generator_update, training_step
from pix2pix.networks import BatchStatisticsNorm

Step = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Inputs and targets to the terms of both objectives, which are valid until the next call."""

WARM_UP = 3
"""Steps before a capture, in which cuDNN chooses and the allocator settles."""


@dataclass(frozen=True)
class Execution:
    """How the steps of a training are run; nothing of it is part of what is trained."""

    engine: Literal["reference", "paired", "graph"]
    """`reference`: model.training_step; `paired`: D sees target and translation in one pass where
    the batch is one image; `graph`: that, captured in a CUDA graph."""
    channels_last: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def execution_of(device: torch.device, precision: Precision) -> Execution:
    """The fastest for a device. On the CPU float32 is the reference's arithmetic, bit for bit."""
    if device.type == "cuda":
        return Execution("graph", channels_last=precision != "float32")
    return Execution("reference" if precision == "float32" else "paired")


def make_step(model: Model, execution: Execution, first: tuple[Tensor, Tensor]) -> Step:
    """The step of a training whose batches are of the shape of `first`, which it does not train
    on. CaptureFailed where the execution is a graph and the device cannot capture it; the model is
    then as it was."""
    if execution.engine == "graph":
        return GraphStep(model, *first)
    step = training_step if execution.engine == "reference" else paired_step
    return lambda x, y: step(model, x, y)


def paired_step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """`training_step`, but D sees target and translation in one pass where the batch is one image.

    BatchNorm's statistics are those of one image then, as they are in two passes.
    """
    if model.discriminator is None or len(x) > 1:
        return training_step(model, x, y)
    translation = model.translate(x)
    with _statistics_per_image(model.discriminator):
        seen = x.expand(2, -1, -1, -1), torch.cat((y, translation.detach()))
        real, generated = model.judge(*seen).chunk(2)
    terms = discriminator_update(model, real, generated)
    return terms | generator_update(model, x, y, translation)


@contextmanager
def _statistics_per_image(network: nn.Module) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, BatchStatisticsNorm)]
    for norm in norms:
        norm.per_image = True
    try:
        yield
    finally:
        for norm in norms:
            norm.per_image = False


class CaptureFailed(RuntimeError):
    """The device could not capture a step as a graph."""


class GraphStep:
    """`paired_step` captured once and replayed: one launch instead of hundreds.

    Dropout's generator is the device's own, which the graph advances, so that saved states of it
    mean the same as without a graph. A batch of another shape (an epoch's last) is stepped eagerly.
    """

    def __init__(self, model: Model, x: Tensor, y: Tensor) -> None:
        self.model = model
        self.x, self.y = x.clone(), y.clone()
        state = _state(model)
        try:
            random = torch.cuda.get_rng_state(x.device)
            self.graph, self.terms = self._capture(x.device)
            torch.cuda.set_rng_state(random, x.device)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CaptureFailed(said) from error
        finally:
            _restore(model, state)

    def _capture(self, device: torch.device) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                paired_step(self.model, self.x, self.y)
        torch.cuda.current_stream(device).wait_stream(beside)
        for optimiser in (self.model.optimiser_g, self.model.optimiser_d):
            if optimiser is not None:  # the graph's gradients live in memory of its own
                optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            terms = paired_step(self.model, self.x, self.y)
        return graph, terms

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if x.shape != self.x.shape:
            return paired_step(self.model, x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.terms


State = tuple[list[tuple[Tensor, Tensor]], dict[Tensor, dict[str, Tensor]]]


def _optimisers(model: Model) -> list[torch.optim.Optimizer]:
    return [one for one in (model.optimiser_g, model.optimiser_d) if one is not None]


def _state(model: Model) -> State:
    """Copies of all weights and of the optimisers' moments."""
    networks = [n for n in (model.generator, model.discriminator) if n is not None]
    weights = [(p, p.detach().clone()) for network in networks for p in network.parameters()]
    moments = {
        parameter: {name: value.clone() for name, value in values.items()}
        for optimiser in _optimisers(model)
        for parameter, values in optimiser.state.items()
    }
    return weights, moments


@torch.no_grad()
def _restore(model: Model, state: State) -> None:
    """Put a model back in place, where a graph has its addresses. New moments become zeros."""
    weights, moments = state
    for parameter, value in weights:
        parameter.copy_(value)
    for optimiser in _optimisers(model):
        for parameter, values in optimiser.state.items():
            for name, value in values.items():
                value.copy_(moments.get(parameter, {}).get(name, torch.zeros_like(value)))
