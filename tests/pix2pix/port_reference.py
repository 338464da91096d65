"""The PyTorch port's generators, written here from its description, to check our reading of files.

Nested blocks, each a numbered `model`, with the normalisation, the in-place activations, the order
of concatenation and the dropout of junyanz/pytorch-CycleGAN-and-pix2pix; nothing of ours.
"""

import torch
from torch import nn


class Block(nn.Module):
    """Halve, go through what is inside, double; beside it the input itself, unless outermost."""

    def __init__(self, outside, inside, inner=None, channels=None, dropout=False, norm=None):
        super().__init__()
        norm = norm or nn.BatchNorm2d
        bias = norm is nn.InstanceNorm2d
        self.outermost = channels is not None
        down = nn.Conv2d(channels or outside, inside, 4, stride=2, padding=1, bias=bias)
        joined = inside if inner is None else 2 * inside
        up = nn.ConvTranspose2d(
            joined, outside, 4, stride=2, padding=1, bias=bias or self.outermost
        )
        leaky, relu = nn.LeakyReLU(0.2, inplace=True), nn.ReLU(inplace=True)
        if self.outermost:
            stages = [down, inner, relu, up, nn.Tanh()]
        elif inner is None:
            stages = [leaky, down, relu, up, norm(outside)]
        else:
            stages = [leaky, down, norm(inside), inner, relu, up, norm(outside)]
            stages += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*stages)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class PortUNet(nn.Module):
    def __init__(self, depth=8, width=64, channels=(3, 3), dropout=True, norm=None):
        super().__init__()
        block = Block(8 * width, 8 * width, norm=norm)
        for _ in range(depth - 5):
            block = Block(8 * width, 8 * width, block, dropout=dropout, norm=norm)
        for factor in (4, 2, 1):
            block = Block(factor * width, 2 * factor * width, block, norm=norm)
        self.model = Block(channels[1], width, block, channels=channels[0], norm=norm)

    def forward(self, x):
        return self.model(x)


def trained(depth=8, width=4, channels=(3, 3), dropout=True, norm=None, seed=0):
    """A network with weights, biases and running statistics that all matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PortUNet(depth, width, channels, dropout, norm)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.3)
                nn.init.normal_(module.bias, 0.0, 0.3)
                nn.init.normal_(module.running_mean, 0.0, 0.1)
                nn.init.uniform_(module.running_var, 0.1, 0.3)
        nn.init.normal_(network.model.model[3].bias, 0.0, 0.2)
        return network


class PortResnetBlock(nn.Module):
    def __init__(self, channels, dropout, norm):
        super().__init__()
        parts = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels)]
        parts += [nn.ReLU(True)] + ([nn.Dropout(0.5)] if dropout else [])
        parts += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels)]
        self.conv_block = nn.Sequential(*parts)

    def forward(self, x):
        return x + self.conv_block(x)


class PortResnet(nn.Module):
    def __init__(self, blocks=9, width=4, channels=(3, 3), dropout=False, norm=nn.InstanceNorm2d):
        super().__init__()
        first, last = nn.Conv2d(channels[0], width, 7), nn.Conv2d(width, channels[1], 7)
        stages = [nn.ReflectionPad2d(3), first, norm(width), nn.ReLU(True)]
        for inside in (width, 2 * width):
            halve = nn.Conv2d(inside, 2 * inside, 3, stride=2, padding=1)
            stages += [halve, norm(2 * inside), nn.ReLU(True)]
        stages += [PortResnetBlock(4 * width, dropout, norm) for _ in range(blocks)]
        for outside in (2 * width, width):
            double = nn.ConvTranspose2d(2 * outside, outside, 3, 2, 1, output_padding=1)
            stages += [double, norm(outside), nn.ReLU(True)]
        self.model = nn.Sequential(*stages, nn.ReflectionPad2d(3), last, nn.Tanh())

    def forward(self, x):
        return self.model(x)


def port_translation(network, image, evaluated=False):
    """(H, W, 3) uint8 to the same, as the port's test script: `tensor2im` cuts off."""
    network.train(not evaluated)
    x = (torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous().float() / 255)[None]
    with torch.no_grad():
        y = network((x - 0.5) / 0.5)[0]
    return ((y.numpy().transpose(1, 2, 0) + 1) / 2.0 * 255.0).astype("uint8")
