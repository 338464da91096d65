"""Openings of the embedded facades: window, blind, door and shop front.

A painter draws on a patch of the canvas as large as its element's box.
"""

import numpy as np

from pix2pix.data.facades.elements import Dice, Element, shape_mask
from pix2pix.data.facades.light import Canvas
from pix2pix.data.facades.style import Style
from pix2pix.data.facades.textures import colour, mix, varied

FABRICS = ((232, 228, 218), (214, 206, 190), (186, 118, 96), (150, 160, 172), (196, 180, 120))
SIGNS = (
    (150, 34, 36),
    (28, 64, 110),
    (34, 84, 56),
    (38, 36, 38),
    (196, 150, 42),
    (226, 222, 212),
    (98, 44, 78),
    (22, 104, 118),
)


def _ramp(count: int) -> np.ndarray:
    """(count,) float32: pixel centres in 0..1."""
    return (np.arange(count, dtype=np.float32) + 0.5) * (1.0 / count)


def _pane(style: Style, dice: Dice, high: int, wide: int, lit: float) -> tuple[np.ndarray, float]:
    """A pane (high, wide, 3) with what lies behind and what it mirrors, and its matte."""
    x, y = _ramp(wide)[None], _ramp(high)[:, None]
    if dice.chance(lit):
        warm = varied(dice, dice.pick(((255, 206, 128), (250, 222, 170), (240, 178, 96))))
        glow = (0.62 + 0.4 * y) * (1.0 - 0.35 * np.abs(x - dice.between(0.2, 0.8)))
        return _dressed(style, dice, warm * glow[..., None], warm), 0.0
    deep = varied(dice, dice.pick(((40, 46, 54), (54, 56, 58), (30, 36, 40), (46, 60, 70))), 0.2)
    pane = deep * (0.75 + 0.5 * (1.0 - y) * np.ones_like(x))[..., None]
    pane = _dressed(style, dice, pane, colour((255, 255, 255)))
    if dice.chance(style.reflecting):
        sky = varied(dice, dice.pick(((150, 178, 208), (186, 198, 208), (120, 150, 186))), 0.12)
        lean, level = dice.between(-0.7, 0.7), dice.between(0.2, 1.1)
        mirrored = y < level + lean * (x - 0.5)
        strength = mirrored * np.float32(dice.between(0.25, 0.8)) + np.float32(0.06)
        pane = mix(pane, sky, strength[..., None])
    return pane, 0.35


def _dressed(style: Style, dice: Dice, pane: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The pane with curtains, net or a paper blind, or without."""
    if not dice.chance(style.curtained):
        return pane
    high, wide = pane.shape[:2]
    x, y = _ramp(wide)[None], _ramp(high)[:, None]
    cloth = varied(dice, dice.pick(FABRICS)) * light
    kind = dice.pick(("curtains", "net", "paper"), (0.46, 0.46, 0.08))
    if kind == "paper":
        drawn = y < dice.between(0.2, 0.85)
        return np.where((drawn & (x >= 0))[..., None], cloth * 0.9, pane)
    folds = x * dice.between(7.0, 11.0)
    tone = (0.66 + 0.34 * np.abs((folds - np.floor(folds)) * 2.0 - 1.0))[..., None]
    if kind == "net":
        return mix(pane, cloth * tone, dice.between(0.45, 0.8))
    open_ = dice.between(0.15, 0.4) - 0.12 * y  # gathered towards the sill
    drawn = np.abs(x - 0.5) > 0.5 - open_
    return np.where(drawn[..., None], cloth * tone * (0.95 - 0.15 * y[..., None]), pane)


def paint_window(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    high, wide = patch.height, patch.width
    depth, bar = -style.recess, patch.pixels(style.frame_width)
    patch.fill(0, 0, wide, high, style.frame, depth)
    edge = bar
    if style.surround and element.shape != "disc":
        patch.fill(0, 0, wide, high, style.trim, 0.003)
        edge = bar + patch.pixels(0.006)
        inner = shape_mask(element.shape, max(high - 2 * bar, 1), max(wide - 2 * bar, 1))
        box = np.s_[bar : bar + inner.shape[0], bar : bar + inner.shape[1]]
        patch.albedo[box][inner] = style.frame
        patch.relief[box][inner] = depth
    tall, broad = max(high - 2 * edge, 1), max(wide - 2 * edge, 1)
    pane, matte = _pane(style, dice, tall, broad, style.lit)
    glass = Canvas(
        pane.astype(np.float32),
        np.full((tall, broad), depth - 0.004, np.float32),
        np.full((tall, broad), matte, np.float32),
        patch.unit,
    )
    _mullions(glass, style, depth)
    patch.paste(glass, edge, edge, shape_mask(element.shape, tall, broad))


def _mullions(glass: Canvas, style: Style, depth: float) -> None:
    high, wide = glass.height, glass.width
    bar, thin = glass.pixels(style.frame_width), glass.pixels(0.0032)
    across: list[tuple[float, int]] = []  # (height as a share, thickness)
    down: list[tuple[float, int]] = []
    if style.mullions in ("pair", "cross", "tee"):
        down.append((0.5, bar))
    if style.mullions in ("cross", "tee"):
        across.append((0.3, bar))
    if style.mullions == "sash":
        across.append((0.5, bar))
        down.append((0.5, thin))
    if style.mullions == "grid":
        down += [(1 / 3, thin), (2 / 3, thin)]
        across += [(0.25, thin), (0.5, thin), (0.75, thin)]
    for share, thick in across:
        y = int(share * high) - thick // 2
        glass.fill(0, y, wide, y + thick, style.frame, depth)
    head = int(0.3 * high) if style.mullions == "tee" else 0
    for share, thick in down:
        x = int(share * wide) - thick // 2
        glass.fill(x, head, x + thick, high, style.frame, depth)


def paint_blind(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """Louvred shutters that stand out from the wall, or a roller blind in the opening."""
    high, wide = patch.height, patch.width
    patch.matte[:] = 1.0
    pitch = patch.pixels(0.022, 4)  # three pixels at 128: still seen as stripes
    slat = (np.arange(high) % pitch).astype(np.float32) * (1.0 / pitch)
    if element.style == "roller":
        tone = 0.5 + 0.66 * slat
        patch.albedo[:] = mix(style.shutter, style.trim, 0.12) * tone[:, None, None]
        patch.relief[:] = 0.4 * -style.recess + (slat * 0.003)[:, None]
        patch.fill(0, high - patch.pixels(0.006), wide, high, style.shutter * 0.5)
        return
    tone = 0.52 + 0.62 * slat
    patch.albedo[:] = style.shutter * tone[:, None, None]
    patch.relief[:] = 0.009 + (slat * 0.002)[:, None]
    rim, top = patch.pixels(0.005), style.shutter * 1.05
    for box in (
        (0, 0, wide, rim),
        (0, high - rim, wide, high),
        (0, 0, rim, high),
        (wide - rim, 0, wide, high),
        (0, high // 2, wide, high // 2 + rim),
    ):
        patch.fill(*box, top, 0.011)  # type: ignore[call-arg]


def paint_door(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A surround, a fanlight, one or two panelled leaves and a doorstep."""
    high, wide = patch.height, patch.width
    edge, depth = patch.pixels(0.009, 2), -style.recess - 0.006
    patch.fill(0, 0, wide, high, style.trim, 0.005)
    tall, broad = max(high - edge, 1), max(wide - 2 * edge, 1)
    leafy = Canvas(
        np.zeros((tall, broad, 3), np.float32),
        np.full((tall, broad), depth, np.float32),
        np.ones((tall, broad), np.float32),
        patch.unit,
    )
    leafy.albedo[:] = style.door * (0.93 + 0.1 * dice.fork().table(tall, broad, 1))
    light = int(tall * dice.between(0.16, 0.26)) if dice.chance(0.7) else 0
    if light:
        pane, matte = _pane(style, dice, light, broad, style.lit * 1.5 + 0.1)
        leafy.fill(0, 0, broad, light, pane, depth, matte)
        leafy.fill(0, light, broad, light + patch.pixels(0.006), style.door * 1.2, depth + 0.003)
    leaves = 2 if broad >= patch.pixels(0.05) else 1
    rows, gap = dice.pick((2, 3)), patch.pixels(0.006)
    top = light + patch.pixels(0.006)
    glazed = dice.chance(0.3)
    for leaf in range(leaves):
        x0, x1 = broad * leaf // leaves + gap, broad * (leaf + 1) // leaves - gap
        for row in range(rows):
            y0 = top + (tall - top) * row // rows + gap
            y1 = top + (tall - top) * (row + 1) // rows - gap
            tone = 0.35 if glazed and row == 0 else 0.7
            leafy.fill(x0, y0, x1, y1, style.door * tone, depth - 0.004)
            leafy.fill(x0 + 1, y0 + 1, x1 - 1, y1 - 1, style.door * (tone + 0.12), depth - 0.003)
    if leaves == 2:
        leafy.fill(broad // 2, top, broad // 2 + 1, tall, style.door * 0.4)
    knob = patch.pixels(0.005)
    y = top + (tall - top) * 11 // 20
    leafy.fill(broad // 2 + knob, y, broad // 2 + 2 * knob, y + knob, colour((222, 190, 110)))
    patch.paste(leafy, edge, edge, shape_mask(element.shape, tall, broad))
    patch.fill(0, high - patch.pixels(0.011, 2), wide, high, colour((168, 164, 156)), 0.03)


def paint_shop(patch: Canvas, element: Element, style: Style, dice: Dice) -> None:
    """A signboard or an awning over a wide pane, goods behind it, and a stall riser."""
    high, wide = patch.height, patch.width
    paint = varied(dice, dice.pick(SIGNS))
    patch.fill(0, 0, wide, high, paint * 0.8, 0.006)
    board = int(high * dice.between(0.17, 0.25))
    riser = int(high * dice.between(0.08, 0.2))
    top, low = board, high - riser
    post = patch.pixels(0.007, 2)
    panes = max(int(wide / (patch.unit * dice.between(0.09, 0.2))), 1)
    open_ = dice.whole(0, 2 * panes)  # which pane is the shop's door, if any
    for number in range(panes):
        x0, x1 = wide * number // panes + post, wide * (number + 1) // panes - post // 2
        foot = high - 2 if number == open_ else low
        if x1 - x0 < 2 or foot - top < 2:
            continue
        pane, matte = _pane(style, dice, foot - top, x1 - x0, 0.35 + style.lit)
        patch.fill(x0, top, x1, foot, _goods(dice, pane), -0.012, matte)
    if dice.chance(0.45):
        _awning(patch, dice, paint, board, int(high * dice.between(0.14, 0.26)))
    _signboard(patch, dice, paint, board)


def _goods(dice: Dice, pane: np.ndarray) -> np.ndarray:
    """Coloured things in the lower part of the pane."""
    high, wide = pane.shape[:2]
    pane = pane.copy()
    for _ in range(dice.whole(2, 6)):
        x, y = int(dice.between(0, 0.85) * wide), int(dice.between(0.45, 0.9) * high)
        broad = max(int(dice.between(0.08, 0.25) * wide), 1)
        pane[y:, x : x + broad] = varied(dice, dice.pick(SIGNS + FABRICS), 0.2) * 0.85
    return pane


def _signboard(patch: Canvas, dice: Dice, paint: np.ndarray, board: int) -> None:
    wide = patch.width
    patch.fill(0, 0, wide, board, paint * (0.95 + 0.08 * dice.fork().table(board, wide, 1)), 0.016)
    patch.fill(0, 0, wide, max(board // 8, 1), paint * 1.3 + 0.05, 0.019)
    bright = float(paint[0] + paint[1] + paint[2]) > 1.5
    ink = colour((40, 36, 40)) if bright else colour((240, 230, 204))
    letter = max(board * 3 // 8, 2)
    y, start, end = (board - letter) // 2, dice.between(0.1, 0.3), dice.between(0.65, 0.92)
    x = int(start * wide)
    while x < end * wide:
        broad = max(int(letter * dice.between(0.4, 0.9)), 1)
        if not dice.chance(0.14):
            patch.fill(x, y, x + broad, y + letter, ink)
            inset = max(letter // 4, 1)
            if broad > 2 * inset:
                hole = y + inset if dice.chance(0.5) else y + letter // 2
                patch.fill(x + inset, hole, x + broad - inset, hole + inset, paint)
        x += broad + max(letter // 3, 1)


def _awning(patch: Canvas, dice: Dice, paint: np.ndarray, top: int, drop: int) -> None:
    """Striped cloth that hangs out over the pavement."""
    pitch = patch.pixels(dice.between(0.012, 0.03), 4)
    cloth = colour((236, 230, 216)) if dice.chance(0.7) else paint
    for x in range(0, patch.width, pitch):
        patch.fill(x, top, x + pitch, top + drop, paint if (x // pitch) % 2 else cloth)
    rows = _ramp(max(drop, 1))[: max(patch.height - top, 0)]
    patch.relief[top : top + drop] = (0.016 + rows * 0.03)[:drop, None]
    patch.albedo[top + drop - max(drop // 5, 1) : top + drop] *= 0.8
