import copy

import pytest
import torch
from scipy import stats

from pix2pix.config import (
    CellConfig,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from pix2pix.fast_step import CaptureFailed, Execution, execution_of, make_step, paired_step
from pix2pix.model import build, training_step

CPU = torch.device("cpu")
SIZE, STEPS = 64, 20


def cell(*, dropout=0.0, gan="conditional", patch=16, precision="float32", seed=1):
    return CellConfig(
        dataset="noise",
        fingerprint="0",
        direction="a->b",
        size=(SIZE, SIZE),
        seed=seed,
        generator=GeneratorSettings(width=8, dropout=dropout),
        discriminator=None if gan == "none" else DiscriminatorSettings(patch=patch, width=8),
        objective=ObjectiveSettings(gan=gan),
        training=TrainingSettings(steps=STEPS, precision=precision),
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
    translation = low.translate(pairs[0][0])
    assert translation.dtype == torch.float32
    # tanh's argument has eight bits, but not the image's values as such
    assert not torch.equal(translation, low.generator(pairs[0][0]))


def test_g_is_judged_by_the_updated_d_in_bfloat16_too():
    # One autocast around a whole step would keep D's weights of before its update in its cache.
    (x, y), config = batches(1)[0], cell(precision="bfloat16")
    model = build(config, (3, 3), CPU)
    terms = paired_step(model, x, y)
    fresh = build(config, (3, 3), CPU)
    translation = fresh.translate(x).detach()
    fresh.discriminator.load_state_dict(model.discriminator.state_dict())
    expected = fresh.gan_loss.generator(fresh.judge(x, translation))
    assert terms["g_gan"].item() == expected.item()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures")
def test_a_graph_that_cannot_be_captured_says_so_and_leaves_the_model_as_it_was():
    model = build(cell(), (3, 3), CPU)
    paired_step(model, *batches(1)[0])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CaptureFailed, match=r"\w"):
        make_step(model, Execution("graph"), batches(1)[0])
    after = model.state_dict()
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("gan", ["none", "conditional"])
def test_a_graph_trains_what_the_reference_trains_on_a_gpu(gan):
    device, pairs, config = torch.device("cuda"), batches(STEPS), cell(gan=gan)
    found = []
    for engine in ("reference", "graph"):
        model = build(config, (3, 3), device)
        torch.manual_seed(0)
        on_device = [(x.to(device), y.to(device)) for x, y in pairs]
        step = make_step(model, Execution(engine), on_device[0])
        for x, y in on_device:
            terms = {name: float(value) for name, value in step(x, y).items()}
        found.append((weights(model).cpu(), terms))
    (one, terms), (other, others) = found
    assert (one - other).norm() <= 1e-5 * one.norm()
    assert terms == pytest.approx(others, rel=1e-3)


def test_each_device_and_precision_has_its_execution():
    assert execution_of(CPU, "float32") == Execution("reference")
    assert execution_of(CPU, "bfloat16") == Execution("paired")
    assert execution_of(torch.device("cuda"), "float32") == Execution("graph")
    assert execution_of(torch.device("cuda"), "tf32") == Execution("graph", channels_last=True)
