"""Generators and discriminators of the paper (Section 3.2, Appendix 6.1).

Ck is Convolution-BatchNorm-ReLU with k filters; all convolutions are 4×4 with stride 2 unless
stated otherwise. BatchNorm always uses the batch's own statistics and dropout is always active, in
training and in translation alike: the paper draws its noise from dropout, and at batch 1 its
BatchNorm is instance normalisation.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix.config import (
    DiscriminatorSettings,
    GeneratorSettings,
    check_resnet_size,
    discriminator_layers,
    resolve_depth,
    smallest_image,
)

DROPOUT_LEVELS = 3
FEW_POSITIONS = 64
"""Up to so many positions of the smaller map, a 4×4 layer is one matrix product on a CPU."""


def is_product(x: Tensor, positions: int) -> bool:
    """Whether a 4×4 layer of stride 2 without bias is computed as a matrix product.

    On small maps the time goes into reading the weights, and torch's convolutions rearrange these
    first; a product reads them as they lie (docs/performance.md). The form follows from the shape
    alone, so that a digest means one arithmetic; the two agree to about 1e-6.
    """
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and positions <= FEW_POSITIONS and not torch.is_autocast_enabled("cpu")


class Down(nn.Conv2d):
    """A convolution of kernel 4, stride 2 and padding 1 without bias: half the size."""

    products = True
    """Whether `is_product` may choose the form."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__(channels, filters, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, filters, H/2, W/2)."""
        if self.products and is_product(x, len(x) * (x.shape[2] // 2) * (x.shape[3] // 2)):
            rows = _patches(x) @ self.weight.flatten(1).t()
            return _image(rows, (len(x), x.shape[2] // 2, x.shape[3] // 2))
        return super().forward(x)


class Up(nn.ConvTranspose2d):
    """A transposed convolution of kernel 4, stride 2 and padding 1 without bias: twice the size."""

    products = True
    """Whether `is_product` may choose the form."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__(channels, filters, 4, 2, 1, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, channels, H, W) to (N, filters, 2H, 2W)."""
        if self.products and is_product(x, len(x) * x.shape[2] * x.shape[3]):
            return _overlaid(_rows(x) @ self.weight.flatten(1), (len(x), x.shape[2], x.shape[3]))
        return super().forward(x, output_size)


def _patches(image: Tensor) -> Tensor:
    """(N, C, 2h, 2w) to (N h w, C 16): the 4×4 patch that every output position sees."""
    patches = F.unfold(image, 4, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    return patches.contiguous()  # then the backward pass, too, reads the weights as they lie


def _overlaid(patches: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The transpose of `_patches`, for (N, h, w): overlapping patches are added."""
    n, h, w = shape
    columns = patches.view(n, h * w, -1).transpose(1, 2)
    return F.fold(columns, (2 * h, 2 * w), 4, padding=1, stride=2)


def _rows(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N h w, C)."""
    return x.flatten(2).transpose(1, 2).flatten(0, 1).contiguous()  # as in `_patches`


def _image(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The inverse of `_rows`, for (N, h, w)."""
    n, h, w = shape
    return rows.view(n, h * w, -1).transpose(1, 2).reshape(n, -1, h, w)


class BatchStatisticsNorm(nn.BatchNorm2d):
    """BatchNorm that keeps no running statistics, so training and translation are one function.

    Unlike `nn.BatchNorm2d` it accepts one value per channel (a 1×1 bottleneck at batch 1) and then
    returns its bias regardless of the input: the erratum of the paper.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)
        self.per_image = False
        """Whether to normalise each image by itself: several batches of one image in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float to the same, normalised over N, H and W, or over H and W."""
        if (x[0] if self.per_image else x).numel() == x.shape[1]:
            # Exactly zero before scale and bias; later layers would amplify rounding.
            scale, bias = (p.view(1, -1, 1, 1) for p in (self.weight, self.bias))
            return (x - x) * scale + bias
        cudnn = torch.backends.cudnn.enabled
        if self.per_image:
            return torch.instance_norm(
                x, self.weight, self.bias, None, None, True, 0.0, self.eps, cudnn
            )
        return torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, cudnn)


class InstanceNorm(nn.InstanceNorm2d):
    """InstanceNorm without scale and bias, as in CycleGAN; 0 for a single value per channel."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float to the same, normalised over H and W."""
        cudnn = torch.backends.cudnn.enabled
        return torch.instance_norm(x, None, None, None, None, True, 0.0, self.eps, cudnn)


class FullPrecisionTanh(nn.Tanh):
    """Tanh in float32 even under autocast: in bfloat16 its gradient is 0 for inputs above 3.5."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() if x.dtype == torch.bfloat16 else x)


class FullPrecisionConv2d(nn.Conv2d):
    """A convolution in float32 even under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class AlwaysDropout(nn.Module):
    """Dropout that `eval()` does not turn off: the generator's only noise (Section 3.2)."""

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.probability, training=True)


def initialise(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw convolution weights from N(0, 0.02) and BatchNorm scales from N(1, 0.02); biases are 0.

    Appendix 6.2 and `weights_init` of the public Torch code. `generator` makes it reproducible.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def encoder_widths(width: int, depth: int) -> list[int]:
    """C64-C128-C256-C512-C512-… for width 64: doubled each level, at most 8 × width."""
    return [width * min(2**level, 8) for level in range(depth)]


def shifted(depth: int) -> range:
    """The decoder layers that the PyTorch port puts dropout on."""
    return range(1, depth - 4)


class Generator(nn.Module):
    """What U-Net and encoder-decoder share; they differ only in the skip connections.

    Only the output layer has a bias, which gives the published parameter counts (the public Torch
    code has biases everywhere but sets them to zero at every step). `dropout_layers` counts the
    decoder's layers from the bottleneck. A Gaussian vector z of length `noise`, drawn anew in every
    pass, joins the input, the same at every pixel (Section 3.1: G "learned to ignore" it).
    """

    skips: bool
    skip_first = False
    """Whether the encoder's channels come before the decoder's in a concatenation."""

    def __init__(
        self,
        input_channels: int = 3,
        output_channels: int = 3,
        width: int = 64,
        depth: int = 8,
        dropout: float = 0.5,
        bottleneck_norm: bool = False,
        dropout_layers: Collection[int] = range(DROPOUT_LEVELS),
        noise: int = 0,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"depth must be at least 2 (got {depth})")
        widths = encoder_widths(width, depth)
        self.depth = depth
        self.multiple = 2**depth
        """Of which the sides of an image must be multiples."""
        self.noise = noise
        self.encoder = nn.ModuleList()
        for level in range(depth):
            previous = input_channels + noise if level == 0 else widths[level - 1]
            bottleneck = level == depth - 1
            norm = level > 0 and (bottleneck_norm or not bottleneck)
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level > 0 else []
            layers.append(Down(previous, widths[level]))
            if norm:
                layers.append(BatchStatisticsNorm(widths[level]))
            self.encoder.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList()
        for step, level in enumerate(reversed(range(depth))):
            joined = self.skips and step > 0
            previous = widths[level] * (2 if joined else 1)
            outermost = level == 0
            filters = output_channels if outermost else widths[level - 1]
            layers = [nn.ReLU()]
            if outermost:
                layers.append(nn.ConvTranspose2d(previous, filters, 4, 2, 1))
                layers.append(FullPrecisionTanh())
            else:
                layers.append(Up(previous, filters))
                layers.append(BatchStatisticsNorm(filters))
                if step in dropout_layers and dropout > 0:
                    layers.append(AlwaysDropout(dropout))
            self.decoder.append(nn.Sequential(*layers))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, input_channels, H, W) float in [-1, 1] to (N, output_channels, H, W) in [-1, 1].

        H and W must be multiples of 2**depth; otherwise ValueError.
        """
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(
                f"image of {x.shape[-2]}×{x.shape[-1]}: a generator of depth {self.depth} needs "
                f"sides that are multiples of {self.multiple}"
            )
        if self.noise:
            z = torch.randn(len(x), self.noise, 1, 1, device=x.device, dtype=x.dtype)
            x = torch.cat((x, z.expand(-1, -1, *x.shape[-2:])), dim=1)
        skips = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        x = self.decoder[0](skips.pop())
        for layer in self.decoder[1:]:
            skip = skips.pop()
            joined = (skip, x) if self.skip_first else (x, skip)
            x = layer(torch.cat(joined, dim=1) if self.skips else x)
        return x


class UNetGenerator(Generator):
    """U-Net of Appendix 6.1.1: decoder level i sees encoder level n−i concatenated.

    `width` filters in the first layer, `depth` halvings (8 for 256×256, down to a 1×1
    bottleneck), dropout on the three innermost decoder layers as in the public Torch code
    (`models.lua`, `defineG_unet`), no BatchNorm on the bottleneck unless `bottleneck_norm`
    (the paper's erratum).
    """

    skips = True


class PortUNetGenerator(UNetGenerator):
    """The U-Net as the PyTorch port builds it (junyanz/pytorch-CycleGAN-and-pix2pix).

    `UnetGenerator` of its `models/networks.py`: skips come before the decoder's own channels,
    which only changes the order of weights, and dropout is shifted by one layer: none on the
    innermost, then on the next `depth` − 5 layers of 8 × `width` filters, whose outputs are 4, 8
    and 16 pixels wide at depth 8.
    """

    skip_first = True

    def __init__(
        self,
        input_channels: int = 3,
        output_channels: int = 3,
        width: int = 64,
        depth: int = 8,
        dropout: float = 0.5,
    ) -> None:
        layers = shifted(depth)
        super().__init__(
            input_channels, output_channels, width, depth, dropout, dropout_layers=layers
        )
        for module in self.modules():
            if isinstance(module, (Down, Up)):
                module.products = False  # so that images are the port's own bit for bit

    def forward(self, images: Tensor) -> Tensor:
        # Contiguous, as from the port's ToTensor: the memory layout decides where dropout falls.
        return super().forward(images.contiguous())


class EncoderDecoderGenerator(Generator):
    """The encoder-decoder of Appendix 6.1.1: `UNetGenerator` without the skip connections."""

    skips = False


class ResidualBlock(nn.Module):
    """x + f(x): two 3×3 convolutions with reflection padding and InstanceNorm."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        noise = [AlwaysDropout(dropout)] if dropout > 0 else []
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm(channels)),
            *(nn.ReLU(), *noise),
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """CycleGAN's generator (Appendix 7.2 there): c7s1-64, d128, d256, R256 × blocks, u128, u64,
    c7s1-3.

    As the PyTorch port builds it (`ResnetGenerator` of its `models/networks.py`), names of weights
    included. `dropout` lies between the two convolutions of a block, which CycleGAN leaves out.
    """

    def __init__(
        self,
        input_channels: int = 3,
        output_channels: int = 3,
        width: int = 64,
        blocks: int = 9,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.multiple = 4
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(input_channels, width, 7)]
        layers += [InstanceNorm(width), nn.ReLU()]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1)]
            layers += [InstanceNorm(2 * channels), nn.ReLU()]
        layers += [ResidualBlock(4 * width, dropout) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, output_padding=1)]
            layers += [InstanceNorm(channels // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, output_channels, 7)]
        self.model = nn.Sequential(*layers, FullPrecisionTanh())
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, input_channels, H, W) float in [-1, 1] to (N, output_channels, H, W) in [-1, 1].

        ValueError if H or W is no multiple of 4.
        """
        check_resnet_size((x.shape[-2], x.shape[-1]))
        return self.model(x)


class PatchDiscriminator(nn.Module):
    """PatchGAN of Appendix 6.1.2: one logit for every `patch` × `patch` pixels of the image.

    A conditional one takes input and image concatenated (6 channels), an unconditional one the
    image alone (3). The Sigmoid of the paper is part of the objective (`losses.py`), so the
    outputs here are logits. With `instance_norm`, as CycleGAN's, all convolutions have a bias.
    """

    def __init__(
        self,
        channels: int = 6,
        patch: int = 70,
        width: int = 64,
        instance_norm: bool = False,
    ) -> None:
        super().__init__()
        specification = discriminator_layers(patch)
        self.patch = patch
        layers: list[nn.Module] = []
        filters = channels
        for index, (kernel, stride) in enumerate(specification):
            final, first = index == len(specification) - 1, index == 0
            previous, filters = filters, 1 if final else width * min(2**index, 8)
            # The public PixelGAN has no bias on its last layer; the others have.
            bias = first or (final and patch > 1) or instance_norm
            padding = 0 if kernel == 1 else 1
            if stride == 2 and not bias:
                layers.append(Down(previous, filters))
            else:
                convolution = FullPrecisionConv2d if final else nn.Conv2d
                layers.append(convolution(previous, filters, kernel, stride, padding, bias=bias))
            if not first and not final:
                layers.append((InstanceNorm if instance_norm else BatchStatisticsNorm)(filters))
            if not final:
                layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) float in [-1, 1] to (N, 1, h, w) logits, positive for real."""
        side = smallest_image(self.patch)
        if min(x.shape[-2:]) < side:
            raise ValueError(
                f"image of {x.shape[-2]}×{x.shape[-1]} is too small for a {self.patch}×{self.patch}"
                f" discriminator, which needs at least {side} pixels per side"
            )
        return self.layers(x)


AnyGenerator = Generator | ResnetGenerator

GENERATORS: dict[str, type[Generator]] = {
    "unet": UNetGenerator,
    "encoder-decoder": EncoderDecoderGenerator,
}


def normalise_each_image(network: nn.Module) -> None:
    """Let BatchNorm take the statistics of each image: instance normalisation."""
    for module in network.modules():
        if isinstance(module, BatchStatisticsNorm):
            module.per_image = True


def build_generator(
    settings: GeneratorSettings, channels: tuple[int, int], size: tuple[int, int]
) -> AnyGenerator:
    """A new generator with random weights for (input, output) channels and size (H, W).

    ValueError if the depth does not fit the size.
    """
    if settings.architecture == "resnet":
        check_resnet_size(size)
        return ResnetGenerator(*channels, settings.width, settings.blocks, settings.dropout)
    depth = resolve_depth(size, settings.depth)
    generator = GENERATORS[settings.architecture](
        input_channels=channels[0],
        output_channels=channels[1],
        width=settings.width,
        depth=depth,
        dropout=settings.dropout,
        bottleneck_norm=settings.bottleneck_norm,
        dropout_layers=(
            range(DROPOUT_LEVELS) if settings.dropout_levels == "innermost" else shifted(depth)
        ),
        noise=settings.noise,
    )
    if settings.statistics == "image":
        normalise_each_image(generator)
    return generator


def build_discriminator(settings: DiscriminatorSettings, channels: int) -> PatchDiscriminator:
    """A new discriminator with random weights for images of so many channels."""
    instance = settings.norm == "instance"
    discriminator = PatchDiscriminator(channels, settings.patch, settings.width, instance)
    if settings.statistics == "image":
        normalise_each_image(discriminator)
    return discriminator


def parameter_count(network: nn.Module) -> int:
    """The number of trained weights."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
