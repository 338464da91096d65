import pytest
import torch

from pix2pix.common.errors import UserError
from pix2pix.config import (
    CellConfig,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from pix2pix.method import arithmetic
from pix2pix.model import build, check_precision, precision_problem, training_step

CPU = torch.device("cpu")


def test_the_cpu_has_no_tf32_and_the_message_says_what_it_has():
    with pytest.raises(UserError, match=r"training\.precision tf32: .*use float32 or bfloat16$"):
        check_precision("tf32", CPU)
    assert not precision_problem("float32", CPU)
    assert not precision_problem("bfloat16", CPU)


@pytest.fixture
def flags():
    """Of cuDNN and of matrix products, both off."""
    both = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in both]
    for flag in both:
        flag.allow_tf32 = False
    yield both
    for flag, value in zip(both, before, strict=True):
        flag.allow_tf32 = value


def test_tf32_is_on_for_the_time_of_a_training_only(flags):
    with arithmetic("tf32"):
        assert all(flag.allow_tf32 for flag in flags)
    assert not any(flag.allow_tf32 for flag in flags)
    with pytest.raises(KeyError), arithmetic("tf32"):
        raise KeyError
    assert not any(flag.allow_tf32 for flag in flags)


def model_of(objective: ObjectiveSettings | None = None, patch: int = 1, **training):
    """A model of 16 pixels in float64, and a pair."""
    config = CellConfig(
        dataset="noise",
        fingerprint="",
        direction="a->b",
        size=(16, 16),
        seed=3,
        generator=GeneratorSettings(width=2, depth=4),
        discriminator=DiscriminatorSettings(patch=patch, width=4),
        objective=objective or ObjectiveSettings(l1=0.0),
        training=TrainingSettings(steps=9, **training),
    )
    model = build(config, (3, 3), CPU)
    model.generator.double(), model.discriminator.double()
    draw = torch.Generator().manual_seed(1)
    return model, *(torch.rand(2, 1, 3, 16, 16, generator=draw).double() * 2 - 1)


def gradient_by_hand(before, after, seen):
    """The gradient of softplus(−D) with respect to what the 1×1 discriminator sees: activations of
    the weights `before`, back-propagated through the weights `after`. All in plain products."""
    w1, b1, w2, gamma, beta, w3 = before
    rows = seen[0].flatten(1)
    a1 = w1.flatten(1) @ rows + b1[:, None]
    r1 = a1.where(a1 > 0, 0.2 * a1)
    a2 = w2.flatten(1) @ r1
    invstd = (a2.var(1, correction=0, keepdim=True) + 1e-5).rsqrt()
    normal = (a2 - a2.mean(1, keepdim=True)) * invstd
    a3 = gamma[:, None] * normal + beta[:, None]
    r3 = a3.where(a3 > 0, 0.2 * a3)
    logits = w3.flatten(1) @ r3
    w1, _, w2, gamma, _, w3 = after
    g = -torch.sigmoid(-logits) / logits.numel()
    g = w3.flatten(1).t() @ g
    g = g.where(a3 > 0, 0.2 * g) * gamma[:, None]
    g = invstd * (g - g.mean(1, keepdim=True) - normal * (g * normal).mean(1, keepdim=True))
    g = w2.flatten(1).t() @ g
    g = g.where(a1 > 0, 0.2 * g)
    return (w1.flatten(1).t() @ g).view_as(seen)


@pytest.mark.parametrize("feedback", ["updated", "stale"])
def test_what_g_learns_from_d_is_what_a_computation_by_hand_gives(feedback):
    model, x, y = model_of(feedback=feedback)
    before = [p.detach().clone() for p in model.discriminator.parameters()]
    torch.manual_seed(5)  # of the dropout
    translation = model.translate(x)
    torch.manual_seed(5)
    training_step(model, x, y)
    after = [p.detach().clone() for p in model.discriminator.parameters()]
    assert not torch.equal(before[0], after[0])
    forward_by = before if feedback == "stale" else after
    wanted = gradient_by_hand(forward_by, after, torch.cat((x, translation.detach()), 1))[:, 3:]
    # G's gradients of that image, by autograd from a fresh copy of G's weights.
    fresh, *_ = model_of()
    torch.manual_seed(5)
    fresh.translate(x).backward(wanted)
    found = [p.grad for p in model.generator.parameters()]
    for mine, other in zip(found, (p.grad for p in fresh.generator.parameters()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-14)


def test_stale_feedback_trains_d_as_the_updated_one_does():
    weights = {}
    for feedback in ("updated", "stale"):
        model, x, y = model_of(patch=16, feedback=feedback)
        torch.manual_seed(5)
        training_step(model, x, y)
        weights[feedback] = [p.detach() for p in model.discriminator.parameters()]
    for mine, other in zip(weights["updated"], weights["stale"], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-15)


def test_biases_that_stay_zero():
    for biases in ("zero", "trained"):
        model, x, y = model_of(ObjectiveSettings(), patch=16, biases=biases)
        for _ in range(2):
            training_step(model, x, y)
        for network in (model.generator, model.discriminator):
            convolutions = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
            found = [m.bias for m in network.modules() if isinstance(m, convolutions)]
            found = [bias for bias in found if bias is not None]
            assert found and all(bool(bias.any()) == (biases == "trained") for bias in found)
            scales = [m.bias for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
            assert all(bias.any() for bias in scales), "those of BatchNorm are trained"
