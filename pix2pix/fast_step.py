"""The training step in less time: D's two passes in one, and on a GPU the whole step as one graph.

`model.training_step` is what these are held to (tests/pix2pix/test_fast_step.py).
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
"""Inputs and targets to the terms of both objectives, which are valid until the next call."""

State = tuple[list[tuple[Tensor, Tensor]], dict[Tensor, dict[str, Tensor]]]
"""Copies of all weights, beside the weights, and of the optimisers' moments. On the CPU, so that a
GPU's peak memory is that of training."""

ModelStep = Callable[[Model, Tensor, Tensor], dict[str, Tensor]]

WARM_UP = 3
"""Steps before a capture, in which libraries start and the optimisers make their moments."""


@dataclass(frozen=True)
class Execution:
    """How the steps of a training are run; nothing of it is part of what is trained."""

    paired: bool = False
    """D sees target and translation in one pass where the batch is one image."""
    graph: bool = False
    """The step is captured in a CUDA graph and replayed."""
    channels_last: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def engine(self) -> str:
        """In words: 'reference', 'paired', 'graph', 'paired graph', 'graph, channels last'."""
        parts = [word for word in ("paired", "graph") if getattr(self, word)]
        layout = ", channels last" if self.channels_last else ""
        return (" ".join(parts) or "reference") + layout


def execution_of(device: torch.device, precision: Precision) -> Execution:
    """How steps are run unless told otherwise. On the CPU float32 is the reference's arithmetic,
    bit for bit; on a GPU the graph is of the reference's step."""
    if device.type == "cuda":
        return Execution(graph=True)
    return Execution(paired=precision != "float32")


def make_step(model: Model, execution: Execution, first: tuple[Tensor, Tensor]) -> Step:
    """The step of a training, in the model's precision, whose batches are of the shape of `first`,
    which it does not train on. CaptureFailed where the execution is a graph and the device cannot
    capture it; the model and the random numbers are then as they were."""
    plain = paired_step if execution.paired else training_step

    def step(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with arithmetic(model.precision):
            return plain(model, x, y)

    if execution.graph:
        return GraphStep(model, step, *first)
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

    Dropout's generator is the device's own, which the graph advances, so that saved states of it
    mean the same as without a graph. A batch of another shape (an epoch's last) is stepped eagerly.
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
            said = str(cause).strip().partition("\n")[0] or type(cause).__name__
            del cause  # its traceback holds the tensors of the capture, and this frame
            raise CaptureFailed(said) from error
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
        for optimiser in _optimisers(self.model):  # the graph's gradients live in its own memory
            optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            terms = self.step(self.model, self.x, self.y)
        return graph, terms

    def _check(self, device: torch.device) -> None:
        """RuntimeError where a replay does nothing: a graph may be empty without an error. Told by
        the optimisers' counts of steps, since weights need not move on the batch at hand (L1 alone
        on blank images has no gradient)."""
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
    """After a capture that failed: its stream stays the current one, the generator of random
    numbers stays in a state in which only a capture may draw, and the allocator keeps `pool` open,
    so that it gives no memory back (torch 2.11; mended in later ones). Steps may still be under way
    on the capture's stream, which nothing else waits for."""
    with suppress(RuntimeError):
        torch.cuda.synchronize(device)
    torch.cuda.set_stream(torch.cuda.default_stream(device))
    fresh = torch.Generator(device)
    fresh.set_state(random)
    index = torch.cuda.current_device() if device.index is None else device.index
    torch.cuda.default_generators[index].graphsafe_set_state(fresh)
    with suppress(RuntimeError, AttributeError):  # the capture did not come so far, or closed it
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong in a capture; leaving it raises another error on top."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _optimisers(model: Model) -> list[torch.optim.Optimizer]:
    return [one for one in (model.optimiser_g, model.optimiser_d) if one is not None]


def _state(model: Model) -> State:
    """Copies of all weights and of the optimisers' moments."""
    networks = [n for n in (model.generator, model.discriminator) if n is not None]
    weights = [(p, _kept(p)) for network in networks for p in network.parameters()]
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
    """Put a model back in place, where a graph has its addresses. New moments become zeros."""
    weights, moments = state
    for parameter, value in weights:
        parameter.copy_(value)
    for optimiser in _optimisers(model):
        for parameter, values in optimiser.state.items():
            kept = moments.get(parameter, {})
            for name, value in values.items():
                value.copy_(kept[name]) if name in kept else value.zero_()
