"""Canvas, looks and light of the embedded facades: from surfaces with depth to a photograph."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pix2pix.data.facades.layout import Dice, shape_mask

# Strengths of the sun and of the sky's light; colours of zenith and horizon; dusk or not.
WEATHERS = (
    ((0.5, 0.72), (0.4, 0.52), "5684c2 406caa", "b0cee8 c0daf0", False),  # sunny
    ((0.28, 0.42), (0.55, 0.68), "78a4d6 8cb0d8", "cedeea d8e4ee", False),  # hazy
    ((0.06, 0.16), (0.72, 0.9), "bac0c8 969ea8", "dee0e2 c4c8cc", False),  # overcast
    ((0.1, 0.3), (0.44, 0.56), "3a4268 2c3a5c", "c48c74 7a8096", True),
)
WALLS = {
    "brick": "8e4434 a0583e 763a32 b27a52 bea076 623e3a",
    "stone": "b0a692 98988e c4b698 8e8272 ba9e86",
    "boards": "d6d0c4 88989e a08062 7c8a74",
    "plaster": "d6c49e ceb284 c4baac caa48c debb5c cc8068 80a0b2 96b28e e2d6c8 d49896 788498",
}
TRIMS = "e8e2d4 e8e2d4 d6ccb6 d6ccb6 b2aca2 8a705a f4f2ee f4f2ee 6c6866"
FRAMES = "eeece6 eeece6 ececee 5c3a26 304234 343438 7e5434 46586c"
PAINTS = "3a5c46 703a2c 40567c 583e2e 889094 ceccc4 7a2c30 4e6c70 a88e5e"


@dataclass
class Patch:
    """A box of the picture, to paint on; patch[y0:y1, x0:x1] is a smaller one. float32 planes."""

    unit: int  # pixels of the whole image
    y: np.ndarray  # (H, 1) in fractions of the image
    x: np.ndarray  # (W,)
    mask: np.ndarray  # (H, W) bool: where fill() paints
    albedo: np.ndarray  # (H, W, 3) in 0..1
    relief: np.ndarray  # (H, W): how far a surface stands out, in fractions of the image
    matte: np.ndarray  # (H, W): 1 for a lit surface, 0 for one that shines by itself

    def __post_init__(self) -> None:
        self.height, self.width = self.mask.shape

    def __getitem__(self, box: slice | tuple[slice, slice]) -> "Patch":
        rows, columns = box if isinstance(box, tuple) else (box, slice(None))
        planes = (p[rows, columns] for p in (self.mask, self.albedo, self.relief, self.matte))
        return Patch(self.unit, self.y[rows], self.x[columns], *planes)

    def inside(self, margin: int) -> "Patch":
        return self[margin : self.height - margin, margin : self.width - margin]

    def shaped(self, shape: str) -> "Patch":
        return replace(self, mask=self.mask & shape_mask(shape, self.height, self.width))

    def cells(self, rows: int, columns: int, gap: int) -> "Iterator[Patch]":
        """The cells of a grid, line by line, each smaller by a gap on all sides."""
        for row, column in np.ndindex(rows, columns):
            down = slice(self.height * row // rows, self.height * (row + 1) // rows)
            across = slice(self.width * column // columns, self.width * (column + 1) // columns)
            yield self[down, across].inside(gap)

    def pixels(self, share: float, least: int = 1) -> int:
        """A length in fractions of the image in pixels."""
        return max(int(share * self.unit + 0.5), least)

    def fill(self, albedo: np.ndarray, relief: np.ndarray | float, matte: float = 1.0) -> None:
        np.copyto(self.albedo, albedo, where=self.mask[..., None])
        np.copyto(self.relief, relief, where=self.mask)
        np.copyto(self.matte, matte, where=self.mask)


def ramp(count: int) -> np.ndarray:
    """(count,) float32: pixel centres in 0..1."""
    return (np.arange(count, dtype=np.float32) + 0.5) / count


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """a where share is 0, b where it is 1."""
    return a + (b - a) * share


def tint(dice: Dice, colours: str, spread: float = 0.08) -> np.ndarray:
    """(3,) float32 in 0..1: one of the colours ("8e4434 a0583e"), varied at random."""
    rgb = np.frombuffer(bytes.fromhex(dice.pick(colours.split())), np.uint8)
    scales = 1.0 + spread * (dice.table(3) - 0.5 + dice.between(-1.0, 1.0))
    return np.minimum(rgb.astype(np.float32) * scales * np.float32(1 / 255), 1.0)


def noise(dice: Dice, patch: Patch, *cells: int, stretch: int = 1) -> np.ndarray:
    """(H, W) float32 in 0..1, about 0.5: random lattices over the image, smoothly interpolated.

    `cells` from top to bottom, `stretch` times as many across; each weighs less than the last.
    """
    total, weight = np.zeros(patch.mask.shape, np.float32), 1.0
    for count in cells:
        lattice = dice.table(count + 1, count * stretch + 1)
        for at in (patch.x * (count * stretch), patch.y[:, 0] * count):
            # First across, then, turned over, down.
            share = at - np.floor(at)
            share = share * share * (3.0 - 2.0 * share)
            low, high = (lattice.T.take(at.astype(np.intp) + step, axis=0) for step in (0, 1))
            lattice = mix(low, high, share[:, None])
        total += lattice * weight
        weight *= 0.6
    return total * (0.4 / (1.0 - weight))


class Looks:
    """What the label map leaves open: (3,) float32 colours in 0..1, lengths, shares of windows."""

    def __init__(self, dice: Dice) -> None:
        sun, ambient, zenith, horizon, dusk = WEATHERS[dice.pick((0, 0, 0, 0, 1, 1, 1, 2, 2, 3))]
        # Pixels that the light moves to the right for one down; depth lost for one pixel down.
        self.across = dice.pick((-1.0, 1.0)) * dice.between(0.25, 1.1)
        self.slope = dice.between(0.5, 1.1)
        self.sun = tint(dice, "fff4e4 fff0d0 ffffff") * dice.between(*sun)
        self.ambient = tint(dice, "f0f4ff e0ecff") * dice.between(*ambient)
        self.zenith, self.horizon = tint(dice, zenith), tint(dice, horizon)
        self.material = dice.pick({"brick": 34, "stone": 18, "plaster": 40, "boards": 8})
        self.wall, self.trim = tint(dice, WALLS[self.material]), tint(dice, TRIMS)
        if np.abs(self.trim - self.wall).max() < 0.14:  # else lost on the wall
            self.trim = self.trim * 0.7
        self.shutter, self.door, self.ornament = (tint(dice, PAINTS) for _ in range(3))
        self.frame, self.iron = tint(dice, FRAMES), tint(dice, "26262a 343230 404c46")
        self.panes = dice.pick(((1, 1), (1, 2), (2, 2), (2, 1), (3, 2), (4, 3)))  # down, across
        self.bar, self.recess = dice.between(0.004, 0.008), dice.between(0.008, 0.02)
        self.surround, self.balusters, self.rings = (dice.chance(0.4) for _ in range(3))
        self.lit = dice.between(0.25, 0.7) if dusk else dice.between(0.0, 0.08)
        self.curtained, self.reflecting = dice.between(0.05, 0.5), dice.between(0.1, 0.8)


def illuminate(canvas: Patch, looks: Looks, veil: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: the canvas under the light; `veil` (H, W) in 0..1 keeps the sun off."""
    size, relief = canvas.unit, canvas.relief
    reach = max(size // 16, 4)
    padded = np.pad(relief, reach, mode="edge")

    def moved(down: int, right: int) -> np.ndarray:
        return padded[reach + down : reach + down + size, reach + right : reach + right + size]

    shadow = np.zeros_like(relief)
    for steps in range(1, reach + 1, max(reach // 16, 1)):
        right = min(max(int(np.floor(-looks.across * steps + 0.5)), -reach), reach)
        drop = looks.slope * steps / size + 0.0012
        np.maximum(shadow, moved(-steps, right) - (relief + drop), out=shadow)
    shadow = np.minimum(shadow * 240.0, 1.0)
    near = moved(-1, 0) + moved(-1, 1 if looks.across < 0 else -1)
    facing = np.clip((relief * 2.0 - near) * (0.11 * size), -0.3, 0.35)

    sunlit = (1.0 - shadow) * (1.0 - veil) * (1.0 + facing)
    lit = sunlit[..., None] * looks.sun + (1.0 + facing * 0.35)[..., None] * looks.ambient
    # What shines by itself is still seen by less of it in the shade of its frame.
    own = (1.0 - 0.3 * shadow)[..., None]
    return canvas.albedo * mix(own, lit, canvas.matte[..., None])


def choose_veil(dice: Dice, canvas: Patch) -> np.ndarray:
    """(H, W) float32 in 0..1: shade of a house opposite or, ragged, of a tree; or none."""
    ragged = dice.pick({0.0: 25, 1.6: 15, -1.0: 60})
    if ragged < 0:
        return np.zeros_like(canvas.relief)
    edge = canvas.y - dice.between(0.35, 0.9) + dice.between(-0.5, 0.5) * (canvas.x - 0.5)
    edge = edge + (noise(dice, canvas, 5, 12, 26, 50) - 0.5) * ragged
    return np.clip(edge * (60.0 - 30.0 * ragged), 0.0, 0.85)


def expose(dice: Dice, scene: np.ndarray) -> np.ndarray:
    """(2S, 2S, 3) float32 radiance to (S, S, 3) uint8: white balance, tone curve, grain."""
    halved = (scene[::2, ::2] + scene[1::2, ::2] + scene[::2, 1::2] + scene[1::2, 1::2]) * 0.25
    gain = (dice.table(3) * 0.1 + 0.95) * dice.between(1.05, 1.35)
    image = np.clip(halved * gain, 0.0, 1.3)
    image = image * (1.0 - image * image * 0.14)  # a shoulder, just below 1 at 1.3
    image = mix(image, image * image * (3.0 - 2.0 * image), dice.between(0.0, 0.45))
    noise = dice.table(*image.shape[:2], 1) + dice.table(*image.shape) - 1.0
    image = image + noise * dice.between(0.01, 0.04)
    return np.clip(np.floor(image * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)
