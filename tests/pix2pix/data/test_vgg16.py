"""The pretrained VGG16; skipped where its weights are not on this machine."""

import pytest
import torch
import torchvision
from backbones import use_this_machines

from pix2pix.common.errors import UserError
from pix2pix.data.backbones import load_convolutions
from pix2pix.data.vgg16 import VGG16, check_weights

NUMBERS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "pool3": 16, "pool4": 23, "pool5": 30}
"""Of torchvision's `vgg16.features`."""


def test_features_are_those_of_torchvisions_network(monkeypatch):
    use_this_machines(monkeypatch, "vgg")
    theirs = torchvision.models.vgg16(init_weights=False).features.eval()
    tensors = load_convolutions("vgg", download=False).tensors
    theirs.load_state_dict({name.removeprefix("features."): t for name, t in tensors.items()})
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    scale = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x, found = scale((image + 1) / 2), VGG16(tuple(NUMBERS))(image)
    assert list(found) == sorted(NUMBERS, key=NUMBERS.__getitem__)
    with torch.no_grad():
        for number, layer in enumerate(theirs):
            x = layer(x)
            for name in (name for name, of in NUMBERS.items() if of == number):
                torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-4)


def test_it_ends_at_the_deepest_layer_and_none_of_it_is_saved_or_trained(monkeypatch):
    use_this_machines(monkeypatch, "vgg")
    network = VGG16(("relu2_2", "relu1_1"))
    assert network.layers == ["relu1_1", "relu1_2", "pool1", "relu2_1", "relu2_2"]
    assert not network.state_dict() and not list(network.parameters())


def test_without_weights_the_way_to_get_them_is_told():
    with pytest.raises(UserError, match=r"objective\.perceptual.*eval\.backbones --help"):
        check_weights()
