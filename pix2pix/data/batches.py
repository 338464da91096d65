"""Batches for training: random order, jitter and mirroring (Appendix 6.2), exactly resumable."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2pix.common.errors import UserError
from pix2pix.data.tasks import SCALE


def to_float(images: Tensor) -> Tensor:
    """(N, H, W, C) uint8, or int16 of `tasks.to_lab`, to (N, C, H, W) float32 in [-1, 1]."""
    if images.dtype == torch.int16:
        return images.permute(0, 3, 1, 2).to(torch.float32).div_(SCALE)
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """(N, C, H, W) float in [-1, 1] to (N, H, W, C) uint8, rounded to the nearest value."""
    scaled = images.detach().add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1)


class Batches:
    """An endless stream of training batches; every epoch is a new permutation of the pairs.

    The pairs stay uint8 in memory (or in a memory-mapped file), or on the device if it has room for
    them. Jitter (enlarging by `jitter`, bilinear, and cropping back at random) and mirroring are
    drawn per pair and run on the batch.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        *,
        batch: int,
        jitter: float,
        mirror: bool,
        seed: int,
        device: torch.device,
        interpolation: str = "bilinear",
        replacement: bool = False,
    ) -> None:
        """
        Args:
            inputs, targets: (N, H, W, C), both uint8 or both int16; N at least 1.
            interpolation: of the enlarging, `bilinear` or `bicubic`.
            replacement: N pairs are drawn with replacement, in the place of a permutation.
        """
        self.batch = batch
        self.jitter = jitter
        self.mirror = mirror
        self.interpolation = interpolation
        self.replacement = replacement
        self.device = device
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs, self.targets = self._place(inputs), self._place(targets)
        self.order = self._draw(len(inputs))
        self.position = 0

    def _draw(self, count: int) -> Tensor:
        if self.replacement:
            return torch.randint(count, (count,), generator=self.generator)
        return torch.randperm(count, generator=self.generator)

    def _place(self, images: np.ndarray) -> Tensor | np.ndarray:
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if images.nbytes < free // 4:
                return torch.from_numpy(np.array(images)).to(self.device)
        return images

    def _take(self, images: Tensor | np.ndarray, chosen: Tensor) -> Tensor:
        if isinstance(images, Tensor):
            # Views: sending indices to the device would make the host wait.
            return torch.cat([images[i : i + 1] for i in chosen.tolist()])
        pairs = torch.from_numpy(images[chosen.numpy()])
        if self.device.type == "cuda":  # a copy from pageable memory makes the host wait
            pairs = pairs.pin_memory()
        return pairs.to(self.device, non_blocking=True)

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (n, C, H, W) float32 in [-1, 1]; n < batch ends an epoch."""
        if self.position >= len(self.order):
            self.order = self._draw(len(self.order))
            self.position = 0
        chosen = self.order[self.position : self.position + self.batch]
        self.position += len(chosen)
        x, y = self._take(self.inputs, chosen), self._take(self.targets, chosen)
        channels = x.shape[-1]
        pair = self._augment(to_float(torch.cat((x, y), dim=-1)))
        return pair[:, :channels], pair[:, channels:]

    def _augment(self, pair: Tensor) -> Tensor:
        height, width = pair.shape[-2:]
        large = round(height * self.jitter), round(width * self.jitter)
        if large != (height, width):
            count, span = len(pair), (large[0] - height + 1, large[1] - width + 1)
            tops = torch.randint(span[0], (count,), generator=self.generator).tolist()
            lefts = torch.randint(span[1], (count,), generator=self.generator).tolist()
            enlarged = F.interpolate(pair, large, mode=self.interpolation, align_corners=False)
            if self.interpolation == "bicubic":  # which overshoots at edges
                enlarged = enlarged.clamp(-1, 1)
            crops = [
                image[:, top : top + height, left : left + width]
                for image, top, left in zip(enlarged, tops, lefts, strict=True)
            ]
            pair = torch.stack(crops)
        if self.mirror:
            flips = torch.rand(len(pair), generator=self.generator) < 0.5
            turned = [
                image.flip(-1) if flip else image
                for image, flip in zip(pair, flips.tolist(), strict=True)
            ]
            pair = torch.stack(turned)
        return pair.contiguous()

    def state_dict(self) -> dict[str, Any]:
        """All that the next batches depend on, for exact resume."""
        return {
            "generator": self.generator.get_state(),
            "order": self.order,
            "position": self.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken, on the same pairs."""
        self.generator.set_state(state["generator"])
        self.order = state["order"]
        self.position = state["position"]


class UnpairedBatches(Batches):
    """Batches of images that do not belong together: each side is drawn, cropped and mirrored by
    itself, in an order of its own. Every batch is full; an order that ends is followed by another.

    Where there are as many inputs as targets they may be pairs, so their orders are drawn such that
    the two of a pair never stand at the same place of a batch.
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, **options: Any) -> None:
        """As `Batches`; the two may be of different lengths. UserError for a single pair."""
        if len(inputs) == len(targets) == 1:
            raise UserError("a single pair cannot be drawn unpaired: give more images")
        super().__init__(inputs, targets, **options)
        self.other = self._order_beside(len(targets))
        self.other_position = 0

    def _order_beside(self, count: int) -> Tensor:
        """An order of the targets, given that of the inputs."""
        order = self._draw(count)
        if count == len(self.order):
            for index in (order == self.order).nonzero().flatten().tolist():
                if order[index] == self.order[index]:  # the swap before may have parted them
                    beside = (index + 1) % count
                    order[[index, beside]] = order[[beside, index]]
        return order

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (batch, C, H, W) float32 in [-1, 1]."""
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(self.batch):
            if self.position >= len(self.order):
                self.order, self.position = self._draw(len(self.order)), 0
            if self.other_position >= len(self.other):
                self.other, self.other_position = self._order_beside(len(self.other)), 0
            chosen[0].append(self.order[self.position])
            chosen[1].append(self.other[self.other_position])
            self.position += 1
            self.other_position += 1
        sides = zip((self.inputs, self.targets), chosen, strict=True)
        x, y = (self._augment(to_float(self._take(s, torch.stack(c)))) for s, c in sides)
        return x, y

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "other": self.other,
            "other_position": self.other_position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.other, self.other_position = state["other"], state["other_position"]
