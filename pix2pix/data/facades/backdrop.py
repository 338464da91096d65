"""What surrounds an embedded facade: sky, roof, neighbouring houses, pavement."""

import numpy as np

from pix2pix.data.facades.elements import Dice, Layout
from pix2pix.data.facades.light import Canvas, Light
from pix2pix.data.facades.textures import (
    WALL_COLOURS,
    colour,
    fractal_noise,
    masonry,
    mix,
    value_noise,
    varied,
)

SKIES = (  # zenith, horizon
    ((86, 132, 194), (176, 206, 232)),
    ((120, 164, 214), (206, 222, 234)),
    ((64, 104, 170), (150, 186, 222)),
)
GREY_SKIES = (((186, 192, 200), (222, 224, 226)), ((150, 158, 168), (196, 200, 204)))
DUSK_SKIES = (((58, 66, 104), (196, 140, 116)), ((44, 58, 92), (122, 128, 150)))


def paint_backdrop(canvas: Canvas, layout: Layout, light: Light, dice: Dice) -> None:
    """Paint the whole canvas; the facade goes over it."""
    _sky(canvas, light, dice)
    size = canvas.unit
    for left, right, side in ((0.0, layout.left, 1), (layout.right, 1.0, -1)):
        if right > left:
            _neighbour(canvas, dice, left, right, side)
    if dice.chance(0.55):
        _roof(canvas, layout, dice)
    bottom = int(layout.bottom * size + 0.5)
    _pavement(canvas, dice, bottom)


def _sky(canvas: Canvas, light: Light, dice: Dice) -> None:
    size = canvas.unit
    choices = DUSK_SKIES if light.dusk else GREY_SKIES if light.overcast else SKIES
    zenith, horizon = (varied(dice, rgb, 0.06) for rgb in dice.pick(choices))
    down = ((np.arange(size, dtype=np.float32) + 0.5) * (1.0 / size))[:, None, None]
    sky = mix(zenith, horizon, np.minimum(down * 2.2, 1.0))
    clouds = np.maximum(fractal_noise(dice, size, (3, 6, 12, 24)) - dice.between(0.4, 0.6), 0.0)
    cover = np.minimum(clouds * 4.0, 0.85)[..., None]
    white = colour((236, 236, 238)) * (0.6 if light.dusk else 1.0)
    canvas.albedo[:] = mix(np.broadcast_to(sky, canvas.albedo.shape), white, cover)
    canvas.matte[:] = 0.0
    canvas.relief[:] = -0.02


def _neighbour(canvas: Canvas, dice: Dice, left: float, right: float, side: int) -> None:
    """Another house, or a tree, set back from ours."""
    size = canvas.unit
    x0, x1 = int(left * size + 0.5), int(right * size + 0.5)
    top = int(dice.between(-0.2, 0.5) * size)
    if dice.chance(0.2):
        _foliage(canvas, dice, x0, x1, max(top, size // 5))
        return
    base = varied(dice, dice.pick(WALL_COLOURS[dice.pick(tuple(WALL_COLOURS))])) * 0.82
    rough = fractal_noise(dice, size, (12, 40))[max(top, 0) :, x0:x1, None]
    canvas.fill(x0, top, x1, size, base * (0.8 + 0.4 * rough), relief=-0.03)
    canvas.fill(x0, top, x1, top + size // 60 + 1, base * 1.15, relief=-0.02)
    pitch, tall = dice.between(0.12, 0.2), dice.between(0.06, 0.1)
    offset, glass = dice.between(0.03, 0.1), colour((58, 66, 76))
    edge = x0 if side < 0 else x1
    wide = int(size * 0.05)
    centre = edge - side * int(size * dice.between(0.05, 0.08))
    for number in range(8):
        y, shine = top + int((offset + number * pitch) * size), dice.between(0.7, 1.5)
        box = (max(centre - wide // 2, x0), y, min(centre + wide // 2, x1), y + int(tall * size))
        if box[2] > box[0]:
            rim = canvas.pixels(0.006)
            canvas.fill(x0, box[3], x1, box[3] + rim, base * 0.85)
            canvas.fill(max(box[0] - rim, x0), y - rim, box[2] + rim, box[3], base * 1.2)
            canvas.fill(*box, glass * shine, relief=-0.038, matte=0.5)


def _foliage(canvas: Canvas, dice: Dice, x0: int, x1: int, top: int) -> None:
    size = canvas.unit
    leaves = fractal_noise(dice, size, (14, 30, 60))
    green = mix(colour((44, 62, 30)), colour((128, 146, 72)), leaves[..., None])
    down = (np.arange(size, dtype=np.float32) * (1.0 / size))[:, None]
    crown = (leaves + (down - top / size) * 3.0) > 0.5
    crown[:, :x0] = False
    crown[:, x1:] = False
    canvas.albedo[crown] = green[crown]
    canvas.matte[crown] = 1.0
    canvas.relief[crown] = (leaves[crown] - 1.0) * 0.02


def _roof(canvas: Canvas, layout: Layout, dice: Dice) -> None:
    """Tiles or slate above the eaves, and chimneys."""
    size = canvas.unit
    x0, x1 = int(layout.left * size + 0.5), int(layout.right * size + 0.5)
    eaves = int(layout.top * size + 0.5)
    ridge = eaves - int(dice.between(0.03, 0.1) * size)
    base = varied(dice, dice.pick(((148, 78, 56), (92, 92, 98), (112, 84, 70), (70, 74, 84))))
    for _ in range(dice.whole(0, 3)):
        x = x0 + int(dice.between(0.05, 0.9) * (x1 - x0))
        stack = colour(dice.pick(((138, 82, 66), (170, 160, 146))))
        rise, wide = int(dice.between(0.02, 0.05) * size), int(dice.between(0.02, 0.04) * size)
        canvas.fill(x, max(ridge - rise, 0), x + wide, eaves, stack, relief=-0.02)
    course = dice.between(0.009, 0.014)
    tone, joints = masonry(dice, size, course, course * 1.2, course * 0.25)
    tiles = base * (np.where(joints, np.float32(0.7), 0.85 + 0.3 * tone))[..., None]
    ridge = max(ridge, 0)
    canvas.fill(x0, ridge, x1, eaves, tiles[ridge:eaves, x0:x1], relief=-0.008)


def _pavement(canvas: Canvas, dice: Dice, top: int) -> None:
    size = canvas.unit
    base = varied(dice, dice.pick(((150, 146, 140), (120, 118, 116), (168, 158, 144))))
    speckle = value_noise(dice, size, 180, 180)[top:, :, None]
    canvas.fill(0, top, size, size, base * (0.82 + 0.3 * speckle), relief=0.0)
    joint, pitch = canvas.pixels(0.003), canvas.pixels(dice.between(0.05, 0.12))
    for x in range(int(dice.between(0, 1) * pitch), size, pitch):
        canvas.fill(x, top, x + joint, size, base * 0.66)
    kerb = top + canvas.pixels(dice.between(0.02, 0.05))
    canvas.fill(0, kerb, size, kerb + joint * 2, base * 1.15)
    road = colour((84, 84, 88)) * (0.85 + 0.3 * speckle)
    kerb += joint * 2
    if kerb < size:
        canvas.fill(0, kerb, size, size, road[kerb - top :])
