"""FCN-8s, the network behind the FCN-score (Long, Shelhamer, Darrell, CVPR 2015; VGG16 inside).

With `padding="published"`, width 64 and 20 classes this is the network of pix2pix's Cityscapes
score, layer for layer (phillipi/pix2pix, `scripts/eval_cityscapes/caffemodel/deploy.prototxt`):
134,473,084 weights. Narrow and with BatchNorm, it is the scorer that `eval.scorer.train` trains on
the photos of a data set.

How outputs align with the input. Cell j of a pooled map with cells of s pixels has its centre at
s·j + (s − 1)/2 of the output of conv1_1, which begins `conv1_1 padding − 1` pixels left of the
input. A bilinear deconvolution k/s puts cell j at s·j + (k − 1)/2. fc6 sees 7 cells, so its output
m has its centre at cell m + 3 of pool5, or at cell m if pool5 is padded by 3. Equal positions give:

                 conv1_1 pads  fc6 pads  pool4 crop  pool3 crop  last crop
    published    100           0         5           9           31
    same         1             3         −1          −1          4

A negative crop is taken from the upsampled scores instead of the pooled map's scores. "Published"
pads the image by 100 so that fc6 always has enough cells; "same" pads only where cells are missing,
and does not spend most of its time on a black frame: 128×128 pixels become 326×326 with it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

Padding = Literal["published", "same"]


class Alignment(NamedTuple):
    """Paddings and crops of one row of the table above."""

    conv1_1: int
    fc6: int
    pool4: int
    pool3: int
    last: int


ALIGNMENTS = {"published": Alignment(100, 0, 5, 9, 31), "same": Alignment(1, 3, -1, -1, 4)}

# VGG16's stages: channels as multiples of the width, and convolutions, each before a pool.
STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))


class FCN8s(nn.Module):
    """(N, 3, H, W) float -> (N, classes, H, W) class scores, of the input's size for any H, W.

    Args:
        classes: outputs of the network.
        width: channels of conv1_1, 64 in the published network; fc6 and fc7 have 64 times as many.
        batch_norm: BatchNorm after every convolution of VGG16, fc6 and fc7, which then have no
            bias. Not in the published network, but needed for training from scratch.
        padding: "published" or "same"; see the module docstring.

    Initial values are those of the published training: convolutions by He et al. 2015, score
    layers zero, deconvolutions bilinear interpolation of each class by itself.
    """

    def __init__(
        self,
        classes: int,
        width: int = 64,
        batch_norm: bool = False,
        padding: Padding = "published",
    ) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        self.batch_norm, self.padding = batch_norm, padding
        self.alignment = ALIGNMENTS[padding]
        stages = []
        previous = 3
        for multiple, convolutions in STAGES:
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                pad = self.alignment.conv1_1 if previous == 3 and not layers else 1
                layers += _convolution(previous, multiple * width, 3, pad, batch_norm)
                previous = multiple * width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.fc6 = nn.Sequential(
            *_convolution(previous, 64 * width, 7, self.alignment.fc6, batch_norm), nn.Dropout(0.5)
        )
        self.fc7 = nn.Sequential(
            *_convolution(64 * width, 64 * width, 1, 0, batch_norm), nn.Dropout(0.5)
        )
        self.score_fr = nn.Conv2d(64 * width, classes, 1)
        self.score_pool4 = nn.Conv2d(8 * width, classes, 1)
        self.score_pool3 = nn.Conv2d(4 * width, classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, 8, bias=False)
        self._initialise()

    @property
    def specification(self) -> dict[str, Any]:
        """What builds this network again, as its file records it."""
        names = ("classes", "width", "batch_norm", "padding")
        return {name: getattr(self, name) for name in names}

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                with torch.no_grad():
                    module.weight.copy_(bilinear_weight(self.classes, module.kernel_size[0]))
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for score in (self.score_fr, self.score_pool4, self.score_pool3):
            nn.init.zeros_(score.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of `images`, which must be in the range that the network was trained on."""
        height, width = images.shape[-2:]
        pooled = []
        features = images
        for stage in self.stages:
            features = stage(features)
            pooled.append(features)
        _, _, pool3, pool4, pool5 = pooled
        scores = self.upscore2(self.score_fr(self.fc7(self.fc6(pool5))))
        scores = _fuse(scores, self.score_pool4(pool4), self.alignment.pool4)
        scores = self.upscore_pool4(scores)
        scores = _fuse(scores, self.score_pool3(pool3), self.alignment.pool3)
        return _crop(self.upscore8(scores), self.alignment.last, height, width)


def bilinear_weight(classes: int, kernel: int) -> Tensor:
    """(classes, classes, kernel, kernel): interpolates each class by itself, for stride k/2."""
    factor = (kernel + 1) // 2
    centre = (kernel - 1) / 2
    ramp = 1 - (torch.arange(kernel, dtype=torch.float32) - centre).abs() / factor
    weight = torch.zeros(classes, classes, kernel, kernel)
    weight[range(classes), range(classes)] = ramp[:, None] * ramp[None, :]
    return weight


def _convolution(
    inputs: int, outputs: int, kernel: int, padding: int, batch_norm: bool
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=not batch_norm)
    norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
    return [convolution, *norm, nn.ReLU(inplace=True)]


def _fuse(upsampled: Tensor, skip: Tensor, crop: int) -> Tensor:
    """The sum of both where they overlap, in the frame of the cropped one."""
    if crop >= 0:
        return upsampled + _crop(skip, crop, *upsampled.shape[-2:])
    return _crop(upsampled, -crop, *skip.shape[-2:]) + skip


def _crop(scores: Tensor, offset: int, height: int, width: int) -> Tensor:
    return scores[..., offset : offset + height, offset : offset + width]
