"""How a method's step is run: as it is, with D's two passes in one, or on a GPU as a CUDA graph.

tests/pix2pix/test_fast_step.py compares them with the reference, `Method.step`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from pix2pix.common.memory import out_of_memory
from pix2pix.config import Precision
from pix2pix.method import Method, arithmetic

Step = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""From inputs and targets to the terms of both objectives, valid until the next call."""

State = tuple[list[tuple[Tensor, Tensor]], dict[Tensor, dict[str, Tensor]]]
"""(weight, its copy) pairs, and copies of the optimisers' moments by weight. Copies are on the CPU,
so that they do not count in the GPU's peak memory."""

WARM_UP = 3
"""Steps before a capture: libraries initialise, optimisers allocate their state."""
TOLERANCE, LARGEST_TOLERANCE = 1e-5, 0.1
"""How far a replay may be from a step, relative to the norm of what is compared. The first holds
where a step repeats itself, as with deterministic algorithms; the second bounds what is allowed
where sums in no fixed order keep it from that. Other draws of dropout are 0.4 and more away."""
REPETITIONS = 10
"""A replay may be so many times as far from a step as a second step is."""


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


def make_step(model: Method, execution: Execution, first: tuple[Tensor, Tensor]) -> Step:
    """The step of a training, in the model's precision.

    `first`: inputs and targets with the shape of the batches; they are not trained on.

    Raises CaptureFailed if the execution is a graph that the device cannot capture, or that does
    not train what a step trains; the model and the random state are then unchanged.
    """
    plain = model.paired_step if execution.paired else model.step

    def step(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with arithmetic(model.precision):
            return plain(x, y)

    run = GraphStep(model, step, *first) if execution.graph else step

    def drawn_step(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        model.draw(len(x))
        return run(x, y)

    return drawn_step


class CaptureFailed(RuntimeError):
    """The device could not capture a step as a graph, or the graph is not the step."""


class GraphStep:
    """A step captured once and replayed: one launch instead of hundreds.

    Before it is used, it is compared with a step from the same state (`EagerStep`).
    Dropout draws from the device's own generator, which the graph advances, so its saved states
    mean the same as without a graph. A batch of another shape (an epoch's last) runs eagerly.
    """

    def __init__(self, model: Method, step: Step, x: Tensor, y: Tensor) -> None:
        self.model, self.step = model, step
        self.x, self.y = x.clone(), y.clone()
        host = model.host_state()
        model.draw(len(x))
        device, before, random, pool = x.device, _state(model), None, None
        outer = sys.exception()
        try:
            random = torch.cuda.get_rng_state(device)
            with torch.cuda.device(device):  # a stream belongs to the current device
                eager = EagerStep(model, lambda: step(x, y), before, device)
                self.x.zero_()  # so that a graph of these very images is found out
                self.y.zero_()
                pool = torch.cuda.graph_pool_handle()
                self.graph, self.terms = self._capture(device, pool)
                if problem := eager.problem_of(lambda: self(x, y)):
                    raise RuntimeError(problem)
        except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
            if random is not None:
                _leave_capture(device, random, pool)
            cause = _first_cause(error, outer)
            if out_of_memory(cause):
                raise cause from None
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            del cause  # its traceback keeps the tensors of the capture alive
            raise CaptureFailed(reason) from error
        finally:
            _restore(model, before)
            model.restore_host_state(host)
            if random is not None:
                torch.cuda.set_rng_state(random, device)

    def _capture(
        self, device: torch.device, pool: tuple[int, int]
    ) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self.step(self.x, self.y)
        torch.cuda.current_stream(device).wait_stream(beside)
        for optimiser in self.model.optimisers.values():  # the graph allocates its own gradients
            optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=beside):  # type: ignore[arg-type]
            terms = self.step(self.x, self.y)
        return graph, terms

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if x.shape != self.x.shape:
            return self.step(x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.terms


class EagerStep:
    """What a step makes of a state, to compare a replay with it.

    Two steps from the same state are equal where the device's algorithms are repeatable. Where
    they are not, how far the second is from the first says how far a replay may be.
    """

    def __init__(
        self,
        model: Method,
        step: Callable[[], dict[str, Tensor]],
        state: State,
        device: torch.device,
    ) -> None:
        """`state`: of the model, from which `step` and replays start; it is not restored here."""
        self.model, self.state, self.device = model, state, device
        self.random = _random_state(device)
        parts = self._parts_after(step)
        self.parts = {name: [_kept(t) for t in tensors] for name, tensors in parts.items()}
        self.norms = {name: _norm(tensors) for name, tensors in parts.items()}
        self.random_after = _random_state(device)
        self.repeated = self._apart(self._parts_after(step))
        for optimiser in model.optimisers.values():  # a capture needs the memory
            optimiser.zero_grad(set_to_none=True)

    def problem_of(self, replay: Callable[[], dict[str, Tensor]]) -> str:
        """How a replay differs from the step; empty if it does not."""
        for name, apart in self._apart(self._parts_after(replay)).items():
            allowed = max(TOLERANCE, REPETITIONS * self.repeated[name])
            if not apart <= min(allowed, LARGEST_TOLERANCE):  # also if it is not a number
                if name.endswith("step counts"):
                    return "the graph is empty: replaying it trains nothing"
                return f"a replay differs from a step by {apart:.1g} in the {name}"
        if not torch.equal(_random_state(self.device), self.random_after):
            return "a replay draws other random numbers than a step"
        return ""

    def _parts_after(self, act: Callable[[], dict[str, Tensor]]) -> dict[str, list[Tensor]]:
        """What `act` changes, by name, after it ran from the state. The second moments, squares of
        the gradients, are left out: they round twice as much, and the weights depend on them."""
        _restore(self.model, self.state)
        _set_random_state(self.random, self.device)
        terms = act()
        parts = {}
        for key, name in (("optimiser_d", "discriminator's"), ("optimiser_g", "generator's")):
            if key in self.model.optimisers:
                optimiser = self.model.optimisers[key]
                states = optimiser.state.values()
                parts[f"{name} step counts"] = [values["step"] for values in states]
                parts[f"{name} first moments"] = [values["exp_avg"] for values in states]
                parts[f"{name} weights"] = [p for g in optimiser.param_groups for p in g["params"]]
        return parts | {"losses": list(terms.values())}

    @torch.no_grad()
    def _apart(self, parts: dict[str, list[Tensor]]) -> dict[str, float]:
        """How far each part is from the step's, relative to the step's norm."""
        found = {}
        for name, tensors in parts.items():
            kept, size = self.parts[name], self.norms[name]
            difference = _norm(t - k.to(t.device) for t, k in zip(tensors, kept, strict=True))
            found[name] = difference / size if size else (math.inf if difference else 0.0)
        return found


@torch.no_grad()
def _norm(tensors: Iterable[Tensor]) -> float:
    """The Euclidean norm of all values together."""
    return math.hypot(*(float(torch.linalg.vector_norm(t, dtype=torch.float64)) for t in tensors))


def _random_state(device: torch.device) -> Tensor:
    """The state of the generator that dropout draws from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _leave_capture(device: torch.device, random: Tensor, pool: tuple[int, int] | None) -> None:
    """Clean up after a failed capture, which torch 2.11 does not (later versions do).

    Its stream stays current, only a capture may draw from the random generator, and the allocator
    keeps `pool` open and returns no memory. Steps may also still be running on the capture's
    stream, which nothing else waits for. Nothing public closes the pool:
    `torch.cuda.use_mem_pool` closes only what it opened.
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


def _first_cause(error: BaseException, outer: BaseException | None) -> BaseException:
    """The original error of a capture; leaving the capture raises another on top of it.

    `outer`: the error that was being handled before the capture, which is none of its own.
    """
    while error.__context__ is not None and error.__context__ is not outer:
        error = error.__context__
    return error


def _state(model: Method) -> State:
    """Copies of all weights and buffers and of the optimisers' moments."""
    weights: list[tuple[Tensor, Tensor]] = [
        (tensor, _kept(tensor))
        for network in model.networks.values()
        for tensor in (*network.parameters(), *network.buffers())
    ]
    moments = {
        parameter: {name: _kept(value) for name, value in values.items()}
        for optimiser in model.optimisers.values()
        for parameter, values in optimiser.state.items()
    }
    return weights, moments


def _kept(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


@torch.no_grad()
def _restore(model: Method, state: State) -> None:
    """Restore a model in place, since a graph keeps its addresses. New moments become zeros."""
    weights, moments = state
    for parameter, value in weights:
        parameter.copy_(value)
    for optimiser in model.optimisers.values():
        for parameter, values in optimiser.state.items():
            kept = moments.get(parameter, {})
            for name, value in values.items():
                value.copy_(kept[name]) if name in kept else value.zero_()
