"""Light and camera of the embedded facades: from surfaces with depth to a photograph.

The light falls along one direction on a relief: surfaces that face it are brighter, what stands
out casts a shadow, and recesses are darker.
"""

from dataclasses import dataclass

import numpy as np

from pix2pix.data.facades.elements import Dice
from pix2pix.data.facades.textures import fractal_noise, mix


class Canvas:
    """What the light sees. Pixels are those of the photo before it is halved.

    albedo: (H, W, 3) float32 in 0..1. relief: (H, W) float32, how far a surface stands out, in
    fractions of the image. matte: (H, W) float32, 1 for a lit surface, 0 for one that shines by
    itself (sky, a lit room). unit: pixels of the whole image.
    """

    def __init__(
        self, albedo: np.ndarray, relief: np.ndarray, matte: np.ndarray, unit: int
    ) -> None:
        self.albedo, self.relief, self.matte, self.unit = albedo, relief, matte, unit
        self.height, self.width = relief.shape

    @classmethod
    def blank(cls, size: int) -> "Canvas":
        plane = np.zeros((size, size), np.float32)
        return cls(np.zeros((size, size, 3), np.float32), plane, np.ones_like(plane), size)

    def cut(self, x0: int, y0: int, x1: int, y1: int) -> "Canvas":
        """A copy of a box, to draw on."""
        box = np.s_[y0:y1, x0:x1]
        albedo, relief, matte = (p[box].copy() for p in (self.albedo, self.relief, self.matte))
        return Canvas(albedo, relief, matte, self.unit)

    def paste(self, patch: "Canvas", x0: int, y0: int, mask: np.ndarray) -> None:
        box = np.s_[y0 : y0 + patch.height, x0 : x0 + patch.width]
        np.copyto(self.albedo[box], patch.albedo, where=mask[..., None])
        np.copyto(self.relief[box], patch.relief, where=mask)
        np.copyto(self.matte[box], patch.matte, where=mask)

    def pixels(self, share: float, least: int = 1) -> int:
        """A length in fractions of the image in pixels."""
        return max(int(share * self.unit + 0.5), least)

    def fill(
        self,
        x0: int,
        y0: int,
        x1: int,
        y1: int,
        albedo: np.ndarray,
        relief: float | None = None,
        matte: float = 1.0,
    ) -> None:
        """Paint a box, cut off at the edges; an empty box paints nothing."""
        box = np.s_[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        self.albedo[box] = albedo
        self.matte[box] = matte
        if relief is not None:
            self.relief[box] = relief


@dataclass(frozen=True)
class Light:
    """Weather and time of day."""

    across: float  # pixels that the light moves to the right for one down
    slope: float  # depth lost for one pixel down: steep light casts short shadows
    sun: np.ndarray  # (3,) float32
    ambient: np.ndarray  # (3,) float32
    overcast: bool
    dusk: bool


def choose_light(dice: Dice) -> Light:
    weather = dice.pick(("sunny", "hazy", "overcast", "dusk"), (0.45, 0.25, 0.2, 0.1))
    strength, fill = {
        "sunny": (dice.between(0.5, 0.72), dice.between(0.4, 0.52)),
        "hazy": (dice.between(0.28, 0.42), dice.between(0.55, 0.68)),
        "overcast": (dice.between(0.06, 0.16), dice.between(0.72, 0.9)),
        "dusk": (dice.between(0.1, 0.3), dice.between(0.44, 0.56)),
    }[weather]
    warmth = dice.between(-0.02, 0.16 if weather == "sunny" else 0.08)
    cold = dice.between(0.0, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    shade = np.array([1 - cold, 1.0, 1 + cold], dtype=np.float32)
    return Light(
        across=dice.pick((-1.0, 1.0)) * dice.between(0.25, 1.1),
        slope=dice.between(0.5, 1.1),
        sun=tint * strength,
        ambient=shade * fill,
        overcast=weather == "overcast",
        dusk=weather == "dusk",
    )


def illuminate(canvas: Canvas, light: Light, veil: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: the canvas under the light; `veil` (H, W) in 0..1 keeps the sun off."""
    size = canvas.unit
    reach = max(size // 12, 4)
    padded = np.pad(canvas.relief, reach, mode="edge")

    def moved(down: int, right: int) -> np.ndarray:
        return padded[reach + down : reach + down + size, reach + right : reach + right + size]

    shadow = np.zeros_like(canvas.relief)
    stride = max(reach // 20, 1)
    for steps in range(1, reach + 1, stride):
        right = int(np.floor(-light.across * steps + 0.5))
        if abs(right) > reach:
            break
        drop = light.slope * steps / size + 0.0012
        np.maximum(shadow, (moved(-steps, right) - canvas.relief - drop) * 240.0, out=shadow)
    np.minimum(shadow, 1.0, out=shadow)

    near = 1 if light.across < 0 else -1
    facing = (canvas.relief - moved(-1, near)) + (canvas.relief - moved(-1, 0))
    facing = np.minimum(np.maximum(facing * (0.11 * size), -0.3), 0.35)

    wide, tight = max(size // 36, 2), max(size // 90, 1)
    around = np.zeros_like(canvas.relief)
    for radius in (tight, wide):
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1)):
            around += moved(down * radius, right * radius)
    hollow = np.minimum(np.maximum(around * (1 / 16) - canvas.relief, 0.0) * 26.0, 0.45)

    sunlit = (1.0 - shadow) * (1.0 - veil) * (1.0 + facing)
    diffuse = (1.0 - hollow) * (1.0 + facing * 0.35)
    lit = sunlit[..., None] * light.sun + diffuse[..., None] * light.ambient
    matte = canvas.matte[..., None]
    # What does not take light is still seen by less of it in the shade of its frame.
    own = (1.0 - 0.3 * shadow - 0.5 * hollow)[..., None]
    return canvas.albedo * (lit * matte + own * (1.0 - matte))


def choose_veil(dice: Dice, size: int) -> np.ndarray:
    """(size, size) float32 in 0..1: shade of the houses opposite or of a tree, or none."""
    kind = dice.pick(("none", "house", "tree"), (0.6, 0.25, 0.15))
    at = (np.arange(size, dtype=np.float32) + 0.5) * (1.0 / size)
    if kind == "house":
        level, lean = dice.between(0.35, 0.9), dice.between(-0.5, 0.5)
        ridge = at[:, None] - level - lean * (at[None] - 0.5)
        if dice.chance(0.5):  # a gap or a chimney between the roofs
            left = dice.between(0.0, 0.8)
            notch = (at[None] > left) & (at[None] < left + dice.between(0.1, 0.3))
            ridge = ridge + notch * np.float32(dice.between(-0.15, 0.15))
        return np.minimum(np.maximum(ridge * 60.0, 0.0), 1.0) * 0.9
    if kind == "tree":
        leaves = fractal_noise(dice, size, (5, 12, 26, 50))
        bias = dice.between(-0.5, 0.5) * (at[None] - 0.5) + 0.35 * (at[:, None] - 0.5)
        return np.minimum(np.maximum((leaves - 0.5 + bias) * 9.0, 0.0), 1.0) * 0.8
    return np.zeros((size, size), np.float32)


def expose(dice: Dice, scene: np.ndarray) -> np.ndarray:
    """(2S, 2S, 3) float32 radiance to (S, S, 3) uint8: lens, white balance, tone curve, grain."""
    size = scene.shape[0]
    if dice.chance(0.35):  # a soft lens
        padded = np.pad(scene, ((1, 1), (1, 1), (0, 0)), mode="edge")
        sideways = padded[:, :-2] * 0.25 + padded[:, 1:-1] * 0.5 + padded[:, 2:] * 0.25
        scene = sideways[:-2] * 0.25 + sideways[1:-1] * 0.5 + sideways[2:] * 0.25
    halved = (scene[::2, ::2] + scene[1::2, ::2] + scene[::2, 1::2] + scene[1::2, 1::2]) * 0.25

    at = (np.arange(size // 2, dtype=np.float32) + 0.5) * (4.0 / size) - 1.0
    away = at[:, None] * at[:, None] + at[None] * at[None]
    balance = [dice.between(0.95, 1.05) for _ in range(3)]
    gain = dice.between(1.1, 1.4) * (1.0 - dice.between(0.0, 0.1) * away)
    image = halved * gain[..., None] * np.array(balance, dtype=np.float32)
    image = np.minimum(np.maximum(image, 0.0), 1.3)
    image = image * (1.0 - image * image * 0.14)  # a shoulder, just below 1 at 1.3
    curved = image * image * (3.0 - 2.0 * image)
    image = mix(image, curved, dice.between(0.0, 0.45))
    noise = dice.between(0.004, 0.017)
    image = image + dice.grain(size // 2, size // 2, 1) * noise
    image = image + dice.grain(size // 2, size // 2, 3) * (noise * 0.4)
    return np.minimum(np.maximum(np.floor(image * 255.0 + 0.5), 0.0), 255.0).astype(np.uint8)
