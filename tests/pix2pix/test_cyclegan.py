import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from pix2pix import cyclegan, fast_step
from pix2pix.common.errors import Interrupted, UserError
from pix2pix.config import (
    CellConfig,
    CycleSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from pix2pix.cyclegan import ImagePool
from pix2pix.networks import PatchDiscriminator, ResnetGenerator, parameter_count
from pix2pix.train import Pace, train

CPU = torch.device("cpu")
SIZE = 32


def cell(steps=6, cycle=None, gan="unconditional", **changes):
    values = {
        "dataset": "noise",
        "fingerprint": "0",
        "direction": "a->b",
        "size": (SIZE, SIZE),
        "seed": 3,
        "method": "cyclegan",
        "generator": GeneratorSettings(architecture="resnet", width=4, blocks=1, dropout=0.0),
        "discriminator": None
        if gan == "none"
        else DiscriminatorSettings(patch=16, width=4, norm="instance"),
        "objective": ObjectiveSettings(gan=gan, gan_loss="least-squares", l1=0.0),
        "training": TrainingSettings(steps=steps, jitter=1.1),
        "cycle": cycle or CycleSettings(pool=3),
    }
    return CellConfig(**{**values, **changes})


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def weights(networks):
    return torch.cat([p.detach().flatten() for n in networks.values() for p in n.parameters()])


def test_parameter_counts_are_the_published_ones():
    assert parameter_count(ResnetGenerator(blocks=9)) == 11_378_179
    assert parameter_count(ResnetGenerator(blocks=6)) == 7_837_699
    # Five convolutions with biases, and no weights in InstanceNorm:
    # 3·64·16+64 + 64·128·16+128 + 128·256·16+256 + 256·512·16+512 + 512·16+1
    assert parameter_count(PatchDiscriminator(3, instance_norm=True)) == 2_764_737


def test_a_resnet_gives_images_of_its_inputs_size_and_refuses_other_multiples():
    network = ResnetGenerator(width=2, blocks=1)
    assert network(torch.zeros(1, 3, 20, 36)).shape == (1, 3, 20, 36)
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(1, 3, 20, 30))


def test_the_pool_shows_new_and_old_images_as_published():
    pool, count = ImagePool((5, 1, 1, 1), seed=4), 4000
    stored, kept, swapped = [], 0, 0
    for number in range(count):
        pool.draw(1)
        slot, act = int(pool.slots[0]), int(pool.acts[0])
        shown = float(pool(torch.full((1, 1, 1, 1), float(number))))
        if number < 5:
            assert shown == number and act == cyclegan.STORE
            stored.append(number)
        elif act == cyclegan.SWAP:
            assert shown == stored[slot]
            stored[slot], swapped = number, swapped + 1
        else:
            assert shown == number
            kept += 1
        assert pool.images.flatten().tolist()[: len(stored)] == stored
    assert abs(swapped - kept) < 4 * np.sqrt(count)  # one in two
    many = ImagePool((2, 1, 1, 1), seed=0)
    many.draw(3)  # the third may take the place of one that came with it
    batch = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    assert set(many(batch).flatten().tolist()) <= {1.0, 2.0, 3.0}
    off = ImagePool((0, 1, 1, 1), seed=0)
    off.draw(3)
    assert torch.equal(off(batch), batch)


class Adam:
    """Adam as Kingma and Ba print it, on one tensor."""

    def __init__(self, rate=2e-4, beta1=0.5, beta2=0.999):
        self.rate, self.beta1, self.beta2 = rate, beta1, beta2
        self.step, self.m, self.v = 0, 0.0, 0.0

    def __call__(self, weight, gradient):
        self.step += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * gradient
        self.v = self.beta2 * self.v + (1 - self.beta2) * gradient**2
        first = self.m / (1 - self.beta1**self.step)
        second = self.v / (1 - self.beta2**self.step)
        return weight - self.rate * first / (second**0.5 + 1e-8)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "cycle",
    [
        CycleSettings(identity=5.0, pool=2),
        CycleSettings(forward=0.0, pool=2),
        CycleSettings(backward=0.0, pool=2),
    ],
)
def test_steps_are_those_of_a_computation_by_hand(float64, cycle):
    """Networks of one weight per colour, whose objectives are written out here."""
    model = cyclegan.build(cell(cycle=cycle), (3, 3), CPU)
    for name in ("generator", "generator_back", "discriminator", "discriminator_back"):
        network = nn.Conv2d(3, 1 if name.startswith("d") else 3, 1, bias=False)
        model.networks[name] = network
    w = {n: m.weight.detach().clone() for n, m in model.networks.items() if hasattr(m, "weight")}
    for key, names in (
        ("optimiser_g", ("generator", "generator_back")),
        ("optimiser_d", ("discriminator", "discriminator_back")),
    ):
        parameters = [model.networks[name].weight for name in names]
        model.optimisers[key] = torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))
    adams = {name: Adam() for name in w}
    pools: dict[str, list] = {"y": [], "x": []}
    draw = torch.Generator().manual_seed(1)
    for _ in range(6):
        x, y = (torch.rand(1, 3, SIZE, SIZE, generator=draw) * 2 - 1 for _ in "xy")
        model.draw(1)
        terms = model.step(x, y)

        leaf = {name: value.clone().requires_grad_() for name, value in w.items()}
        fake_y, fake_x = F.conv2d(x, leaf["generator"]), F.conv2d(y, leaf["generator_back"])
        loss_g = ((F.conv2d(fake_y, w["discriminator"]) - 1) ** 2).mean()
        loss_g = loss_g + ((F.conv2d(fake_x, w["discriminator_back"]) - 1) ** 2).mean()
        forward = (F.conv2d(fake_y, leaf["generator_back"]) - x).abs().mean()
        backward = (F.conv2d(fake_x, leaf["generator"]) - y).abs().mean()
        same = (F.conv2d(y, leaf["generator"]) - y).abs().mean()
        same = same + (F.conv2d(x, leaf["generator_back"]) - x).abs().mean()
        loss_g = loss_g + cycle.forward * forward + cycle.backward * backward
        (loss_g + cycle.identity * same).backward()
        shown = {}
        for side, pool, fake in (("y", "pool", fake_y), ("x", "pool_back", fake_x)):
            slot, act = int(model.networks[pool].slots[0]), int(model.networks[pool].acts[0])
            old = pools[side]
            shown[side] = old[slot] if act == cyclegan.SWAP else fake.detach()
            if act == cyclegan.STORE:
                old.append(fake.detach())
            elif act == cyclegan.SWAP:
                old[slot] = fake.detach()
        for name in ("generator", "generator_back"):
            w[name] = adams[name](w[name], leaf[name].grad)
        loss_d = 0.0
        for name, real, fake in (
            ("discriminator", y, shown["y"]),
            ("discriminator_back", x, shown["x"]),
        ):
            real_loss = ((F.conv2d(real, leaf[name]) - 1) ** 2).mean()
            loss_d = loss_d + (real_loss + (F.conv2d(fake, leaf[name]) ** 2).mean()) / 2
        loss_d.backward()
        for name in ("discriminator", "discriminator_back"):
            w[name] = adams[name](w[name], leaf[name].grad)
        for name, value in w.items():
            torch.testing.assert_close(
                model.networks[name].weight.detach(), value, rtol=1e-10, atol=1e-10
            )
        if cycle.forward:
            assert float(terms["g_cycle"]) == pytest.approx(float(forward), rel=1e-10)


def test_a_step_that_is_repeated_from_the_same_state_is_the_same_pool_included():
    model = cyclegan.build(cell(), (3, 3), CPU)
    x, y = (torch.rand(2, 3, SIZE, SIZE) * 2 - 1 for _ in "xy")
    for _ in range(3):  # the pool is full
        model.draw(2)
        model.step(x, y)
    model.draw(2)
    state = fast_step._state(model)
    eager = fast_step.EagerStep(model, lambda: model.step(x, y), state, CPU)
    assert set(eager.repeated.values()) == {0.0}
    assert eager.problem_of(lambda: model.step(x, y)) == ""
    assert "differs" in eager.problem_of(lambda: model.step(y, x))


@pytest.mark.parametrize("stop_at", [1, 4, 7])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, stop_at, batch):
    config = cell(steps=9, training=TrainingSettings(steps=9, jitter=1.1, batch=batch))

    def run(directory, stop=lambda: False):
        return train(
            config,
            (images(5, 0), images(7, 1)),
            (images(2, 2), images(2, 3)),
            directory,
            device=CPU,
            record=lambda *_, **__: None,
            pace=Pace(4, 6, 1e9),
            stop=stop,
        )

    whole = run(tmp_path / "whole")
    assert list(whole) == ["generator", "generator_back"]
    asked = iter(range(1, 100))
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", lambda: next(asked) == stop_at)
    assert torch.equal(weights(run(tmp_path / "parts")), weights(whole))
    assert len(list((tmp_path / "whole" / "samples").iterdir())) == 3


def test_cycle_consistency_is_learnt_without_pairs(tmp_path):
    """Dark squares on bright ground and the other way round; cycle alone, no GAN."""
    losses = []
    train(
        cell(steps=120, gan="none", cycle=CycleSettings()),
        (images(6, 0) // 4, 255 - images(6, 1) // 4),
        (images(2, 2), images(2, 3)),
        tmp_path,
        device=CPU,
        record=lambda event, **fields: losses.append(fields["values"]) if "values" in fields else 0,
        pace=Pace(20, 1000, 1e9),
    )
    assert set(losses[0]) == {"g_cycle", "g_cycle_back"}
    assert losses[-1]["g_cycle"] < 0.6 * losses[0]["g_cycle"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gan": "conditional"}, "cyclegan has no pairs: objective.gan must be unconditional"),
        ({"objective": ObjectiveSettings(gan="unconditional")}, "objective.l1 and the like"),
        (
            {"training": TrainingSettings(steps=1, feedback="stale")},
            "training.feedback are settings of pix2pix",
        ),
        ({"gan": "none", "cycle": CycleSettings(forward=0, backward=0)}, "nothing to train on"),
        ({"method": "pix2pix", "gan": "none"}, "nothing to train on"),
    ],
)
def test_settings_that_contradict_the_method_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        cell(**changes)


def test_a_negative_pool_and_a_single_pair_are_refused(tmp_path):
    with pytest.raises(ValidationError):
        CycleSettings(pool=-1)
    with pytest.raises(UserError, match="single pair cannot be drawn unpaired"):
        train(
            cell(),
            (images(1, 0), images(1, 1)),
            (images(1, 0), images(1, 1)),
            tmp_path,
            device=CPU,
            record=lambda *_, **__: None,
            pace=Pace(4, 6, 1e9),
        )


def test_every_network_and_pool_draws_numbers_of_its_own():
    model = cyclegan.build(cell(), (3, 3), CPU)
    for kind in ("generator", "discriminator"):
        first, second = (model.networks[f"{kind}{end}"].state_dict() for end in ("", "_back"))
        drawn = [name for name in first if name.endswith("weight")]
        assert drawn and not any(torch.equal(first[name], second[name]) for name in drawn)
    decisions = []
    for pool in model.pools.values():
        for _ in range(pool.size + 30):
            pool.draw(1)
            decisions.append(pool.acts.tolist())
    half = len(decisions) // 2
    assert decisions[:half] != decisions[half:]
