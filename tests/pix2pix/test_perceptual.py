"""The perceptual losses on VGG16's weights; skipped where these are not on this machine."""

import pytest
import torch
import torchvision
from backbones import use_this_machines

from pix2pix.common.errors import UserError
from pix2pix.config import ObjectiveSettings
from pix2pix.perceptual import STYLE, build_vgg, feature_loss, gram, style_loss


@pytest.fixture
def weights(monkeypatch):
    use_this_machines(monkeypatch, "vgg")


@pytest.fixture
def vgg(weights):
    return build_vgg(ObjectiveSettings(style=1))


def images(seed, channels=3):
    return torch.rand(2, channels, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_content_loss_alone_stops_at_relu2_2(weights):
    features = build_vgg(ObjectiveSettings(perceptual=1))
    assert list(features(images(0))) == ["relu2_2"] and features.layers[-1] == "relu2_2"


def test_nothing_of_the_network_is_trained_but_images_get_gradients(vgg):
    image = images(0).requires_grad_()
    (feature_loss(vgg(image), vgg(images(1))) + style_loss(vgg(image), vgg(images(1)))).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert not list(vgg.parameters()) and not vgg.state_dict()


def test_identical_images_cost_nothing_and_blur_costs_more_features_than_a_shift_of_light(vgg):
    photo = torchvision.transforms.GaussianBlur(3, 0.6)(images(0)) * 0.5
    blurred = torchvision.transforms.GaussianBlur(7, 2.0)(photo)
    lighter = photo + (blurred - photo).abs().mean()  # as far away by L1
    assert feature_loss(vgg(photo), vgg(photo)) == 0 == style_loss(vgg(photo), vgg(photo))
    assert feature_loss(vgg(blurred), vgg(photo)) > feature_loss(vgg(lighter), vgg(photo))


def test_a_gram_matrix_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # C 2, h 1, w 2
    assert torch.equal(gram(features), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4)


def test_style_is_the_sum_of_squared_frobenius_distances():
    one = {name: torch.tensor([[[[1.0]], [[0.0]]]]) for name in STYLE}  # gram [[.5, 0], [0, 0]]
    none = {name: torch.zeros(1, 2, 1, 1) for name in STYLE}
    assert style_loss(one, none) == pytest.approx(4 * 0.25)


def test_grey_images_are_seen_as_three_equal_channels(vgg):
    grey = images(0, channels=1)
    for name, features in vgg(grey).items():
        assert torch.equal(features, vgg(grey.expand(-1, 3, -1, -1))[name])


def test_without_weights_the_way_to_get_them_is_told():
    with pytest.raises(UserError, match=r"objective\.perceptual.*eval\.backbones --help"):
        build_vgg(ObjectiveSettings(perceptual=1))
