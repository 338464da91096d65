"""What a step's time on a GPU consists of, and what would shorten it. Results come one by one.

    python benchmarks/gpu/probe.py RESULT.json

In this order: variants of the step (cuDNN's own timing of its algorithms, channels last, one pass
of D, Adam beside the backward pass); several cells in one process, each with its own stream and
random generator; the kernels of a replay; the CPU's share, and a checkpoint; how far the variants'
weights part; the remaining variants. DRY=1: tiny, on the CPU. CUDNN_LIMIT=0: cuDNN times all of its
algorithms instead of the first ten.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import cell, changed, noise
from step_time import wait

from pix2pix.checkpoint import random_state, save
from pix2pix.config import CellConfig
from pix2pix.data.batches import Batches
from pix2pix.fast_step import Execution, make_step
from pix2pix.model import Pix2Pix, build

DRY = bool(os.environ.get("DRY"))
DEVICE = torch.device("cpu" if DRY else "cuda:0")
SIZE, WIDTH, PATCH = (64, 8, 34) if DRY else (256, 64, 70)
TURNS, STEPS = (2, 1) if DRY else (7, 50)
GRAPH = not DRY
COUNTS = (2,) if DRY else (1, 4, 8)
TF32: Any = "float32" if DRY else "tf32"

Variant = tuple[str, Any, Execution, bool, bool]
"""A name; precision; execution; whether cuDNN times its algorithms; whether Adam overlaps."""

FIRST: list[Variant] = [
    ("eager", "float32", Execution(), False, False),
    ("default", TF32, Execution(graph=GRAPH), False, False),
    ("timed", TF32, Execution(graph=GRAPH), True, False),
    ("timed, channels last", TF32, Execution(graph=GRAPH, channels_last=True), True, False),
    ("timed, paired, channels last", TF32, Execution(True, GRAPH, True), True, False),
    ("timed, paired, channels last, Adam beside", TF32, Execution(True, GRAPH, True), True, True),
    ("timed, channels last, Adam beside", TF32, Execution(False, GRAPH, True), True, True),
    (
        "timed, paired, channels last, Adam beside",
        "bfloat16",
        Execution(True, GRAPH, True),
        True,
        True,
    ),
]
LAST: list[Variant] = [
    ("eager", TF32, Execution(), False, False),
    ("timed, paired", TF32, Execution(True, GRAPH), True, False),
    ("timed, Adam beside", TF32, Execution(graph=GRAPH), True, True),
    ("timed, channels last", "bfloat16", Execution(False, GRAPH, True), True, False),
    ("timed", "bfloat16", Execution(graph=GRAPH), True, False),
    ("timed", "float32", Execution(graph=GRAPH), True, False),
    ("timed, channels last", "float32", Execution(False, GRAPH, True), True, False),
]


class Results:
    """Results by section and name; the file is rewritten after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}

    def put(self, section: str, name: str, value: Any) -> None:
        self.found.setdefault(section, {})[name] = value
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")
        shown = brief(value) if isinstance(value, dict) else value
        print(f"{section}: {name}: {shown}", flush=True)

    @contextlib.contextmanager
    def trying(self, section: str, name: str) -> Iterator[None]:
        """Record an error as the result, and go on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            self.put(section, name, {"failed": reason})
        gc.collect()
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()


def brief(value: dict[str, Any]) -> str:
    """The plain values of a result on one line."""
    return ", ".join(
        f"{key} {one:.4g}" if isinstance(one, float) else f"{key} {one}"
        for key, one in value.items()
        if not isinstance(one, list | dict)
    )


def config(precision: Any, dropout: float = 0.5) -> CellConfig:
    """An L1+cGAN cell."""
    made = changed(cell(SIZE, WIDTH, patch=PATCH), precision=precision)
    generator = made.generator.model_copy(update={"dropout": dropout})
    return made.model_copy(update={"generator": generator})


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise as inputs and targets, each (1, 3, SIZE, SIZE) in [-1, 1]."""
    draw = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(1, 3, SIZE, SIZE, generator=draw).to(DEVICE) * 2 - 1 for _ in "xy")
    return x, y


def prepared(
    precision: Any,
    execution: Execution,
    *,
    overlapped: bool = False,
    seed: int = 0,
    dropout: float = 0.5,
) -> tuple[Pix2Pix, Callable[[], Any]]:
    """A model and its step on noise."""
    model: Any = build(config(precision, dropout), (3, 3), DEVICE, execution.memory_format)
    if overlapped:
        for name, optimiser in model.optimisers.items():
            model.optimisers[name] = OverlappedAdam(optimiser)
    x, y = batch(seed)
    step = make_step(model, execution, (x, y))
    return model, lambda: step(x, y)


class OverlappedAdam:
    """A prototype: torch's fused Adam, run beside the backward pass as gradients become ready.

    The arithmetic of each weight is the same. Takes the place of an Adam.
    """

    LEAST = 2**22
    """Weights that are updated together."""

    def __init__(self, adam: torch.optim.Adam) -> None:
        self.adam, self.param_groups, self.state = adam, adam.param_groups, adam.state
        (self.group,) = adam.param_groups
        for weight in self.group["params"]:
            self.state[weight] = {
                "step": torch.zeros((), dtype=torch.float32, device=weight.device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
            weight.register_post_accumulate_grad_hook(self._ready)
        self.side = torch.cuda.Stream(DEVICE) if DEVICE.type == "cuda" else None
        self.waiting: list[torch.Tensor] = []

    def _ready(self, weight: torch.Tensor) -> None:
        self.waiting.append(weight)
        if sum(w.numel() for w in self.waiting) >= self.LEAST:
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        weights, self.waiting = self.waiting, []
        if not weights:
            return
        beside: Any = contextlib.nullcontext()
        if self.side is not None:
            self.side.wait_stream(torch.cuda.current_stream(DEVICE))
            beside = torch.cuda.stream(self.side)
        states = [self.state[w] for w in weights]
        steps = [s["step"] for s in states]
        beta1, beta2 = self.group["betas"]
        with beside:
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                weights,
                [w.grad for w in weights],
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [],
                steps,
                lr=self.group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=self.group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.adam.zero_grad(set_to_none)

    def step(self) -> None:
        self._update()
        if self.side is not None:
            torch.cuda.current_stream(DEVICE).wait_stream(self.side)


def timed(step: Callable[[], Any], turns: int = TURNS, steps: int = STEPS) -> dict[str, Any]:
    """Milliseconds per step: the median and quartiles over turns."""
    for _ in range(3):
        step()
    seconds = []
    for _ in range(turns):
        wait(DEVICE)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        wait(DEVICE)
        seconds.append((time.perf_counter() - began) / steps)
    low, middle, high = (1000 * s for s in statistics.quantiles(seconds, n=4))
    return {"milliseconds": middle, "lower_quartile": low, "upper_quartile": high}


def time_variants(results: Results, variants: list[Variant]) -> tuple[Any, Execution]:
    """Time each; the fastest in TF32 that the program itself has (apart from cuDNN's timing)."""
    best = (float("inf"), (TF32, Execution(graph=GRAPH)))
    for what, precision, execution, benchmark, overlapped in variants:
        name = f"{precision}: {what}"
        with results.trying("variants", name):
            torch.backends.cudnn.benchmark = benchmark
            began = time.perf_counter()
            model, step = prepared(precision, execution, overlapped=overlapped)
            wait(DEVICE)
            preparing = time.perf_counter() - began
            value = timed(step) | {"seconds_to_prepare": preparing}
            if DEVICE.type == "cuda":
                value["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
                torch.cuda.reset_peak_memory_stats()
            results.put("variants", name, value)
            if precision == TF32 and not overlapped and value["milliseconds"] < best[0]:
                best = (value["milliseconds"], (precision, execution))
            del model, step
    return best[1]


def own_generator(seed: int) -> torch.Generator:
    """Random numbers of a cell's own. The device's default generator is pointed at them, and the
    graph that is captured next keeps drawing from them."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    torch.cuda.default_generators[DEVICE.index].graphsafe_set_state(generator)
    return generator


def time_streams(results: Results, variant: tuple[Any, Execution]) -> None:
    """Images per second of cells in one process, each with a graph, a stream and a generator."""
    seconds, cuda = (0.1 if DRY else 2.5), DEVICE.type == "cuda"
    for count in COUNTS:
        with results.trying("streams", f"{count} cells"):
            steps, generators = [], []
            for number in range(count):
                if cuda:
                    generators.append(own_generator(number))
                steps.append(prepared(*variant, seed=number)[1])
            lanes = [torch.cuda.Stream(DEVICE) if cuda else None for _ in steps]
            wait(DEVICE)
            before = [g.get_offset() for g in generators]
            began, rounds = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                for step, lane in zip(steps, lanes, strict=True):
                    with torch.cuda.stream(lane):
                        step()
                rounds += 1
                if rounds % 20 == 0:
                    wait(DEVICE)
            wait(DEVICE)
            rate = rounds * count / (time.perf_counter() - began)
            moved = [(g.get_offset() - b) / rounds for g, b in zip(generators, before, strict=True)]
            value = {"images_per_second": rate, "random_numbers_per_step": moved}
            results.put("streams", f"{count} cells", value)
            del steps
    if cuda:
        own_generator(0)


KINDS = (
    ("layout change", ("nchwToNhwc", "nhwcToNchw", "transpose")),
    ("optimiser", ("FusedAdam", "fused_adam", "FusedOptimizer", "multi_tensor_apply")),
    ("normalisation", ("bn_", "batch_norm", "batchnorm", "BatchNorm")),
    (
        "convolution",
        ("gemm", "conv", "dgrad", "wgrad", "fprop", "xmma", "cutlass", "implicit", "cudnn"),
    ),
    ("copy, fill", ("Memcpy", "Memset", "copy", "fill", "Cat", "FillFunctor")),
    ("dropout", ("dropout",)),
    ("elementwise, sums", ("elementwise", "reduce")),
)


def count_kernels(results: Results, name: str, precision: Any, execution: Execution) -> None:
    """The kernels of a replay by kind, and the share of the time in which one ran."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with results.trying("kernels", name):
        _, step = prepared(precision, execution)
        for _ in range(5):
            step()
        wait(DEVICE)
        times = 1 if DRY else 5
        activity = ProfilerActivity.CPU if DRY else ProfilerActivity.CUDA
        with profile(activities=[activity]) as profiler:
            for _ in range(times):
                step()
            wait(DEVICE)
        kind = DeviceType.CPU if DRY else DeviceType.CUDA
        events = [e for e in profiler.events() or () if e.device_type == kind]
        events = [e for e in events if not e.name.startswith(("cuda", "Activity", "ProfilerStep"))]
        by_name: dict[str, list[float]] = defaultdict(list)
        for event in events:
            by_name[event.name].append(event.time_range.elapsed_us())
        kinds: dict[str, dict[str, float]] = {}
        for kernel, each in by_name.items():
            what = next((k for k, parts in KINDS if any(p in kernel for p in parts)), "other")
            total = kinds.setdefault(what, {"kernels": 0.0, "microseconds": 0.0})
            total["kernels"] += len(each) / times
            total["microseconds"] += sum(each) / times
        spans = sorted((e.time_range.start, e.time_range.end) for e in events)
        busy, until = 0.0, spans[0][0]
        for start, end in spans:
            busy += max(0.0, end - max(start, until))
            until = max(until, end)
        longest = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:25]
        value = {
            "kernels_per_step": len(events) / times,
            "sum_microseconds": sum(map(sum, by_name.values())) / times,
            "busy_microseconds": busy / times,
            "span_microseconds": (until - spans[0][0]) / times,
            "shorter_than_3_microseconds": sum(t < 3 for e in by_name.values() for t in e) / times,
            "kinds": kinds,
            "longest": [[n[:90], len(t) / times, sum(t) / times] for n, t in longest],
        }
        results.put("kernels", name, value)
        for what, total in sorted(kinds.items(), key=lambda item: -item[1]["microseconds"]):
            print(f"    {what:18} {total['kernels']:6.1f} kernels {total['microseconds']:8.1f} µs")


def time_host(results: Results, variant: tuple[Any, Execution]) -> None:
    """What the CPU does for a step, while the GPU has other things to do; a checkpoint."""
    model, step = prepared(*variant)
    images = noise(64, (SIZE, SIZE))
    batches = Batches(images, images, batch=1, jitter=286 / 256, mirror=True, seed=0, device=DEVICE)
    for name, act in (("a batch", batches.next), ("a step", step)):
        with results.trying("host", name):
            each = []
            for _ in range(2 if DRY else 20):
                wait(DEVICE)
                began = time.perf_counter()
                for _ in range(10):
                    act()
                launched = time.perf_counter() - began
                wait(DEVICE)
                each.append((1e5 * launched, 1e5 * (time.perf_counter() - began)))
            launched, done = (statistics.median(one) for one in zip(*each, strict=True))
            value = {"host_microseconds": launched, "microseconds_until_done": done}
            results.put("host", name, value)
    with (
        results.trying("host", "a checkpoint"),
        tempfile.TemporaryDirectory(dir=results.path.parent) as folder,
    ):
        content = {"model": model.state_dict(), "random": random_state(DEVICE)}
        began = time.perf_counter()
        save(Path(folder) / "checkpoint.pt", content)
        seconds = time.perf_counter() - began
        mib = (Path(folder) / "checkpoint.pt").stat().st_size / 2**20
        results.put("host", "a checkpoint", {"seconds": seconds, "mib": mib})


def compare_weights(results: Results) -> None:
    """How far weights are from those of eager float32 after some steps, relative to the distance
    trained.

    Without dropout, which falls elsewhere in another layout. With deterministic algorithms, a graph
    must be 0 away.
    """
    steps = 3 if DRY else 60

    def weights(model: Pix2Pix) -> torch.Tensor:
        networks = model.networks.values()
        return torch.cat([p.detach().flatten() for n in networks for p in n.parameters()]).double()

    def after(precision: Any, execution: Execution, overlapped: bool = False) -> Any:
        torch.manual_seed(0)
        model, step = prepared(precision, execution, dropout=0.0, overlapped=overlapped)
        start = weights(model)
        for _ in range(steps):
            step()
        wait(DEVICE)
        return start, weights(model)

    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    start, reference = after("float32", Execution())
    trained = (reference - start).norm()
    for name, precision, execution, overlapped in (
        ("float32, eager again", "float32", Execution(), False),
        ("float32, graph", "float32", Execution(graph=GRAPH), False),
        ("float32, graph, Adam beside", "float32", Execution(graph=GRAPH), True),
        ("float32, graph, channels last", "float32", Execution(False, GRAPH, True), False),
        ("float32, graph, paired", "float32", Execution(True, GRAPH), False),
        ("tf32, graph", TF32, Execution(graph=GRAPH), False),
        ("bfloat16, graph", "bfloat16", Execution(graph=GRAPH), False),
    ):
        with results.trying("weights", name):
            _, end = after(precision, execution, overlapped)
            results.put("weights", name, float((end - reference).norm() / trained))


def main() -> int:
    results = Results(Path(sys.argv[1]))
    torch.set_num_threads(1 if DRY else 4)
    if limit := os.environ.get("CUDNN_LIMIT"):
        torch.backends.cudnn.benchmark_limit = int(limit)
    best = time_variants(results, FIRST)
    torch.backends.cudnn.benchmark = True
    time_streams(results, best)
    torch.backends.cudnn.benchmark = False
    count_kernels(results, "default", TF32, Execution(graph=GRAPH))
    torch.backends.cudnn.benchmark = True
    count_kernels(results, f"timed, {best[1].engine}", *best)
    with results.trying("host", "all"):
        time_host(results, best)
    with results.trying("weights", "all"):
        compare_weights(results)
    torch.backends.cudnn.deterministic = False
    time_variants(results, LAST[:1] if DRY else LAST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
