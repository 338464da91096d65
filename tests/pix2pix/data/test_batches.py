import numpy as np
import pytest
import torch

from pix2pix.data.batches import Batches, UnpairedBatches, to_float, to_uint8

CPU = torch.device("cpu")


def pairs(count, size=16):
    """Every pixel of pair i is i in the input and 100 + i in the target."""
    values = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    inputs = np.broadcast_to(values, (count, size, size, 3)).copy()
    return inputs, inputs + 100


def stream(inputs, targets, **changes):
    options = {"batch": 1, "jitter": 1.0, "mirror": False, "seed": 7, "device": CPU}
    return Batches(inputs, targets, **{**options, **changes})


def test_uint8_to_float_and_back_is_exact():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(to_uint8(to_float(images)), images)
    assert to_float(images).min() == -1 and to_float(images).max() == 1


def test_rounding_is_to_the_nearest_and_clamps():
    values = torch.tensor([-1.2, -1.0, 0.0, 0.00393, 1.0, 1.3]).reshape(1, 1, 1, -1)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 128, 255, 255]


def test_every_epoch_gives_every_pair_once_and_in_another_order():
    batches = stream(*pairs(10), batch=4)
    epochs = []
    for _ in range(2):
        seen, sizes = [], []
        for _ in range(3):
            x, y = batches.next()
            sizes.append(len(x))
            seen += [round(v) for v in ((x[:, 0, 0, 0] + 1) * 127.5).tolist()]
            assert torch.allclose(y - x, torch.tensor(100 / 127.5), atol=1e-6)
        assert sizes == [4, 4, 2]
        assert sorted(seen) == list(range(10))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_jitter_and_mirror_treat_input_and_target_alike():
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 156, (3, 32, 32, 3), dtype=np.uint8)
    batches = stream(inputs, inputs + 100, jitter=1.25, mirror=True, batch=3)
    x, y = batches.next()
    assert x.shape == (3, 3, 32, 32)
    assert torch.allclose(y - x, torch.tensor(100 / 127.5), atol=1e-5)


def test_jitter_moves_the_crop_over_the_whole_enlarged_image():
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (1, 32, 1, 3))
    batches = stream(ramp, ramp, jitter=1.5)
    starts = {round(batches.next()[0][0, 0, 0, 0].item(), 3) for _ in range(200)}
    assert len(starts) == 17  # 48 − 32 + 1 offsets


def test_mirroring_turns_about_half_of_the_images():
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (1, 32, 1, 3))
    batches = stream(ramp, ramp, mirror=True)
    turned = sum(batches.next()[0][0, 0, 0, 0].item() > 0 for _ in range(400))
    assert 150 < turned < 250


def test_the_state_resumes_the_stream_exactly():
    inputs, targets = pairs(7)
    options = {"jitter": 1.2, "mirror": True, "batch": 2}
    batches = stream(inputs, targets, **options)
    for _ in range(5):
        batches.next()
    state = {k: v.clone() if hasattr(v, "clone") else v for k, v in batches.state_dict().items()}
    expected = [batches.next() for _ in range(9)]
    other = stream(inputs, targets, **{**options, "seed": 99})
    other.load_state_dict(state)
    for x, y in expected:
        again_x, again_y = other.next()
        assert torch.equal(x, again_x) and torch.equal(y, again_y)


def test_with_replacement_pairs_come_twice_and_are_left_out():
    inputs, targets = pairs(40)
    batches = stream(inputs, targets, replacement=True)
    seen = [batches.next()[0] for _ in range(40)]
    different = {image.numpy().tobytes() for image in seen}
    assert 15 < len(different) < 36  # 25 are expected: 1 − 1/e of 40


def test_bicubic_enlarging_is_another_and_stays_in_range():
    inputs, targets = pairs(1)
    inputs[:, :, 8:] = 255  # an edge, at which it overshoots
    first, second = (
        stream(inputs, targets, jitter=1.25, interpolation=way).next()[0]
        for way in ("bilinear", "bicubic")
    )
    assert (first - second).abs().max() > 0.02
    assert second.abs().max() <= 1 and (first - second).abs().mean() < 0.1


def unpaired(inputs, targets, **changes):
    options = {"batch": 1, "jitter": 1.0, "mirror": False, "seed": 5, "device": CPU}
    return UnpairedBatches(inputs, targets, **{**options, **changes})


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_unpaired_a_step_never_sees_the_two_of_a_pair(count, seed):
    numbers = np.arange(count, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 8, 8, 3)).copy()
    batches = unpaired(images, images, seed=seed)
    met = set()
    for _ in range(60 * count):
        x, y = (round(float((t[0, 0, 0, 0] + 1) * 127.5)) for t in batches.next())
        assert x != y
        met.add((x, y))
    assert len(met) == count * (count - 1)  # every other combination comes


def test_unpaired_every_image_of_both_sides_comes_once_an_epoch():
    inputs, targets = pairs(4)[0], pairs(6)[1]
    batches = unpaired(inputs, targets, batch=3)
    seen = [batches.next() for _ in range(8)]  # three epochs of one side, two of the other
    for side, epochs in ((0, 6), (1, 4)):
        drawn = torch.cat([one[side] for one in seen])
        assert len(drawn) == 24
        unique, counts = np.unique(drawn.numpy().reshape(24, -1), axis=0, return_counts=True)
        assert set(counts) == {epochs} and len(unique) == 24 // epochs


def test_unpaired_each_side_is_cropped_by_itself_and_the_state_resumes():
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, None, :, None] * 16, (2, 16, 16, 3))
    batches = unpaired(ramp.copy(), ramp.copy(), jitter=2.0, mirror=True)
    drawn = [batches.next() for _ in range(12)]
    assert any(not torch.equal(x, y) for x, y in drawn)
    state = batches.state_dict()
    later = [batches.next() for _ in range(9)]
    again = unpaired(ramp.copy(), ramp.copy(), jitter=2.0, mirror=True, seed=99)
    again.load_state_dict(state)
    for (x, y), (same_x, same_y) in zip(later, (again.next() for _ in range(9)), strict=True):
        assert torch.equal(x, same_x) and torch.equal(y, same_y)
