import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.run.journal import Journal
from pix2pix.checkpoint import load, load_generator, save_generator
from pix2pix.common.errors import Interrupted, TrainingError, UserError
from pix2pix.config import (
    CellConfig,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from pix2pix.data.batches import Batches, to_float
from pix2pix.fast_step import Execution
from pix2pix.model import build, training_step
from pix2pix.train import Pace, learning_rate, train

CPU = torch.device("cpu")
SIZE = 32


def shapes(count, seed=0):
    """Label maps of one bright square, and photos in which the square is red on blue."""
    rng = np.random.default_rng(seed)
    inputs = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    targets = np.zeros_like(inputs)
    targets[..., 2] = 200
    for x, y in zip(inputs, targets, strict=True):
        top, left = rng.integers(0, SIZE - 12, 2)
        x[top : top + 12, left : left + 12] = 255
        y[top : top + 12, left : left + 12] = (220, 30, 30)
    return inputs, targets


def cell(**changes):
    values = {
        "dataset": "shapes",
        "fingerprint": "0",
        "direction": "labels->photo",
        "size": (SIZE, SIZE),
        "seed": 3,
        "generator": GeneratorSettings(width=8, depth=5),
        "discriminator": DiscriminatorSettings(patch=16, width=8),
        "training": TrainingSettings(steps=12, jitter=1.1),
    }
    return CellConfig(**{**values, **changes})


class Log:
    def __init__(self):
        self.records = []

    def __call__(self, event, **fields):
        self.records.append({"event": event, **fields})

    def of(self, event):
        return [r for r in self.records if r["event"] == event]


def run(config, directory, pace=None, **options):
    log = options.pop("record", None) or Log()
    pace = pace or Pace(record_steps=4, sample_steps=6, checkpoint_seconds=1e9)
    data = shapes(8)
    generators = train(
        config, data, shapes(4, 1), directory, device=CPU, record=log, pace=pace, **options
    )
    return generators["generator"], log


def weights(generator):
    return torch.cat([p.detach().flatten() for p in generator.parameters()])


@pytest.mark.parametrize("gan_loss", ["cross-entropy", "least-squares", "hinge"])
def test_training_learns_the_translation(tmp_path, gan_loss):
    config = cell(
        objective=ObjectiveSettings(gan_loss=gan_loss), training=TrainingSettings(steps=150)
    )
    generator, log = run(config, tmp_path, Pace(10, 1000, 1e9))
    first, final = (log.of("losses")[i]["values"]["g_l1"] for i in (0, -1))
    assert final < 0.35 * first
    inputs, targets = shapes(6, seed=5)
    with torch.no_grad():
        images = [generator(to_float(torch.from_numpy(x[None]))) for x in inputs]
    error = (torch.cat(images) - to_float(torch.from_numpy(targets))).abs().mean()
    blank = (
        (to_float(torch.from_numpy(np.roll(targets, 1, 0))) - to_float(torch.from_numpy(targets)))
        .abs()
        .mean()
    )
    assert error < blank, "no better than another image's answer"


def test_only_a_conditional_discriminator_sees_the_input():
    for gan, channels in (("conditional", 6), ("unconditional", 3)):
        model = build(cell(objective=ObjectiveSettings(gan=gan)), (3, 3), CPU)
        assert model.discriminator.layers[0].in_channels == channels
    model = build(cell(objective=ObjectiveSettings(gan="none"), discriminator=None), (3, 3), CPU)
    assert model.discriminator is None and model.optimiser_d is None


def test_a_step_moves_both_networks_and_leaves_d_trainable():
    model = build(cell(), (3, 3), CPU)
    before = weights(model.generator), weights(model.discriminator)
    inputs, targets = (to_float(torch.from_numpy(a[:1])) for a in shapes(1))
    terms = training_step(model, inputs, targets)
    assert set(terms) == {"d_real", "d_fake", "g_gan", "g_l1"}
    assert not torch.equal(before[0], weights(model.generator))
    assert not torch.equal(before[1], weights(model.discriminator))
    assert all(p.requires_grad for p in model.discriminator.parameters())


def test_the_discriminators_objective_is_halved():
    """With SGD of rate 1 a step moves a weight by minus the gradient: half of the real term's."""
    inputs, targets = (to_float(torch.from_numpy(a[:1])) for a in shapes(1))
    model = build(cell(), (3, 3), CPU)
    model.gan_loss = RealTermOnly(model.gan_loss)
    model.optimisers["optimiser_d"] = torch.optim.SGD(model.discriminator.parameters(), lr=1.0)
    last = model.discriminator.layers[-1].weight
    before = last.detach().clone()
    loss, _ = model.gan_loss.discriminator(
        model.discriminator(torch.cat((inputs, targets), 1)), torch.zeros(1)
    )
    (gradient,) = torch.autograd.grad(loss, last)
    training_step(model, inputs, targets)
    assert torch.allclose(last - before, -0.5 * gradient, atol=1e-6)
    assert gradient.abs().max() > 1e-3


class RealTermOnly:
    """D's objective without its term on generated images."""

    def __init__(self, loss):
        self.loss = loss

    def discriminator(self, real, generated):
        real, generated = self.loss.discriminator(real, generated)
        return real, generated * 0

    def generator(self, generated):
        return self.loss.generator(generated)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    runs = [run(cell(seed=s), tmp_path / str(i))[0] for i, s in enumerate((3, 3, 4))]
    first, second, other = map(weights, runs)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_arms_of_one_seed_start_from_the_same_generator():
    arms = [
        cell(),
        cell(discriminator=DiscriminatorSettings(patch=1, width=8)),
        cell(objective=ObjectiveSettings(gan="none"), discriminator=None),
    ]
    generators = [weights(build(arm, (3, 3), CPU).generator) for arm in arms]
    assert torch.equal(generators[0], generators[1]) and torch.equal(generators[0], generators[2])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, stop_at, precision):
    config = cell(training=TrainingSettings(steps=12, jitter=1.1, precision=precision))
    whole, whole_log = run(config, tmp_path / "whole")
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        run(config, tmp_path / "parts", stop=lambda: next(calls) >= stop_at)
    torch.rand(17)  # whatever happened to the global generator in between
    parts, log = run(config, tmp_path / "parts")
    assert log.of("start")[0]["step"] == stop_at
    assert torch.equal(weights(whole), weights(parts))
    ends = [x.of("losses")[-1]["values"] for x in (whole_log, log)]
    assert ends[0] == ends[1], "the window of losses is part of the checkpoint"
    sample = "samples/step-0000012.png"
    assert (tmp_path / "whole" / sample).read_bytes() == (tmp_path / "parts" / sample).read_bytes()


def test_checkpoints_and_samples_do_not_change_what_is_trained(tmp_path):
    often, _ = run(cell(), tmp_path / "often", Pace(1, 1, 0.0))
    seldom, _ = run(cell(), tmp_path / "seldom")
    assert torch.equal(weights(often), weights(seldom))


def test_how_steps_are_run_is_recorded(tmp_path):
    _, log = run(cell(), tmp_path / "plain")
    (record,) = log.of("execution")
    assert (record["engine"], record["precision"]) == ("reference", "float32")
    assert "instead_of" not in record


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_a_graph_that_cannot_be_captured_is_trained_without_and_recorded(tmp_path):
    paired, _ = run(cell(), tmp_path / "paired", execution=Execution(paired=True))
    fallen, log = run(cell(), tmp_path / "graph", execution=Execution(paired=True, graph=True))
    (record,) = log.of("execution")
    assert (record["engine"], record["instead_of"]) == ("paired", "paired graph")
    assert record["error"] and record["precision"] == "float32"
    assert torch.equal(weights(paired), weights(fallen))


def test_a_precision_that_the_device_lacks_is_refused(tmp_path):
    config = cell(training=TrainingSettings(steps=2, precision="tf32"))
    with pytest.raises(UserError, match=r"training\.precision tf32"):
        run(config, tmp_path)


def test_what_is_recorded(tmp_path):
    _, log = run(cell(), tmp_path)
    assert [r["step"] for r in log.of("losses")] == [4, 8, 12]
    assert [r["step"] for r in log.of("sample")] == [0, 6, 12]
    assert all((tmp_path / r["file"]).exists() for r in log.of("sample"))
    (trained,) = log.of("trained")
    assert trained["step"] == 12 and trained["seconds"] > 0 and trained["peak_memory_mib"] > 50
    (counts,) = log.of("parameters")
    assert counts["generator"] > counts["discriminator"] > 0


def test_a_loss_that_is_not_a_number_stops_with_step_and_term(tmp_path):
    # A step of a size that float32 cannot hold, so that the next forward pass is not finite.
    broken = cell(training=TrainingSettings(steps=12, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"step \d+: the loss (d_real|d_fake|g_gan|g_l1) is "):
        run(broken, tmp_path)
    assert not list(tmp_path.glob("checkpoint*"))


def test_linear_decay_holds_for_half_and_ends_near_zero():
    config = cell(training=TrainingSettings(steps=10, schedule="linear"))
    rates = [learning_rate(config, step, 10) / 2e-4 for step in range(10)]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert {learning_rate(cell(), step, 10) for step in range(10)} == {2e-4}


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_gives_way_and_the_bits_stay_the_same(tmp_path, damaged):
    whole, _ = run(cell(), tmp_path / "whole")
    parts = tmp_path / "parts"
    for stop_at in (4, 3):  # checkpoints at steps 4 and 7
        calls = iter(range(1, 100))
        with pytest.raises(Interrupted):
            run(cell(), parts, stop=lambda calls=calls, n=stop_at: next(calls) >= n)
    newest_first = sorted(parts.glob("checkpoint-*.pt"), reverse=True)
    for path in newest_first[:damaged]:
        path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])
    again, log = run(cell(), parts)
    assert log.of("start")[0]["step"] == {1: 4, 2: 0}[damaged]
    assert [r["file"] for r in log.of("set aside")] == [
        f"{path.name}.damaged" for path in newest_first[:damaged]
    ]
    assert torch.equal(weights(whole), weights(again))


def test_what_was_recorded_is_flushed_before_a_checkpoint_stands(tmp_path):
    seen = []
    run(
        cell(),
        tmp_path,
        Pace(4, 100, 0.0),
        flush=lambda: seen.append(len(list(tmp_path.glob("checkpoint-*.pt")))),
    )
    assert seen[:3] == [0, 1, 2] and len(seen) == 12


def test_nothing_counts_before_it_is_on_the_disk(tmp_path, monkeypatch):
    """The journal before the checkpoint stands, the file before its rename, the folder after it: a
    power cut leaves the checkpoint before or the new one, and every record up to it."""
    journal, seen = Journal(tmp_path), []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(number):
        name = Path(os.readlink(f"/proc/self/fd/{number}")).name
        seen.append(("flush", re.sub(r"\.[0-9a-f]{8}\.tmp", ".tmp", name)))
        fsync(number)

    def recorded_replace(source, target):
        seen.append(("rename", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    stop = iter(range(1, 100))
    with pytest.raises(Interrupted):
        run(
            cell(),
            tmp_path,
            stop=lambda: next(stop) >= 2,
            record=journal.append,
            flush=journal.flush,
        )
    at = seen.index(("rename", "checkpoint-0000002.pt"))
    assert seen[at - 2 :] == [
        ("flush", "journal.jsonl"),
        ("flush", ".checkpoint-0000002.pt.tmp"),
        ("rename", "checkpoint-0000002.pt"),
        ("flush", tmp_path.name),
        ("flush", "journal.jsonl"),
    ]


def test_a_checkpoint_never_runs_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_a_saved_generator_comes_back_whole(tmp_path):
    config = cell()
    generator = build(config, (3, 3), CPU).generator
    path = tmp_path / "generator.pt"
    save_generator(
        path,
        generator,
        config.generator,
        channels=(3, 3),
        size=config.size,
        origin={"digest": config.digest},
    )
    again, content = load_generator(path)
    assert torch.equal(weights(generator), weights(again))
    assert content["origin"]["digest"] == config.digest


def test_batches_of_the_training_follow_the_seed_not_the_arm():
    data = shapes(8)
    options = {"batch": 1, "jitter": 1.1, "mirror": True, "seed": 3, "device": CPU}
    a, b = Batches(*data, **options), Batches(*data, **options)
    torch.rand(5)
    assert all(torch.equal(a.next()[0], b.next()[0]) for _ in range(10))
