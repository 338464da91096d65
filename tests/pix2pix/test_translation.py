import numpy as np
import pytest
import torch

from pix2pix.common.errors import UserError
from pix2pix.networks import UNetGenerator
from pix2pix.translation import grid, translate

CPU = torch.device("cpu")


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def translated(generator, inputs, names, seed=1):
    return dict(translate(generator, inputs, names, seed=seed, device=CPU))


def test_a_translation_depends_on_seed_and_name_not_on_order_or_company():
    torch.manual_seed(0)
    generator, inputs = UNetGenerator(width=8, depth=5), images(3)
    alone = translated(generator, inputs[1:2], ["b"])
    together = translated(generator, inputs, ["a", "b", "c"])
    backwards = translated(generator, inputs[::-1], ["c", "b", "a"])
    assert np.array_equal(alone["b"], together["b"])
    assert np.array_equal(backwards["b"], together["b"])
    other = translated(generator, inputs, ["a", "b", "c"], seed=2)
    assert not np.array_equal(other["b"], together["b"]), "dropout is on at test time"


def test_translating_leaves_the_random_generators_alone():
    generator, inputs = UNetGenerator(width=8, depth=5), images(2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    translated(generator, inputs, ["a", "b"])
    assert torch.equal(torch.rand(3), expected)


def test_a_translation_takes_only_repeatable_algorithms_and_leaves_the_setting_alone():
    generator, during = UNetGenerator(width=4, depth=5), []
    flag = torch.backends.cudnn
    generator.register_forward_pre_hook(lambda *_: during.append(flag.deterministic))
    before = flag.deterministic
    for _ in translate(generator, images(1), ["a"], seed=1, device=CPU):
        assert flag.deterministic is before
    assert during == [True]
    assert flag.deterministic is before


def test_an_output_that_is_not_a_number_is_an_error_not_a_black_image():
    generator = UNetGenerator(width=4, depth=5)
    torch.nn.init.constant_(generator.encoder[0][0].weight, 1e38)
    with pytest.raises(UserError, match="b: the generator gives values that are not finite"):
        translated(generator, images(1), ["b"])


def test_a_grid_holds_every_image_in_its_place():
    columns = [images(2), images(2)[::-1]]
    canvas = np.asarray(grid(*columns, gap=2))
    assert canvas.shape == (66, 66, 3)
    assert np.array_equal(canvas[:32, :32], columns[0][0])
    assert np.array_equal(canvas[34:, 34:], columns[1][1])
    assert (canvas[32:34] == 255).all()


def test_in_batches_images_are_normalised_together_and_the_last_batch_is_smaller():
    generator = UNetGenerator(width=2, depth=4, dropout=0.0)
    inputs, names = images(5), list("abcde")
    together = dict(translate(generator, inputs, names, seed=1, device=CPU, batch=2))
    assert list(together) == names
    alone = dict(translate(generator, inputs, names, seed=1, device=CPU))
    assert np.array_equal(together["e"], alone["e"]), "alone in its batch"
    assert not np.array_equal(together["a"], alone["a"]), "BatchNorm saw two"
    pair = dict(translate(generator, inputs[:2], names[:2], seed=1, device=CPU, batch=9))
    assert np.array_equal(together["a"], pair["a"]), "a batch larger than the split is the split"
