import pytest
import torch
from torch import nn

from eval.scorer.fcn8s import FCN8s, bilinear_weight

SIZES = [(128, 128), (127, 201), (33, 65), (97, 31), (1, 1)]


def test_the_published_network_has_the_published_number_of_weights():
    with torch.device("meta"):
        network = FCN8s(20)
    assert sum(p.numel() for p in network.parameters()) == 134_473_084


@pytest.mark.parametrize("padding", ["published", "same"])
@pytest.mark.parametrize("size", SIZES)
def test_output_has_the_inputs_size(padding, size):
    network = FCN8s(5, width=1, padding=padding).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_the_published_protocols_size():
    with torch.device("meta"):
        network = FCN8s(20, width=1)
        assert network(torch.zeros(1, 3, 1024, 2048)).shape == (1, 20, 1024, 2048)


def linear_network(padding: str, path: str) -> FCN8s:
    """Only one of the three ways through the network, with equal weights and mean pools."""
    network = FCN8s(1, width=1, padding=padding).eval()
    for stage in network.stages:
        stage[-1] = nn.AvgPool2d(2, 2, ceil_mode=True)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    for name in ("score_fr", "score_pool4", "score_pool3"):
        if name != path:
            nn.init.zeros_(getattr(network, name).weight)
    return network


@pytest.mark.parametrize("padding", ["published", "same"])
@pytest.mark.parametrize("path", ["score_fr", "score_pool4", "score_pool3"])
def test_every_way_through_the_network_lines_up_with_the_input(padding, path):
    # Bilinear interpolation between centred cells keeps a pixel's footprint centred on it.
    row, column = 309, 326
    image = torch.ones(1, 3, 640, 640, requires_grad=True)
    linear_network(padding, path)(image)[0, 0, row, column].backward()
    footprint = image.grad.sum((0, 1))
    positions = torch.arange(640.0)
    assert footprint.sum() == pytest.approx(1, abs=1e-3)
    assert (footprint.sum(1) * positions).sum() == pytest.approx(row, abs=0.1)
    assert (footprint.sum(0) * positions).sum() == pytest.approx(column, abs=0.1)


def test_a_deconvolution_starts_as_interpolation_of_each_class_by_itself():
    weight = bilinear_weight(2, 4)
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(weight[0, 0], ramp[:, None] * ramp)
    assert weight[0, 1].abs().sum() == 0


def test_all_classes_start_equal():
    scores = FCN8s(3, width=2, batch_norm=True, padding="same").eval()(torch.rand(1, 3, 40, 40))
    assert scores.abs().max() == 0


def test_batch_norm_takes_the_biases_place():
    plain, normed = FCN8s(3, width=2), FCN8s(3, width=2, batch_norm=True)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    norms = [m for m in normed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 15
    assert normed.stages[0][0].bias is None and plain.stages[0][0].bias is not None
