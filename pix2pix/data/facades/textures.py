"""Surfaces of the embedded facades: noise, masonry, walls. IEEE-exact elementwise arithmetic only.

Textures are functions of the position in the image, so a surface looks the same at every size.
"""

from dataclasses import dataclass

import numpy as np

from pix2pix.data.facades.elements import Dice

WALL_COLOURS = {
    "brick": (
        (142, 68, 52),
        (160, 88, 62),
        (118, 58, 50),
        (178, 122, 82),
        (190, 160, 118),
        (98, 62, 58),
    ),
    "stone": ((176, 166, 146), (158, 152, 142), (196, 182, 152), (142, 130, 114), (186, 158, 134)),
    "plaster": (
        (214, 196, 158),
        (206, 178, 132),
        (196, 186, 172),
        (202, 164, 140),
        (172, 178, 168),
        (220, 210, 192),
        (186, 150, 118),
    ),
    "painted": (
        (222, 184, 92),
        (204, 128, 104),
        (128, 160, 178),
        (150, 178, 142),
        (226, 214, 200),
        (212, 152, 150),
        (170, 92, 78),
        (120, 132, 152),
    ),
    "boards": ((214, 208, 196), (136, 152, 158), (160, 128, 98), (124, 138, 116)),
}


@dataclass(frozen=True)
class Surface:
    """albedo (S, S, 3) float32 in 0..1 and relief (S, S) float32 in fractions of the image."""

    albedo: np.ndarray
    relief: np.ndarray


def colour(rgb: tuple[int, int, int], brightness: float = 1.0) -> np.ndarray:
    """(3,) float32 in 0..1 from 0..255."""
    return np.minimum(np.array(rgb, dtype=np.float32) * (brightness / 255.0), 1.0)


def varied(dice: Dice, rgb: tuple[int, int, int], spread: float = 0.08) -> np.ndarray:
    """A colour like `rgb`: brightness and each channel scaled at random."""
    tints = [dice.between(1 - spread / 2, 1 + spread / 2) for _ in range(3)]
    scaled = colour(rgb) * dice.between(1 - spread, 1 + spread) * np.array(tints, dtype=np.float32)
    return np.minimum(scaled, 1.0)


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """a where share is 0, b where it is 1."""
    return a + (b - a) * share


def value_noise(dice: Dice, size: int, down: int, across: int) -> np.ndarray:
    """(size, size) float32 in 0..1: a random lattice, smoothly interpolated."""
    lattice = dice.table(down + 1, across + 1)
    rows, row_share = _lattice_positions(size, down)
    columns, column_share = _lattice_positions(size, across)
    stripes = mix(lattice[rows], lattice[rows + 1], row_share[:, None])
    return mix(stripes[:, columns], stripes[:, columns + 1], column_share[None])


def _lattice_positions(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    position = (np.arange(size, dtype=np.float32) + 0.5) * (cells / size)
    cell = np.minimum(np.floor(position), cells - 1)
    share = position - cell
    return cell.astype(np.intp), share * share * (3.0 - 2.0 * share)


def fractal_noise(dice: Dice, size: int, cells: tuple[int, ...]) -> np.ndarray:
    """(size, size) float32 in 0..1, about 0.5: octaves of value noise, each half the last."""
    total, weight, sum_of_weights = np.zeros((size, size), np.float32), 1.0, 0.0
    for count in cells:
        total += value_noise(dice, size, count, count) * weight
        sum_of_weights += weight
        weight *= 0.6
    return total * (1.0 / sum_of_weights)


def masonry(
    dice: Dice, size: int, course: float, length: float, joint: float
) -> tuple[np.ndarray, np.ndarray]:
    """Running bond: (size, size) float32 tone of each block in 0..1, (size, size) bool joints.

    `course` and `length` are a block's height and length, `joint` the gap, in image fractions.
    """
    at = (np.arange(size, dtype=np.float32) + 0.5) * (1.0 / size)
    down = at * (1.0 / course)
    row = np.floor(down)
    across = np.stack([at, at + length / 2]) * (1.0 / length)
    column = np.floor(across)
    tones = dice.table(int(1 / course) + 2, int(1 / length) + 3)
    row_joint = (down - row) * course < joint
    column_joint = (across - column) * length < joint
    row = row.astype(np.intp)
    odd = row % 2
    tone = tones[row[:, None], column.astype(np.intp)[odd]]
    return tone, row_joint[:, None] | column_joint[odd]


def wall(dice: Dice, size: int, material: str, base: np.ndarray) -> Surface:
    """A wall of a material of WALL_COLOURS in a colour (3,), as large as the image."""
    rough = fractal_noise(dice, size, (8, 24, 64))
    if material == "brick":
        return _brick(dice, size, base, rough)
    if material == "stone":
        return _ashlar(dice, size, base, rough, dice.between(0.032, 0.05), 2.0)
    if material == "boards":
        return _boards(dice, size, base, rough)
    amplitude = 0.34 if material == "plaster" else 0.14
    fine = value_noise(dice, size, 128, 128)
    tone = 1.0 + (rough - 0.5) * amplitude + (fine - 0.5) * (amplitude / 2)
    return Surface(base * tone[..., None], (rough + fine - 1.0) * 0.0008)


def _brick(dice: Dice, size: int, base: np.ndarray, rough: np.ndarray) -> Surface:
    course = dice.between(0.0135, 0.021)
    tone, joints = masonry(dice, size, course, course * 2.9, course * 0.26)
    other = base * dice.between(0.6, 0.85)
    mortar = colour(dice.pick(((196, 186, 170), (150, 142, 132), (96, 88, 82))))
    bricks = mix(base * 1.12, other, (tone * tone)[..., None])
    bricks *= (0.86 + 0.28 * rough)[..., None]
    albedo = np.where(joints[..., None], mix(base, mortar, dice.between(0.45, 0.8)), bricks)
    return Surface(albedo, np.where(joints, np.float32(-0.0013), tone * 0.0004))


def _ashlar(
    dice: Dice, size: int, base: np.ndarray, rough: np.ndarray, course: float, aspect: float
) -> Surface:
    tone, joints = masonry(dice, size, course, course * aspect, 0.0036)
    shade = 0.9 + 0.16 * tone + (rough - 0.5) * 0.3
    albedo = base * np.where(joints, np.float32(0.8), shade)[..., None]
    return Surface(albedo, np.where(joints, np.float32(-0.0018), (rough - 0.5) * 0.002))


def _boards(dice: Dice, size: int, base: np.ndarray, rough: np.ndarray) -> Surface:
    course = dice.between(0.016, 0.024)
    down = (np.arange(size, dtype=np.float32) + 0.5) * (1.0 / (size * course))
    within = (down - np.floor(down))[:, None]
    grain = value_noise(dice, size, 160, 10)
    tone = 0.9 + 0.12 * grain + (rough - 0.5) * 0.12
    # Each board leans outwards towards its lower edge.
    relief = np.broadcast_to(within * 0.003, (size, size)).copy()
    return Surface(base * (tone - np.float32(0.2) * (within > 0.86))[..., None], relief)


def rusticated(dice: Dice, size: int, base: np.ndarray) -> Surface:
    """A ground floor in deep-jointed blocks."""
    rough = fractal_noise(dice, size, (16, 48))
    course = dice.between(0.032, 0.048)
    tone, joints = masonry(dice, size, course, course * dice.pick((2.2, 40.0)), 0.007)
    albedo = base * (0.9 + 0.1 * tone + (rough - 0.5) * 0.22)[..., None]
    return Surface(albedo, np.where(joints, np.float32(-0.006), np.float32(0.0)))


def weathering(dice: Dice, size: int) -> np.ndarray:
    """(size, size) float32 factor of a wall's albedo: stains, streaks, soot."""
    strength = dice.between(0.1, 0.45)
    stains = fractal_noise(dice, size, (3, 7, 15))
    streaks = value_noise(dice, size, 4, 90)
    height = ((np.arange(size, dtype=np.float32) + 0.5) * (1.0 / size))[:, None]
    soot = np.maximum(height - 0.72, 0.0) * 2.0 * stains
    dirt = np.maximum(stains - 0.42, 0.0) * 1.8 + streaks * stains * 0.55 + soot
    return np.maximum(1.0 - dirt * strength, 0.3)
