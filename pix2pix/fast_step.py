"""Faster training steps: D's two passes in one, and on a GPU the whole step as one CUDA graph.

tests/pix2pix/test_fast_step.py compares them with the reference, `model.training_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pix2pix.common.memory import out_of_memory
from pix2pix.config import Precision
from pix2pix.model import (
    Model,
    arithmetic,
    discriminator_update,
    generator_update,
    training_step,
)
from pix2pix.networks import BatchStatisticsNorm

Step = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""From inputs and targets to the terms of both objectives, valid until the next call."""

State = tuple[list[tuple[Tensor, Tensor]], dict[Tensor, dict[str, Tensor]]]
"""(weight, its copy) pairs, and copies of the optimisers' moments by weight. Copies are on the CPU,
so that they do not count in the GPU's peak memory."""

ModelStep = Callable[[Model, Tensor, Tensor], dict[str, Tensor]]

WARM_UP = 3
"""Steps before a capture: libraries initialise, optimisers allocate their state."""


@dataclass(frozen=True)
class Execution:
    """How the steps of a training are run; not part of a cell's identity."""

    paired: bool = False
    """D sees target and translation in one pass if the batch is one image."""
    graph: bool = False
    """The step is captured in a CUDA graph and replayed."""
    channels_last: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def engine(self) -> str:
        """A name for provenance: 'reference', 'paired', 'graph', 'graph, channels last', …"""
        parts = [word for word in ("paired", "graph") if getattr(self, word)]
        layout = ", channels last" if self.channels_last else ""
        return (" ".join(parts) or "reference") + layout


def execution_of(device: torch.device, precision: Precision) -> Execution:
    """The default execution. On the CPU, float32 is bit for bit the reference; on a GPU, the graph
    captures the reference's step."""
    if device.type == "cuda":
        return Execution(graph=True)
    return Execution(paired=precision != "float32")


def make_step(model: Model, execution: Execution, first: tuple[Tensor, Tensor]) -> Step:
    """The step of a training, in the model's precision.

    `first`: inputs and targets with the shape of the batches; they are not trained on.

    Raises CaptureFailed if the execution is a graph that the device cannot capture; the model and
    the random state are then unchanged.
    """
    plain = paired_step if execution.paired and not model.stale else training_step

    def step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with arithmetic(model.precision):
            return plain(model, x, y)

    if execution.graph:
        return GraphStep(model, step, *first)
    return lambda x, y: step(model, x, y)


def paired_step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """`training_step`, but D sees target and translation in one pass if the batch is one image.

    BatchNorm then normalises each image by itself, as it does in two passes.
    """
    if model.discriminator is None or len(x) > 1:
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
    """A step captured once and replayed: one launch instead of hundreds.

    Dropout draws from the device's own generator, which the graph advances, so its saved states
    mean the same as without a graph. A batch of another shape (an epoch's last) runs eagerly.
    """

    def __init__(self, model: Model, step: ModelStep, x: Tensor, y: Tensor) -> None:
        self.model, self.step = model, step
        self.x, self.y = x.clone(), y.clone()
        device, before, random, pool = x.device, _state(model), None, None
        try:
            random = torch.cuda.get_rng_state(device)
            with torch.cuda.device(device):  # a stream belongs to the current device
                pool = torch.cuda.graph_pool_handle()
                self.graph, self.terms = self._capture(device, pool)
                self._check(device)
        except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
            if random is not None:
                _leave_capture(device, random, pool)
            cause = _first_cause(error)
            if out_of_memory(cause):
                raise cause from None
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            del cause  # its traceback keeps the tensors of the capture alive
            raise CaptureFailed(reason) from error
        finally:
            _restore(model, before)
            if random is not None:
                torch.cuda.set_rng_state(random, device)

    def _capture(
        self, device: torch.device, pool: tuple[int, int]
    ) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self.step(self.model, self.x, self.y)
        torch.cuda.current_stream(device).wait_stream(beside)
        for optimiser in _optimisers(self.model):  # the graph allocates its own gradients
            optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):  # type: ignore[arg-type]
            terms = self.step(self.model, self.x, self.y)
        return graph, terms

    def _check(self, device: torch.device) -> None:
        """Raise RuntimeError if a replay trains nothing: a graph may be empty without an error.

        Checked by the optimisers' step counts, because weights need not change on this batch (L1
        on blank images has no gradient).
        """
        counts = [v["step"] for o in _optimisers(self.model) for v in o.state.values()]
        before = [count.clone() for count in counts]
        self.graph.replay()
        torch.cuda.synchronize(device)
        if not all(now == then + 1 for now, then in zip(counts, before, strict=True)):
            raise RuntimeError("the graph is empty: replaying it trains nothing")

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if x.shape != self.x.shape:
            return self.step(self.model, x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.terms


def _leave_capture(device: torch.device, random: Tensor, pool: tuple[int, int] | None) -> None:
    """Clean up after a failed capture, which torch 2.11 does not (later versions do).

    Its stream stays current, only a capture may draw from the random generator, and the allocator
    keeps `pool` open and returns no memory. Steps may also still be running on the capture's
    stream, which nothing else waits for.
    """
    with suppress(RuntimeError):
        torch.cuda.synchronize(device)
    torch.cuda.set_stream(torch.cuda.default_stream(device))
    fresh = torch.Generator(device)
    fresh.set_state(random)
    index = torch.cuda.current_device() if device.index is None else device.index
    torch.cuda.default_generators[index].graphsafe_set_state(fresh)
    with suppress(RuntimeError, AttributeError):  # never opened, or already closed
        if pool is not None:
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)


def _first_cause(error: BaseException) -> BaseException:
    """The original error of a capture; leaving the capture raises another on top of it."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _optimisers(model: Model) -> list[torch.optim.Optimizer]:
    return [o for o in (model.optimiser_g, model.optimiser_d) if o is not None]


def _state(model: Model) -> State:
    """Copies of all weights and of the optimisers' moments."""
    networks = [n for n in (model.generator, model.discriminator) if n is not None]
    weights: list[tuple[Tensor, Tensor]] = [
        (p, _kept(p)) for network in networks for p in network.parameters()
    ]
    moments = {
        parameter: {name: _kept(value) for name, value in values.items()}
        for optimiser in _optimisers(model)
        for parameter, values in optimiser.state.items()
    }
    return weights, moments


def _kept(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


@torch.no_grad()
def _restore(model: Model, state: State) -> None:
    """Restore a model in place, since a graph keeps its addresses. New moments become zeros."""
    weights, moments = state
    for parameter, value in weights:
        parameter.copy_(value)
    for optimiser in _optimisers(model):
        for parameter, values in optimiser.state.items():
            kept = moments.get(parameter, {})
            for name, value in values.items():
                value.copy_(kept[name]) if name in kept else value.zero_()
