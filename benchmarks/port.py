"""Time our training step against that of the PyTorch port, in turns.

    python benchmarks/port.py                                     256 pixels, width 64, batch 1
    python benchmarks/port.py --size 128 --width 32 --threads 1   the quick profile's

The port's network and step are written here anew from their description (its files
models/networks.py and models/pix2pix_model.py): nested U-Net blocks of torch's own layers, a D
that sees 70×70 pixels, D and G updated in turn, torch's Adam as it is by default. Both run with the
memory allocation of a suite's worker, which the port's own scripts do not set
(--plain-allocation: neither).
Exit status 1 if --bar is given and ours is not so much faster.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from command import as_a_worker, at_least_one, cell, cell_parser, machine, spread, write
from step_time import wait
from torch import nn

from pix2pix.fast_step import Execution, make_step
from pix2pix.methods import build

WARM_UP = 3


def unet(levels: int, width: int) -> nn.Module:
    """The port's `unet_128` (7 levels) or `unet_256` (8), 3 to 3 channels, with dropout."""
    block = _block(8 * width, 8 * width, inner=None)
    for _ in range(levels - 5):
        block = _block(8 * width, 8 * width, block, dropout=True)
    for factor in (4, 2, 1):
        block = _block(factor * width, 2 * factor * width, block)
    down = nn.Conv2d(3, width, 4, 2, 1, bias=False)
    up = nn.ConvTranspose2d(2 * width, 3, 4, 2, 1)
    return nn.Sequential(down, block, nn.ReLU(True), up, nn.Tanh())


class _Skip(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], 1)


def _block(outer: int, inside: int, inner: nn.Module | None, dropout: bool = False) -> nn.Module:
    layers: list[nn.Module] = [
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(outer, inside, 4, 2, 1, bias=False),
    ]
    layers += [nn.BatchNorm2d(inside), inner] if inner is not None else []
    layers += [
        nn.ReLU(True),
        nn.ConvTranspose2d(inside * (2 if inner is not None else 1), outer, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outer),
    ]
    return _Skip(nn.Sequential(*layers, *([nn.Dropout(0.5)] if dropout else [])))


def patch_discriminator(width: int) -> nn.Module:
    """The port's `basic`: 70×70 pixels, logits."""
    layers: list[nn.Module] = [nn.Conv2d(6, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        layers += [
            nn.Conv2d(before * width, after * width, 4, stride, 1, bias=False),
            nn.BatchNorm2d(after * width),
            nn.LeakyReLU(0.2, True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


def ports_step(
    size: int, width: int, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The port's `optimize_parameters`, losses and all."""
    generator = unet(size.bit_length() - 1, width).to(device)
    discriminator = patch_discriminator(width).to(device)
    of_generator, of_discriminator = (
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for net in (generator, discriminator)
    )
    entropy, distance = nn.BCEWithLogitsLoss(), nn.L1Loss()

    def gan(logits: torch.Tensor, real: bool) -> torch.Tensor:
        return entropy(logits, torch.tensor(float(real), device=device).expand_as(logits))

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        made = generator(x)
        discriminator.requires_grad_(True)
        of_discriminator.zero_grad()
        wrong = gan(discriminator(torch.cat([x, made], 1).detach()), False)
        right = gan(discriminator(torch.cat([x, y], 1)), True)
        ((wrong + right) * 0.5).backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad()
        believed = gan(discriminator(torch.cat([x, made], 1)), True)
        (believed + 100 * distance(made, y)).backward()
        of_generator.step()

    return step


def main() -> int:
    parser = cell_parser(__doc__, size=256, width=64)
    parser.add_argument("--turns", type=at_least_one, default=21, help="of each (default 21)")
    parser.add_argument("--plain-allocation", action="store_true", help="glibc's default")
    parser.add_argument("--bar", type=float, metavar="TIMES", help="the speed-up to reach")
    options = parser.parse_args()
    if not options.plain_allocation:
        as_a_worker()
    if options.threads:
        torch.set_num_threads(options.threads)
    config = cell(options.size, options.width, batch=options.batch)
    shape = (options.batch, 3, options.size, options.size)
    device = torch.device(options.device)
    x, y = (torch.rand(shape, device=device) * 2 - 1 for _ in range(2))
    model = build(config, (3, 3), device, torch.contiguous_format)
    steps = {
        "ours": make_step(model, Execution(), (x, y)),
        "port": ports_step(options.size, options.width, device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-WARM_UP, options.turns):
        for name, step in steps.items():
            wait(device)
            began = time.perf_counter()
            step(x, y)
            wait(device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    for name, values in seconds.items():
        print(f"{name:5} {spread(values)}")
    times = statistics.median(seconds["port"]) / statistics.median(seconds["ours"])
    print(f"ours is {times:.2f} times as fast")
    found = {
        "machine": machine(device),
        "size": options.size,
        "width": options.width,
        "seconds": seconds,
    }
    write(found | {"times": times}, options.json)
    return 1 if options.bar and times < options.bar else 0


if __name__ == "__main__":
    sys.exit(main())
