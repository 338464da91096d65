import contextlib
import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from pix2pix import cyclegan, fast_step
from pix2pix.common.tf32 import get_flags, set_flags, set_tf32
from pix2pix.config import (
    CellConfig,
    CycleSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from pix2pix.fast_step import (
    CaptureFailed,
    EagerStep,
    Execution,
    GraphStep,
    execution_of,
    make_step,
)
from pix2pix.model import build, paired_step, precision_problem, training_step
from pix2pix.networks import BatchStatisticsNorm, FullPrecisionTanh
from pix2pix.train import Pace, train

CPU = torch.device("cpu")
SIZE, STEPS = 64, 20
TERMS = {
    "none": ("g_l1",),
    "conditional": ("d_real", "d_fake", "g_gan", "g_l1"),
}
TERMS["unconditional"] = TERMS["conditional"]


def cell(*, dropout=0.0, gan="conditional", patch=16, precision="float32", seed=1, steps=STEPS):
    return CellConfig(
        dataset="noise",
        fingerprint="0",
        direction="a->b",
        size=(SIZE, SIZE),
        seed=seed,
        generator=GeneratorSettings(width=8, dropout=dropout),
        discriminator=None if gan == "none" else DiscriminatorSettings(patch=patch, width=8),
        objective=ObjectiveSettings(gan=gan),
        training=TrainingSettings(steps=steps, precision=precision),
    )


def batches(count, *, batch=1):
    draw = torch.Generator().manual_seed(5)
    return [
        tuple(torch.rand(batch, 3, SIZE, SIZE, generator=draw) * 2 - 1 for _ in "xy")
        for _ in range(count)
    ]


def weights(model):
    networks = [n for n in (model.generator, model.discriminator) if n is not None]
    return torch.cat([p.detach().flatten() for n in networks for p in n.parameters()])


def trained(config, step, pairs, seed=0):
    """A model after all pairs, with the terms of each step."""
    model = build(config, (3, 3), CPU)
    torch.manual_seed(seed)
    return model, [step(model, x, y) for x, y in pairs]


def apart(config, pairs):
    """How far the paired step's weights are from the reference's, in parts of their norm."""
    reference, terms = trained(config, training_step, pairs)
    fast, fast_terms = trained(config, paired_step, pairs)
    assert [list(one) for one in terms] == [list(one) for one in fast_terms]
    start = weights(build(config, (3, 3), CPU))
    assert (weights(reference) - start).norm() > 0.001 * start.norm()
    return ((weights(fast) - weights(reference)).norm() / weights(reference).norm()).item()


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("gan", ["none", "unconditional", "conditional"])
@pytest.mark.parametrize("patch", [1, 16, 34])
def test_a_paired_step_is_the_reference_step(float64, gan, patch):
    pairs = [(x.double(), y.double()) for x, y in batches(STEPS)]
    assert apart(cell(gan=gan, patch=patch), pairs) <= 1e-12


@pytest.mark.parametrize("patch", [16, 34])
def test_it_trains_the_same_weights_in_float32(patch):
    # Where an activation comes within rounding of 0, the reference parts from itself as far (by
    # 1e-3) when it only counts on another number of threads. Hence the median of seven seeds.
    each = [apart(cell(patch=patch, seed=seed), batches(STEPS)) for seed in range(1, 8)]
    assert sorted(each)[3] <= 1e-5


def test_batches_of_several_images_keep_the_statistics_of_the_batch(float64):
    pairs = [(x.double(), y.double()) for x, y in batches(3, batch=2)]
    assert apart(cell(), pairs) == 0


def test_instance_normalisation_outlasts_a_paired_step():
    config = cell()
    norm = {"discriminator": config.discriminator.model_copy(update={"statistics": "image"})}
    model, _ = trained(config.model_copy(update=norm), paired_step, batches(1))
    norms = [m for m in model.discriminator.modules() if isinstance(m, BatchStatisticsNorm)]
    assert norms and all(one.per_image for one in norms)


def test_with_dropout_its_losses_are_distributed_like_the_references():
    config, pairs = cell(dropout=0.5), batches(6)
    last = {
        step: [trained(config, step, pairs, seed)[1][-1] for seed in range(first, first + 12)]
        for step, first in ((training_step, 0), (paired_step, 100))
    }
    for term in ("d_real", "d_fake", "g_gan", "g_l1"):
        one, other = ([float(t[term]) for t in last[s]] for s in (training_step, paired_step))
        assert len(set(one)) > 6  # there is noise
        assert stats.ks_2samp(one, other).pvalue > 0.01, term


def test_bfloat16_multiplies_in_bfloat16_and_keeps_everything_else():
    pairs = batches(STEPS)
    plain, terms = trained(cell(), paired_step, pairs)
    low, low_terms = trained(cell(precision="bfloat16"), paired_step, pairs)
    assert {p.dtype for p in low.generator.parameters()} == {torch.float32}
    assert {t.dtype for one in low_terms for t in one.values()} == {torch.float32}
    difference = (weights(low) - weights(plain)).norm() / weights(plain).norm()
    assert 1e-5 < difference < 0.05
    for one, other in zip(terms, low_terms, strict=True):
        assert float(other["g_l1"]) == pytest.approx(float(one["g_l1"]), rel=0.05)


def test_a_bfloat16_tanh_and_d_keep_their_gradients_and_their_digits():
    config = cell(precision="bfloat16")
    model, _ = trained(config, paired_step, batches(2))
    (x, y), translation = batches(1)[0], model.translate(batches(1)[0][0])
    for values in (translation, model.discriminate(x, y)):
        assert not torch.equal(values, values.bfloat16().float())
    saturated = torch.tensor([3.5], dtype=torch.bfloat16, requires_grad=True)
    FullPrecisionTanh()(saturated).sum().backward()
    assert saturated.grad > 0.003


def test_moments_of_another_memory_format_are_laid_out_like_their_weights():
    pairs, config = batches(6), cell()
    whole, _ = trained(config, training_step, pairs)
    other = build(config, (3, 3), CPU, torch.channels_last)
    for x, y in pairs[:3]:
        training_step(other, x, y)
    resumed = build(config, (3, 3), CPU)
    resumed.load_state_dict(copy.deepcopy(other.state_dict()))
    for x, y in pairs[3:]:
        training_step(resumed, x, y)
    assert (weights(resumed) - weights(whole)).norm() <= 1e-5 * weights(whole).norm()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_a_graph_that_cannot_be_captured_says_so_and_leaves_everything_as_it_was(monkeypatch):
    def capture(self, device, pool):
        for _ in range(3):
            self.step(self.x, self.y)
        raise RuntimeError("operation not permitted when stream is capturing")

    model = build(cell(dropout=0.5), (3, 3), CPU)
    training_step(model, *batches(1)[0])
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(CaptureFailed, match=r"\w"):  # as it is on a CPU
        make_step(model, Execution(graph=True), batches(1)[0])
    # As far as a GPU would come: warm, and then a capture that fails.
    monkeypatch.setattr(GraphStep, "_capture", capture)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, _: torch.set_rng_state(state))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(fast_step, "_leave_capture", lambda *_: None)
    with pytest.raises(CaptureFailed, match="operation not permitted"):
        make_step(model, Execution(graph=True), batches(1)[0])
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.requires_grad for p in model.discriminator.parameters())


@pytest.fixture
def on_a_gpu_that_steps(monkeypatch):
    """As if a GPU captured: its graph does `act` when it is replayed."""

    def pretend(act):
        def capture(self, device, pool):
            terms = self.step(self.x, self.y)

            def replay():
                for term, new in zip(terms.values(), act(self).values(), strict=True):
                    term.copy_(new)

            return SimpleNamespace(replay=replay), terms

        monkeypatch.setattr(GraphStep, "_capture", capture)
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: torch.get_rng_state())
        monkeypatch.setattr(torch.cuda, "set_rng_state", lambda new, _: torch.set_rng_state(new))
        monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
        monkeypatch.setattr(fast_step, "_leave_capture", lambda *_: None)

    return pretend


@pytest.mark.parametrize("gan", ["none", "unconditional", "conditional"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_a_graph_of_a_step_on_blank_images_is_not_taken_for_an_empty_one(on_a_gpu_that_steps, gan):
    # What `train` captures on; L1 alone has no gradient there, so that no weight moves.
    blank = torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE)
    model = build(cell(gan=gan), (3, 3), CPU)
    before = copy.deepcopy(model.state_dict())
    on_a_gpu_that_steps(lambda graph: graph.step(graph.x, graph.y))
    make_step(model, Execution(graph=True), blank)
    torch.testing.assert_close(weights(model), weights(build(cell(gan=gan), (3, 3), CPU)))
    assert before["optimiser_g"]["state"] == {}
    moments = model.optimiser_g.state_dict()["state"].values()
    assert moments and all(not value.any() for one in moments for value in one.values())
    on_a_gpu_that_steps(lambda graph: {name: torch.zeros(()) for name in TERMS[gan]})
    with pytest.raises(CaptureFailed, match="the graph is empty"):
        make_step(model, Execution(graph=True), blank)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_cyclegans_pool_goes_through_a_graph_as_through_steps(on_a_gpu_that_steps):
    on_a_gpu_that_steps(lambda graph: graph.step(graph.x, graph.y))
    config = CellConfig(
        **(dict(cell()) | {"method": "cyclegan", "cycle": CycleSettings(pool=2)})
        | {"objective": ObjectiveSettings(gan="unconditional", l1=0.0)}
    )
    trained = []
    for graph in (False, True):
        model = cyclegan.build(config, (3, 3), CPU)
        step = make_step(model, Execution(graph=graph), batches(1)[0])
        trained.append([{n: float(t) for n, t in step(x, y).items()} for x, y in batches(6)])
    assert trained[0] == trained[1]


def stale(graph):
    """Reads other memory than the batch is copied to."""
    return graph.step(torch.zeros_like(graph.x), graph.y)


def same_draws(graph):
    """Draws what it drew when it was captured, and moves the generator on as a step does."""
    after = torch.get_rng_state()
    torch.manual_seed(99)
    terms = graph.step(graph.x, graph.y)
    torch.set_rng_state(after)
    with torch.no_grad():
        graph.model.translate(graph.x)
    return terms


def no_draws(graph):
    """Leaves the generator of random numbers where it was."""
    before = torch.get_rng_state()
    terms = graph.step(graph.x, graph.y)
    torch.set_rng_state(before)
    return terms


def half_the_rate(graph):
    """Updates D with another rate than is set."""
    (group,) = graph.model.optimiser_d.param_groups
    rate = group["lr"]
    group["lr"] = rate / 2
    terms = graph.step(graph.x, graph.y)
    group["lr"] = rate
    return terms


def without_its_losses(graph):
    return {name: torch.zeros_like(t) for name, t in graph.step(graph.x, graph.y).items()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (stale, "differs from a step by .* in the discriminator's first moments"),
        (same_draws, "differs from a step by .* in the discriminator's first moments"),
        (no_draws, "draws other random numbers"),
        (half_the_rate, "in the discriminator's weights"),
        (without_its_losses, "in the losses"),
    ],
)
def test_a_graph_that_is_not_the_step_is_not_used(tmp_path, on_a_gpu_that_steps, act, problem):
    config, told = cell(dropout=0.5, steps=3), {}
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)

    def weights_of(execution, folder):
        generators = train(
            config,
            (images, images),
            (images, images),
            tmp_path / folder,
            device=CPU,
            record=lambda event, **fields: told.update({event: fields}),
            pace=Pace(record_steps=5, sample_steps=100),
            execution=execution,
        )
        return torch.cat([p.detach().flatten() for p in generators["generator"].parameters()])

    on_a_gpu_that_steps(act)
    graph = weights_of(Execution(graph=True), "graph")
    assert re.search(problem, told["execution"].pop("error"))
    assert told["execution"] == {
        "engine": "reference",
        "precision": "float32",
        "instead_of": "graph",
    }
    assert torch.equal(graph, weights_of(Execution(), "steps"))


def test_a_replay_that_only_rounds_differently_is_the_step():
    # L2: where L1's difference is nearly 0, rounding turns its gradient round.
    smooth = ObjectiveSettings(gan="none", l1=0.0, l2=100.0)
    config = cell(gan="none", dropout=0.5).model_copy(update={"objective": smooth})
    model = build(config, (3, 3), CPU)
    x, y = batches(1)[0]
    eager = EagerStep(model, lambda: training_step(model, x, y), fast_step._state(model), CPU)
    assert set(eager.repeated.values()) == {0.0}

    def on_two_threads():
        torch.set_num_threads(2)
        try:
            return training_step(model, x, y)
        finally:
            torch.set_num_threads(1)

    assert eager.problem_of(on_two_threads) == ""


def test_steps_that_do_not_repeat_themselves_allow_a_replay_as_much_and_no_more():
    model, (x, y) = build(cell(), (3, 3), CPU), batches(1)[0]
    size = iter([0.0, 1e-3, 1e-3, 0.5])

    def noisy():
        moved = x + next(size) * torch.ones_like(x)
        return training_step(model, moved, y)

    eager = EagerStep(model, noisy, fast_step._state(model), CPU)
    assert max(eager.repeated.values()) > fast_step.TOLERANCE
    assert eager.problem_of(noisy) == ""
    assert "differs from a step" in eager.problem_of(noisy)


def test_the_cause_of_a_failed_capture_is_never_an_error_that_was_being_handled_before():
    model = build(cell(), (3, 3), CPU)
    with pytest.raises(CaptureFailed) as caught:
        try:
            raise torch.OutOfMemoryError("an earlier one")
        except torch.OutOfMemoryError:
            make_step(model, Execution(graph=True), batches(1)[0])
    assert "earlier" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_step_multiplies_in_its_models_precision_and_leaves_the_flag(precision):
    before = get_flags()
    set_tf32(precision != "tf32")
    model = build(cell(precision=precision), (3, 3), CPU)
    loss, seen = model.gan_loss.generator, []

    def generator(logits):
        seen.append(torch.backends.cudnn.conv.fp32_precision)
        return loss(logits)

    model.gan_loss.generator = generator
    pair = batches(1)[0]
    make_step(model, Execution(), pair)(*pair)
    after = torch.backends.cudnn.conv.fp32_precision
    set_flags(before)
    assert (seen, after) == ((["tf32"], "ieee") if precision == "tf32" else (["ieee"], "tf32"))


def test_an_error_in_gs_pass_leaves_d_trainable():
    model = build(cell(), (3, 3), CPU)
    model.gan_loss.generator = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        training_step(model, *batches(1)[0])
    assert all(p.requires_grad for p in model.discriminator.parameters())


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def on_a_gpu(execution, config, pairs):
    """Weights and the generator of random numbers' state after all pairs."""
    device = torch.device("cuda", 0)
    model = build(config, (3, 3), device, execution.memory_format)
    torch.manual_seed(0)
    moved = [(x.to(device), y.to(device)) for x, y in pairs]
    step = make_step(model, execution, moved[0])
    for number, (x, y) in enumerate(moved):
        model.set_learning_rate(2e-4 if number < 10 else 1e-4)
        step(x, y)
    return weights(model).cpu(), torch.cuda.get_rng_state(device)


@GPU
@pytest.mark.parametrize("gan", ["none", "conditional"])
@pytest.mark.parametrize("paired", [False, True])
def test_a_graph_trains_what_steps_train(float64, gan, paired):
    pairs = [(x.double(), y.double()) for x, y in batches(STEPS)]
    pairs.insert(7, tuple(torch.cat(one) for one in zip(*pairs[:2], strict=True)))  # another shape
    config = cell(gan=gan, dropout=0.5)
    one, random = on_a_gpu(Execution(paired=paired), config, pairs)
    other, random_too = on_a_gpu(Execution(paired=paired, graph=True), config, pairs)
    assert (one - other).norm() <= 1e-9 * one.norm()
    assert torch.equal(random, random_too)


@GPU
@pytest.mark.parametrize("gan", ["none", "conditional"])
def test_a_training_on_a_gpu_runs_as_a_graph(gan, tmp_path):
    told = {}
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    train(
        cell(gan=gan),
        (images, images),
        (images, images),
        tmp_path,
        device=torch.device("cuda", 0),
        record=lambda event, **fields: told.update({event: fields}),
        pace=Pace(record_steps=5, sample_steps=10),
    )
    assert told["execution"] == {"engine": "graph", "precision": "float32"}
    assert told["trained"]["step"] == STEPS


@GPU
def test_a_capture_that_fails_leaves_nothing_behind_on_a_gpu():
    device = torch.device("cuda", 0)
    model = build(cell(dropout=0.5), (3, 3), device)
    x, y = (one.to(device) for one in batches(1)[0])
    training_step(model, x, y)
    before, random = copy.deepcopy(model.state_dict()), torch.cuda.get_rng_state(device)
    loss = model.gan_loss.generator

    def waits(logits):
        if torch.cuda.is_current_stream_capturing():
            logits.sum().item()
        return loss(logits)

    model.gan_loss.generator = waits
    with pytest.raises(CaptureFailed, match="captur"):
        make_step(model, Execution(graph=True), (x, y))
    assert torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.cuda.get_rng_state(device), random)
    torch.rand(1, device=device)
    torch.cuda.empty_cache()  # raises while the allocator takes a capture to be under way
    model.gan_loss.generator = loss
    make_step(model, Execution(graph=True), (x, y))(x, y)


@GPU
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_with_repeatable_algorithms_a_graph_trains_the_same_bits(monkeypatch, precision):
    if precision_problem(precision, torch.device("cuda", 0)):
        pytest.skip(f"this GPU has no {precision}")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    config, pairs = cell(dropout=0.5, precision=precision), batches(STEPS)
    one, random = on_a_gpu(Execution(), config, pairs)
    other, random_too = on_a_gpu(Execution(graph=True), config, pairs)
    assert torch.equal(one, other) and torch.equal(random, random_too)


def test_each_device_and_precision_has_its_execution():
    assert execution_of(CPU, "float32") == Execution()
    assert execution_of(CPU, "bfloat16") == Execution(paired=True)
    assert execution_of(torch.device("cuda"), "tf32") == Execution(graph=True)
    words = [Execution(), Execution(True), Execution(graph=True), Execution(True, True, True)]
    assert [one.engine for one in words] == [
        "reference",
        "paired",
        "graph",
        "paired graph, channels last",
    ]
