"""Walls and what is built on them: the embedded facades' wall, molding, pillar, deco, cornice,
sill and balcony.

A painter draws on a patch of the canvas as large as its element's box.
"""

import numpy as np

from pix2pix.data.facades.elements import Dice, Element, Layout, shape_mask
from pix2pix.data.facades.light import Canvas
from pix2pix.data.facades.style import Style
from pix2pix.data.facades.textures import (
    colour,
    mix,
    rusticated,
    value_noise,
    varied,
    wall,
    weathering,
)


def paint_wall(canvas: Canvas, layout: Layout, style: Style, dice: Dice) -> None:
    """The whole wall, with its stains, before anything stands on it."""
    size = canvas.unit
    surface = wall(dice, size, style.material, style.wall)
    albedo, relief = surface.albedo, surface.relief
    ground = int(layout.ground * size + 0.5)
    if dice.chance(0.5):
        base = style.trim if dice.chance(0.5) else style.wall * dice.between(0.65, 0.95)
        lower = rusticated(dice, size, base)
        albedo[ground:], relief = lower.albedo[ground:], relief.copy()
        relief[ground:] = lower.relief[ground:]
    if style.material != "boards" and dice.chance(0.25):
        _quoins(albedo, relief, layout, style, dice, size)
    if dice.chance(0.3):
        _drainpipe(albedo, relief, layout, style, dice, size)
    plinth = int((layout.bottom - dice.between(0.015, 0.05)) * size)
    albedo[plinth:] = mix(albedo[plinth:], colour((112, 106, 100)), 0.75)
    albedo *= weathering(dice, size)[..., None]
    _rain_marks(albedo, layout, dice, size)
    for element in layout.elements:
        if element.kind == "facade":
            x0, y0, x1, y1 = (2 * v for v in element.pixels(size // 2))
            mask = shape_mask(element.shape, y1 - y0, x1 - x0)
            patch = Canvas(
                albedo[y0:y1, x0:x1],
                relief[y0:y1, x0:x1],
                np.ones((y1 - y0, x1 - x0), np.float32),
                size,
            )
            canvas.paste(patch, x0, y0, mask)


def _quoins(
    albedo: np.ndarray, relief: np.ndarray, layout: Layout, style: Style, dice: Dice, size: int
) -> None:
    """Cornerstones, long and short in turn."""
    left, right = int(layout.left * size + 0.5), int(layout.right * size + 0.5)
    pitch = dice.between(0.025, 0.035)
    for number in range(int((layout.bottom - layout.top) / pitch)):
        y0 = int((layout.top + number * pitch) * size)
        y1 = int((layout.top + (number + 1) * pitch) * size) - max(size // 200, 1)
        wide = int((0.034 if number % 2 else 0.02) * size)
        stone = varied(dice, (255, 255, 255), 0.06) * style.trim
        for x0, x1 in ((left, left + wide), (right - wide, right)):
            albedo[y0:y1, x0:x1] = stone
            relief[y0:y1, x0:x1] = 0.004


def _drainpipe(
    albedo: np.ndarray, relief: np.ndarray, layout: Layout, style: Style, dice: Dice, size: int
) -> None:
    near = dice.between(0.006, 0.014)
    x = layout.left + near if dice.chance(0.5) else layout.right - near - 0.007
    x0, y0, wide = int(x * size), int(layout.top * size), max(int(0.007 * size), 1)
    albedo[y0:, x0 : x0 + wide] = dice.pick((style.iron * 1.8, style.trim * 0.85))
    relief[y0:, x0 : x0 + wide] = 0.01


def _rain_marks(albedo: np.ndarray, layout: Layout, dice: Dice, size: int) -> None:
    """Dirt washed down from sills and balconies."""
    strength = dice.between(0.0, 0.4)
    runs = value_noise(dice, size, 3, 150)
    fade = (1.0 - (np.arange(size, dtype=np.float32) + 0.5) * (1.0 / size)) * strength
    length = int(dice.between(0.03, 0.09) * size)
    for element in layout.elements:
        if element.kind in ("sill", "balcony", "molding"):
            x0, _, x1, y0 = (2 * v for v in element.pixels(size // 2))
            y1 = min(y0 + length, size)
            share = fade[:: max(size // max(length, 1), 1)][: y1 - y0]
            y1 = y0 + len(share)
            albedo[y0:y1, x0:x1] *= (1.0 - share[:, None] * runs[y0:y1, x0:x1])[..., None]


def _stone(patch: Canvas, base: np.ndarray, dice: Dice) -> np.ndarray:
    """(H, W, 3): slightly speckled."""
    return base * (0.92 + 0.14 * dice.fork().table(patch.height, patch.width, 1))


def paint_molding(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """Horizontal layers, each farther out than the one below."""
    patch.albedo[:] = _stone(patch, style.trim, dice)
    patch.matte[:] = 1.0
    high, wide = patch.height, patch.width
    for row in range(high):
        share = row / max(high - 1, 1)
        step = 0.016 if share < 0.3 else 0.011 if share < 0.62 else 0.006
        patch.relief[row] = step
        patch.albedo[row] *= 1.06 if share < 0.3 else 0.94 if share < 0.62 else 1.0
    if style.dentils and high >= 6:
        pitch = patch.pixels(0.016, 4)
        for x in range(0, wide, pitch):
            patch.fill(x, high // 2, x + pitch // 2, high * 4 // 5, style.trim * 0.62, 0.0)


def paint_pillar(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A half column, or a flat pilaster, with base and capital."""
    high, wide = patch.height, patch.width
    across = (np.arange(wide, dtype=np.float32) + 0.5) * (2.0 / wide) - 1.0
    bulge = np.sqrt(np.maximum(1.0 - across * across, 0.0))
    patch.albedo[:] = _stone(patch, style.trim, dice) * (0.82 + 0.2 * bulge)[None, :, None]
    patch.matte[:] = 1.0
    patch.relief[:] = 0.004 + bulge * 0.012
    if style.fluted and wide >= 6:
        patch.albedo[:, 1:-1:3] *= 0.78
    cap = patch.pixels(0.016, 2)
    patch.fill(0, 0, wide, cap, style.trim * 1.04, 0.02)
    patch.fill(0, cap, wide, cap + 1, style.trim * 0.6, 0.006)
    patch.fill(0, high - cap, wide, high, style.trim * 0.94, 0.018)


def paint_deco(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """An ornament: concentric rings, coloured tiles, or foliage in relief."""
    high, wide = patch.height, patch.width
    x = ((np.arange(wide, dtype=np.float32) + 0.5) * (2.0 / wide) - 1.0)[None]
    y = ((np.arange(high, dtype=np.float32) + 0.5) * (2.0 / high) - 1.0)[:, None]
    patch.matte[:] = 1.0
    patch.relief[:] = 0.004
    if style.ornament == "tiles":
        # Nested lozenges in two colours.
        distance = (np.abs(x) + np.abs(y)) * 2.0
        odd = (np.floor(distance + 0.25) % 2.0)[..., None]
        patch.albedo[:] = mix(style.glaze, style.trim, odd)
    elif style.ornament == "rings":
        distance = np.sqrt(x * x + y * y) * 1.55
        ring = np.abs(distance - np.floor(distance) - 0.5) * 2.0
        patch.relief[:] = 0.002 + ring * 0.007
        patch.albedo[:] = mix(style.glaze * 0.85, style.trim * 1.05, (0.3 + 0.7 * ring)[..., None])
    else:
        leaf = dice.table(5, 5)
        leaf = np.concatenate([leaf, leaf[:, ::-1]], axis=1)  # ornaments are symmetrical
        rows, columns = np.arange(high) * 5 // high, np.arange(wide) * 10 // wide
        bumps = leaf[rows[:, None], columns[None]] * (1.2 - np.abs(y) * 0.7)
        patch.relief[:] = 0.002 + bumps * 0.009
        patch.albedo[:] = mix(style.glaze * 0.8, style.trim * 1.1, bumps[..., None])
    if element.shape == "box":
        rim = patch.pixels(0.004)
        for box in (
            (0, 0, wide, rim),
            (0, high - rim, wide, high),
            (0, 0, rim, high),
            (wide - rim, 0, wide, high),
        ):
            patch.fill(*box, style.trim, 0.008)  # type: ignore[call-arg]


def paint_cornice(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A hood over an opening: layers that step out upwards, with a field in a pediment."""
    high, wide = patch.height, patch.width
    patch.albedo[:] = _stone(patch, style.trim, dice)
    patch.matte[:] = 1.0
    patch.relief[:] = 0.014
    lip = max(high // 3, 1)
    if element.shape == "box":
        patch.albedo[:lip] *= 1.08
        patch.relief[:lip] = 0.022
        patch.albedo[lip:] *= 0.9
        return
    rim = max(high // 4, 1)
    if high <= 2 * rim or wide <= 4 * rim:  # too small for a field
        return
    field = shape_mask(element.shape, high - 2 * rim, wide - 4 * rim)
    inner = np.s_[rim : rim + field.shape[0], 2 * rim : 2 * rim + field.shape[1]]
    patch.relief[inner][field] = 0.004
    patch.albedo[inner][field] *= 0.76


def paint_sill(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A slab that throws the rain off the wall."""
    patch.albedo[:] = _stone(patch, style.trim, dice)
    patch.matte[:] = 1.0
    patch.relief[:] = 0.016
    edge = max(patch.height // 2, 1)
    patch.albedo[:edge] *= 1.1
    patch.albedo[edge:] *= 0.84


def paint_balcony(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A slab and a railing; behind bars one sees the wall and the window."""
    high, wide = patch.height, patch.width
    slab = min(patch.pixels(0.016, 2), high)
    reach = 0.034
    rail = patch.pixels(0.005)
    if style.railing == "bars":
        thick, pitch = patch.pixels(0.0028), patch.pixels(0.0115, 3)
        for x in range(0, wide, pitch):
            patch.fill(x, 0, x + thick, high - slab, style.iron, reach)
        patch.fill(0, high - slab - rail * 2, wide, high - slab - rail, style.iron, reach)
        patch.fill(0, 0, wide, rail, style.iron * 1.15, reach)
    elif style.railing == "balusters":
        patch.fill(0, 0, wide, high - slab, style.trim * 0.42, 0.02)
        pitch = patch.pixels(0.0155, 4)
        body = max(pitch * 5 // 8, 2)
        across = (np.arange(body, dtype=np.float32) + 0.5) * (2.0 / body) - 1.0
        round_ = 0.8 + 0.24 * np.sqrt(1.0 - across * across)
        post = style.trim * round_[None, :, None]
        for x in range(0, wide - body + 1, pitch):
            patch.fill(x, rail, x + body, high - slab, post, reach)
        patch.fill(0, 0, wide, rail * 2, style.trim * 1.06, reach + 0.004)
    else:
        panel = mix(style.wall, style.trim, 0.5)
        patch.fill(0, 0, wide, high - slab, panel * 0.95, reach)
        patch.fill(0, 0, wide, rail, style.iron, reach + 0.004)
        for x in range(0, wide, patch.pixels(0.05, 6)):
            patch.fill(x, rail, x + 1, high - slab, panel * 0.7, reach - 0.004)
    patch.fill(0, high - slab, wide, high, _stone(patch, style.trim, dice)[:slab], reach + 0.002)
    patch.fill(0, high - max(slab // 3, 1), wide, high, style.trim * 0.7, reach - 0.006)
