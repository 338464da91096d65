"""One training: the loop around a method's steps (Section 3.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pix2pix.checkpoint import CheckpointSeries, random_state, restore_random_state
from pix2pix.common.errors import Interrupted, TrainingError
from pix2pix.common.files import replacing
from pix2pix.common.memory import peak_memory_mib
from pix2pix.config import CellConfig
from pix2pix.data.batches import Batches, UnpairedBatches
from pix2pix.data.tasks import picture
from pix2pix.fast_step import CaptureFailed, Execution, Step, execution_of, make_step
from pix2pix.method import Method
from pix2pix.methods import build
from pix2pix.model import check_precision
from pix2pix.networks import parameter_count
from pix2pix.translation import grid, translate

SAMPLES = 4
"""Validation pairs in a sample grid."""


class Record(Protocol):
    """Receives a training's events: `Journal.append`, or any function of this form."""

    def __call__(self, event: str, **fields: object) -> None: ...


@dataclass(frozen=True)
class Pace:
    """How often a training writes; does not change what is trained."""

    record_steps: int
    sample_steps: int
    checkpoint_seconds: float = 60.0


class LossWindow:
    """Losses since the last record, kept on the device so that the loop never waits for it."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.names: list[str] = []
        self.values: list[Tensor] = []
        self.held: Tensor | None = None
        """The values of a resumed checkpoint: (steps, terms) on the CPU."""
        self.seconds = 0.0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Keep the scalar terms of a step, without copying them to the CPU."""
        self.steps.append(step)
        self.names = list(terms)
        self.values.append(torch.stack(list(terms.values())))

    def check(self) -> Tensor:
        """All values, (steps, terms) on the CPU.

        TrainingError names the first step and term that is not finite.
        """
        parts = [] if self.held is None else [self.held]
        parts += [torch.stack(self.values).cpu()] if self.values else []
        values = torch.cat(parts)
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise TrainingError(
                f"step {self.steps[row]}: the loss {self.names[column]} is "
                f"{values[row, column].item()}: the training diverged (lower "
                "training.learning_rate, or check the data)"
            )
        return values

    def means(self) -> dict[str, float]:
        """The mean of each term; TrainingError as in `check`."""
        return dict(zip(self.names, self.check().double().mean(0).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Plain values and one CPU tensor, for a checkpoint."""
        values = self.check() if self.steps else None
        return {
            "steps": self.steps,
            "names": self.names,
            "values": values,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps, self.names, self.seconds = state["steps"], state["names"], state["seconds"]
        self.values, self.held = [], state["values"]


def learning_rate(config: CellConfig, step: int, total: int) -> float:
    """The rate for the step after `step` steps: constant, or linear to 0 over the second half."""
    rate = config.training.learning_rate
    if config.training.schedule == "constant" or step < total // 2:
        return rate
    return rate * (total - step) / (total - total // 2)


def train(
    config: CellConfig,
    train_pairs: tuple[np.ndarray, np.ndarray],
    validation_pairs: tuple[np.ndarray, np.ndarray],
    directory: Path,
    *,
    device: torch.device,
    record: Record,
    pace: Pace,
    stop: Callable[[], bool] = lambda: False,
    flush: Callable[[], None] = lambda: None,
    execution: Execution | None = None,
) -> dict[str, nn.Module]:
    """Train a cell to its last step, resuming from its newest intact checkpoint if there is one.

    Args:
        train_pairs, validation_pairs: (inputs, targets), each (N, H, W, C) uint8, or int16 of Lab;
            for CycleGAN (X, Y), whatever the direction.
        directory: receives checkpoints and `samples/`.
        record: receives the events.
        pace: how often records, samples and checkpoints are written.
        stop: asked after every step; if true, a checkpoint is written and Interrupted is raised.
        flush: puts recorded events on disk, because a checkpoint must not outlive the records of
            the steps before it.
        execution: how steps are run; by default `fast_step.execution_of` chooses by device.

    On the CPU, a training that was stopped or killed and then resumed gives the same weights, bit
    for bit, as an uninterrupted one (with the same package versions and number of threads).

    Returns the trained generators (`Method.generators`). The caller deletes the last checkpoint
    after saving them.

    Raises:
        UserError: the device does not support the cell's precision.
        Interrupted: `stop()` returned true.
        TrainingError: a loss is not finite.
        OSError: a file cannot be written; names it.
    """
    check_precision(config.training.precision, device)
    if execution is None:
        execution = execution_of(device, config.training.precision)
    inputs, targets = train_pairs
    channels = inputs.shape[-1], targets.shape[-1]
    settings = config.training
    total = settings.total_steps(max(len(inputs), len(targets)))
    checkpoints = CheckpointSeries(directory, config.digest)

    torch.manual_seed(config.seed)
    model = build(config, channels, device, execution.memory_format)
    batches = (Batches if model.paired else UnpairedBatches)(
        inputs,
        targets,
        batch=settings.batch,
        jitter=settings.jitter,
        mirror=settings.mirror,
        seed=config.seed,
        device=device,
        interpolation=settings.interpolation,
        replacement=settings.sampling == "replacement",
    )
    window = LossWindow()
    step, seconds, peak = 0, 0.0, 0.0
    unusable: list[tuple[Path, str]] = []
    state = checkpoints.newest(lambda path, why: unusable.append((path, why)))
    if state is not None:
        model.load_state_dict(state["model"])
        batches.load_state_dict(state["batches"])
        window.load_state_dict(state["window"])
        restore_random_state(state["random"], device)
        step, seconds, peak = state["step"], state["seconds"], state["peak_memory_mib"]
    record("start", step=step)
    for path, why in unusable:
        record("set aside", file=path.name, error=why, step=step)
    kinds = ("generator", "discriminator")
    record("parameters", **{kind: parameters_of(model, kind) for kind in kinds})
    batch = min(settings.batch, len(inputs)) if model.paired else settings.batch
    draw = torch.Generator().manual_seed(config.seed)  # noise: blank images have no gradients
    x, y = (
        (torch.rand(batch, count, *config.size, generator=draw) * 2 - 1).to(device)
        for count in channels
    )
    training_step = recorded_step(model, execution, (x, y), record)

    def write_checkpoint() -> None:
        for name, network in model.generators.items():
            check_weights(network, step, name)
        content = {
            "seconds": seconds,
            "peak_memory_mib": max(peak, peak_memory_mib(device)),
            "model": model.state_dict(),
            "batches": batches.state_dict(),
            "window": window.state_dict(),
            "random": random_state(device),
        }
        flush()
        checkpoints.write(step, content)
        record("checkpoint", step=step)

    def write_sample() -> None:
        path = directory / "samples" / f"step-{step:07d}.png"
        write_samples(path, model.generators, validation_pairs, config.seed, device)
        record("sample", step=step, file=str(path.relative_to(directory)))

    if step == 0:
        write_sample()
    last_checkpoint = time.monotonic()
    while step < total:
        begin = time.perf_counter()
        rate = learning_rate(config, step, total)
        model.set_learning_rate(rate)
        window.add(step + 1, training_step(*batches.next()))
        step += 1
        recording = step % pace.record_steps == 0 or step == total
        sampling = step % pace.sample_steps == 0 or step == total
        due = time.monotonic() - last_checkpoint >= pace.checkpoint_seconds
        means = window.means() if recording else {}
        if (sampling or due) and device.type == "cuda":  # else what waits for the steps is timed
            torch.cuda.synchronize(device)
        elapsed = time.perf_counter() - begin
        seconds, window.seconds = seconds + elapsed, window.seconds + elapsed

        if recording:
            pace_now = window.seconds / len(window.steps)
            record("losses", step=step, values=means, seconds_per_step=pace_now, learning_rate=rate)
            window = LossWindow()
        if sampling:
            write_sample()
        stopping = step < total and stop()
        if due or stopping or step == total:
            write_checkpoint()
            last_checkpoint = time.monotonic()
        if stopping:
            raise Interrupted
    peak = max(peak, peak_memory_mib(device))
    record("trained", step=step, seconds=seconds, peak_memory_mib=peak)
    return model.generators


def parameters_of(model: Method, kind: str) -> int:
    """Trained weights of all generators, or of all discriminators, together."""
    networks = (network for name, network in model.networks.items() if name.startswith(kind))
    return sum(map(parameter_count, networks))


def recorded_step(
    model: Method, execution: Execution, first: tuple[Tensor, Tensor], record: Record
) -> Step:
    """`make_step`, recorded as an "execution" event.

    If the device cannot capture a graph, or the graph is not the step, steps run without one, in
    the same precision.
    """
    step, failed = None, {}
    try:
        step = make_step(model, execution, first)
    except CaptureFailed as error:  # holds the capture's memory until this block is left
        failed = {"instead_of": execution.engine, "error": str(error)}
    if step is None:
        execution = replace(execution, graph=False)
        step = make_step(model, execution, first)
    record("execution", engine=execution.engine, precision=model.precision, **failed)
    return step


def check_weights(network: nn.Module, step: int, name: str) -> None:
    """Raise TrainingError if a weight is not finite: the losses only show the step before."""
    finite = torch.stack([p.isfinite().all() for p in network.parameters()]).tolist()
    bad = [n for (n, _), ok in zip(network.named_parameters(), finite, strict=True) if not ok]
    if bad:
        raise TrainingError(
            f"step {step}: weights of the {name} are not finite ({bad[0]}): the training diverged"
        )


def write_samples(
    path: Path,
    generators: dict[str, nn.Module],
    pairs: tuple[np.ndarray, np.ndarray],
    seed: int,
    device: torch.device,
) -> None:
    """Write a PNG grid of inputs, translations and targets of SAMPLES validation pairs, and of the
    targets' translations where there is a generator back.

    The same pairs at every step, spread over the split: neighbours are often frames of one video.
    """
    chosen = np.linspace(0, len(pairs[0]) - 1, min(SAMPLES, len(pairs[0]))).round().astype(int)
    inputs, targets = pairs[0][chosen], pairs[1][chosen]
    names = [f"sample {index}" for index in range(len(inputs))]
    columns = [[picture(image) for image in inputs], list(map(picture, targets, inputs))]
    for position, images, generator in zip(
        (1, 3), (inputs, targets), generators.values(), strict=False
    ):
        made = translate(generator, images, names, seed=seed, device=device)
        columns.insert(position, [image for _, image in made])
    with replacing(path) as file:
        grid(*columns).save(file, format="PNG")
