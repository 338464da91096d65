import pytest
import torch
from torch import nn

from pix2pix.config import (
    PATCHES,
    GeneratorSettings,
    discriminator_layers,
    discriminator_output,
    smallest_image,
)
from pix2pix.networks import (
    AlwaysDropout,
    BatchStatisticsNorm,
    Down,
    EncoderDecoderGenerator,
    PatchDiscriminator,
    PortUNetGenerator,
    UNetGenerator,
    Up,
    build_generator,
    normalise_each_image,
    parameter_count,
)


def test_published_parameter_counts():
    assert parameter_count(UNetGenerator()) == 54_413_955
    assert parameter_count(PortUNetGenerator()) == 54_413_955, "the port prints 54.414 M"
    assert round(parameter_count(EncoderDecoderGenerator()) / 1e6, 2) == 39.08
    counts = {patch: parameter_count(PatchDiscriminator(patch=patch)) for patch in PATCHES}
    assert counts[1] == 9_024
    assert counts[16] == 139_585
    assert counts[70] == 2_768_705
    assert round(counts[286] / 1e6, 2) == 11.16


def receptive_field(layers):
    """Width in pixels of the image area that one output of (kernel, stride) convolutions sees."""
    field = 1
    for kernel, stride in reversed(layers):
        field = (field - 1) * stride + kernel
    return field


@pytest.mark.parametrize("patch", PATCHES)
def test_receptive_field_is_the_gradient_footprint(patch):
    """What one output of a real network depends on, with the batch-wide BatchNorm taken out."""
    network = PatchDiscriminator(channels=1, patch=patch, width=1)
    for name, module in network.layers.named_children():
        if isinstance(module, BatchStatisticsNorm):
            setattr(network.layers, name, nn.Identity())
        elif isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.5)  # positive: nothing cancels
    side = 2 * patch + 64
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    outputs = network.double()(image)
    middle = outputs.shape[-1] // 2
    outputs[0, 0, middle, middle].backward()
    rows = image.grad[0, 0].abs().sum(1).nonzero().flatten()
    columns = image.grad[0, 0].abs().sum(0).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == patch
    assert rows[0] > 0 and rows[-1] < side - 1, "the image is too small for the proof"
    assert receptive_field(discriminator_layers(patch)) == patch


@pytest.mark.parametrize("patch", PATCHES)
def test_smallest_image_is_the_smallest_that_a_real_network_takes(patch):
    network, side = PatchDiscriminator(channels=1, patch=patch, width=1), smallest_image(patch)
    output = network.layers(torch.zeros(2, 1, side, side))
    assert output.shape[-2:] == (discriminator_output(patch, side),) * 2
    with pytest.raises(ValueError, match=f"{patch}×{patch} discriminator"):
        network(torch.zeros(2, 1, side - 1, side))
    if side > 1:
        with pytest.raises(RuntimeError):
            network.layers(torch.zeros(2, 1, side - 1, side - 1))


@pytest.mark.parametrize("architecture", [UNetGenerator, EncoderDecoderGenerator])
@pytest.mark.parametrize(("depth", "size"), [(5, (32, 32)), (4, (16, 48)), (6, (64, 128))])
def test_generators_of_any_depth_channels_and_rectangles(architecture, depth, size):
    network = architecture(2, 5, width=4, depth=depth)
    output = network(torch.rand(3, 2, *size) * 2 - 1)
    assert output.shape == (3, 5, *size)
    assert output.abs().max() <= 1
    assert len(network.encoder) == len(network.decoder) == depth


def test_a_size_that_the_depth_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        UNetGenerator(width=4, depth=5)(torch.zeros(1, 3, 32, 48))


def test_dropout_stands_on_the_three_innermost_decoder_layers_and_is_never_turned_off():
    network = UNetGenerator(width=4, depth=6)
    with_dropout = [
        level
        for level, layer in enumerate(network.decoder)
        if any(isinstance(m, AlwaysDropout) for m in layer)
    ]
    assert with_dropout == [0, 1, 2]
    network.eval()
    image = torch.rand(1, 3, 64, 64)
    assert not torch.equal(network(image), network(image))


def test_batch_norm_uses_the_batch_in_eval_mode_too():
    norm = BatchStatisticsNorm(3).eval()
    images = torch.rand(4, 3, 5, 5) * 7 + 3
    normalised = norm(images)
    assert torch.allclose(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normalised.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3)
    assert not norm.state_dict().keys() & {"running_mean", "running_var"}


def test_instance_normalisation_is_that_of_single_images():
    torch.manual_seed(0)
    settings = GeneratorSettings(width=4, depth=4, dropout=0.0)
    generator = build_generator(settings, (3, 3), (32, 32))
    x = torch.randn(4, 3, 32, 32)
    single, together = torch.cat([generator(one[None]) for one in x]), generator(x)
    normalise_each_image(generator)
    assert (generator(x) - single).abs().max() < 1e-5 < (together - single).abs().max()
    built = build_generator(settings.model_copy(update={"statistics": "image"}), (3, 3), (32, 32))
    built.load_state_dict(generator.state_dict())
    assert torch.equal(built(x), generator(x))


def test_a_noise_vector_joins_the_input_and_is_drawn_anew():
    settings = GeneratorSettings(width=4, depth=4, dropout=0.0, noise=5)
    generator = build_generator(settings, (3, 3), (32, 32))
    assert generator.encoder[0][0].in_channels == 8
    x = torch.randn(2, 3, 32, 32)
    torch.manual_seed(1)
    first, other = generator(x), generator(x)
    torch.manual_seed(1)
    assert torch.equal(generator(x), first) and not torch.equal(first, other)
    with torch.no_grad():
        generator.encoder[0][0].weight[:, 3:] = 0
    assert torch.equal(generator(x), generator(x)), "nothing else is random"


def test_the_erratum_makes_an_encoder_decoder_blind_at_batch_1():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    outputs = {}
    for erratum in (True, False):
        network = EncoderDecoderGenerator(width=8, depth=5, dropout=0.0, bottleneck_norm=erratum)
        outputs[erratum] = [network(image) for image in images]
    assert torch.equal(*outputs[True])
    assert not torch.allclose(*outputs[False])


def test_the_skip_connections_are_what_the_two_generators_differ_in():
    unet, plain = UNetGenerator(width=4, depth=5), EncoderDecoderGenerator(width=4, depth=5)
    assert parameter_count(unet.encoder) == parameter_count(plain.encoder)
    for level in range(1, 5):
        unet_in, plain_in = (n.decoder[level][1].in_channels for n in (unet, plain))
        assert unet_in == 2 * plain_in


def test_initial_weights_follow_the_appendix():
    network = UNetGenerator()
    weights = network.encoder[4][1].weight
    assert weights.mean().abs() < 1e-4
    assert abs(weights.std() - 0.02) < 1e-4
    scale = network.encoder[4][2].weight
    assert abs(scale.mean() - 1) < 0.01 and 0.01 < scale.std() < 0.03
    assert not network.decoder[-1][1].bias.any()


def native(layer, x):
    """A 4×4 layer by torch's own convolution."""
    if isinstance(layer, Down):
        return torch.nn.functional.conv2d(x, layer.weight, None, 2, 1)
    return torch.nn.functional.conv_transpose2d(x, layer.weight, None, 2, 1)


@pytest.mark.parametrize("kind", [Down, Up])
@pytest.mark.parametrize("shape", [(1, 6, 2, 2), (1, 6, 4, 8), (3, 6, 4, 2), (1, 6, 8, 8)])
def test_small_maps_as_products_agree_with_torchs_convolution(kind, shape):
    layer = kind(6, 5).double()
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer_32, x_32 = kind(6, 5), x.float().requires_grad_()
    layer_32.load_state_dict(layer.state_dict())
    x.requires_grad_()
    wanted, found = native(layer, x), layer_32(x_32)
    assert "Convolution" not in type(found.grad_fn).__name__
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    weights = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(1))
    (wanted * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(x_32.grad.double(), x.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        layer_32.weight.grad.double(), layer.weight.grad, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "side"), [(Down, 18), (Up, 9)])
def test_larger_maps_other_types_and_autocast_stay_torchs_convolution(kind, side):
    layer, x = kind(2, 3), torch.rand(1, 2, side, side)
    assert torch.equal(layer(x), native(layer, x))
    assert layer.double()(x[..., :4, :4].double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(x[..., :4, :4]).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [Down, Up])
def test_a_frozen_layer_passes_gradients_on_and_gets_none(kind):
    layer, x = kind(2, 3).requires_grad_(False), torch.rand(1, 2, 4, 4, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None
