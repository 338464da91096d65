"""The surroundings of an embedded facade, its wall, and a painter for every kind of element."""

from dataclasses import replace

import numpy as np

from pix2pix.data.facades.layout import Dice, Element
from pix2pix.data.facades.light import WALLS, Looks, Patch, mix, noise, ramp, tint

# Courses of blocks: least and greatest height, length by height, the joints' share of the height,
# their brightness and depth, and how far tones differ from block to block and within one.
PATTERNS = {
    "brick": (0.0135, 0.021, 2.9, 0.26, 1.25, 0.0013, 0.5, 0.3),
    "stone": (0.032, 0.05, 2.0, 0.09, 0.8, 0.0018, 0.16, 0.3),
    "boards": (0.016, 0.024, 90.0, 0.14, 0.72, 0.002, 0.06, 0.16),
    "plaster": (1.0, 1.0, 1.0, 0.0, 1.0, 0.0008, 0.0, 0.45),
    "rustic": (0.032, 0.048, 2.2, 0.17, 0.75, 0.006, 0.1, 0.22),
    "tiles": (0.009, 0.014, 1.2, 0.25, 0.7, 0.002, 0.3, 0.1),
}
SIGNS = "962224 1c406e 225438 262426 c4962a e2ded4 622c4e 166876"
FABRICS = "e8e4da d6cebe ba7660 96a0ac c4b478"
# Layers of stone from top to bottom: where each begins, its brightness, how far it stands out.
LAYERS = {
    "molding": ((0.0, 1.06, 0.016), (0.3, 0.94, 0.011), (0.62, 1.0, 0.006)),
    "cornice": ((0.0, 1.08, 0.022), (0.34, 0.9, 0.014)),
    "sill": ((0.0, 1.1, 0.016), (0.5, 0.84, 0.016)),
    "pillar": ((0.0, 1.04, 0.022), (0.08, 0.85, 0.008), (0.1, 1.0, 0.014), (0.94, 0.94, 0.02)),
}


def paint_masonry(patch: Patch, dice: Dice, pattern: str, base: np.ndarray, depth: float) -> None:
    """Blocks of PATTERNS in running bond."""
    low, high, aspect, gap, bright, sunk, contrast, rough = PATTERNS[pattern]
    course = dice.between(low, high)
    down = patch.y / course
    row = np.floor(down)
    across = patch.x / (course * aspect) + row % 2 * 0.5
    column = np.floor(across)
    tones = dice.table(int(1 / course) + 2, int(1 / (course * aspect)) + 3)
    tone = tones[row.astype(np.intp), column.astype(np.intp)]
    joint = (down - row < gap) | ((across - column) * aspect < gap)
    shade = 1.0 + (tone - 0.5) * contrast + (noise(dice, patch, 8, 24, 64) - 0.5) * rough
    relief = depth + np.where(joint, np.float32(-sunk), tone * (sunk * 0.3))
    patch.fill(base * np.where(joint, np.float32(bright), shade)[..., None], relief)


def paint_backdrop(canvas: Patch, block: Element, looks: Looks, dice: Dice) -> None:
    """Sky, neighbouring houses or trees, roof, pavement and road; the facade goes over them."""
    left, top, right, bottom = block.pixels(canvas.unit)
    clouds = np.clip((noise(dice, canvas, 3, 6, 12, 24) - dice.between(0.4, 0.6)) * 4.0, 0.0, 0.85)
    sky = mix(looks.zenith, looks.horizon, np.minimum(canvas.y * 2.2, 1.0)[..., None])
    canvas.fill(mix(sky, looks.horizon * 0.4 + 0.6, clouds[..., None]), -0.02, 0.0)
    for columns in (slice(left), slice(right, canvas.unit)):
        place = canvas[canvas.pixels(dice.between(0.0, 0.5)) :, columns]
        material = dice.pick(tuple(WALLS))
        paint_masonry(place, dice, material, tint(dice, WALLS[material]) * 0.82, -0.03)
        for window in place.cells(dice.pick((3, 4, 5)), 1, place.pixels(0.025)):
            window.fill(tint(dice, "3a424c", 0.4), -0.038, 0.5)
        if dice.chance(0.3):  # a tree before it
            leaves = noise(dice, place, 14, 30, 60)
            green = mix(tint(dice, "2c3e1e 243a22"), tint(dice, "809248 8a8a50"), leaves[..., None])
            crown = leaves + ramp(place.height)[:, None] * 2.0 > 0.75
            replace(place, mask=crown).fill(green, (leaves - 1.0) * 0.02)
    ridge = max(top - int(dice.between(0.0, 0.1) * canvas.unit), 0)
    roof = tint(dice, "944e38 5c5c62 705446 464a54")
    paint_masonry(canvas[ridge:top, left:right], dice, "tiles", roof, -0.01)
    paint_masonry(canvas[bottom:], dice, "stone", tint(dice, "96928c 787674 a89e90"), 0.0)
    road = canvas[bottom + canvas.pixels(dice.between(0.02, 0.05)) :]
    paint_masonry(road, dice, "plaster", tint(dice, "545458"), 0.0)
    road[: canvas.pixels(0.006)].fill(tint(dice, "b4b0a8"), 0.0)


def paint_wall(canvas: Patch, elements: list[Element], looks: Looks, dice: Dice) -> None:
    """The whole wall with its ground floor, cornerstones and stains."""
    left, top, right, bottom = elements[0].pixels(canvas.unit)
    paint_masonry(canvas, dice, looks.material, looks.wall, 0.0)
    if dice.chance(0.5):
        base = dice.pick((looks.trim, looks.wall * dice.between(0.65, 0.95)))
        paint_masonry(canvas[elements[1].pixels(canvas.unit)[1] :], dice, "rustic", base, 0.0)
    if dice.chance(0.3):
        for number, row in enumerate(canvas[top:bottom, left:right].cells(28, 1, 1)):
            wide = row.pixels(0.034 if number % 2 else 0.02)
            for stone in (row[:, :wide], row[:, -wide:]):
                stone.fill(looks.trim * dice.between(0.92, 1.04), 0.004)
    stains, streaks = noise(dice, canvas, 3, 7, 15), noise(dice, canvas, 4, stretch=25)
    soot = np.maximum(canvas.y - 0.72, 0.0) * 2.0
    dirt = np.maximum(stains - 0.42, 0.0) * 1.8 + stains * (streaks * 0.55 + soot)
    clean = np.maximum(1.0 - dirt * dice.between(0.1, 0.45), 0.3)
    canvas.fill(canvas.albedo * clean[..., None], canvas.relief)


def paint_stone(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A molding, cornice, sill or pillar: LAYERS of the trim's stone."""
    high, wide = patch.height, patch.width
    for start, tone, relief in LAYERS[element.kind]:
        patch[int(start * high) :].fill(looks.trim * tone, relief)
    if element.kind == "pillar":
        bulge = np.sqrt(1.0 - (ramp(wide) * 2.0 - 1.0) * (ramp(wide) * 2.0 - 1.0))
        patch.fill(patch.albedo * (0.8 + 0.22 * bulge)[:, None], patch.relief + bulge * 0.008)
    if element.shape != "box":  # the field of a pediment
        field = patch[high // 4 :, high // 2 : wide - high // 2][: high // 2]
        field.shaped(element.shape).fill(looks.trim * 0.76, 0.004)


def paint_deco(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """An ornament of concentric rings or lozenges in two colours."""
    x, y = ramp(patch.width) * 2.0 - 1.0, (ramp(patch.height) * 2.0 - 1.0)[:, None]
    distance = np.sqrt(x * x + y * y) * 1.55 if looks.rings else np.abs(x) + np.abs(y) * 2.0
    ring = np.abs(distance - np.floor(distance) - 0.5) * 2.0
    paint = mix(looks.ornament * 0.65, looks.trim * 1.1, (0.3 + 0.7 * ring)[..., None])
    patch.fill(paint, 0.002 + ring * 0.007)


def paint_pane(patch: Patch, looks: Looks, dice: Dice, lit: float) -> None:
    """Glass: a lit or a dark room, perhaps a curtain before it, and what it mirrors."""
    x, y = ramp(patch.width), ramp(patch.height)[:, None]
    shining = dice.chance(lit)
    light = tint(dice, "ffce80 fadeaa f0b260" if shining else "ffffff")
    room = light if shining else tint(dice, "2e3238 36383a 1e2428 2e3c46", 0.2)
    fade = (1.2 - 0.5 * y) * (1.0 - 0.3 * np.abs(x - dice.between(0.2, 0.8)))
    pane = room * fade[..., None]
    if dice.chance(looks.curtained):
        folds = x * dice.between(7.0, 11.0)
        tone = 0.66 + 0.34 * np.abs((folds - np.floor(folds)) * 2.0 - 1.0)
        open_ = 0.5 - dice.between(0.15, 0.4) + 0.12 * y  # gathered towards the sill
        drawn = dice.pick((np.abs(x - 0.5) > open_, (x >= 0.0) * np.float32(0.65)))
        pane = mix(pane, tint(dice, FABRICS) * light * tone[:, None], drawn[..., None])
    if not shining and dice.chance(looks.reflecting):
        mirrored = y < dice.between(0.2, 1.1) + dice.between(-0.7, 0.7) * (x - 0.5)
        strength = mirrored * np.float32(dice.between(0.25, 0.8))
        pane = mix(pane, tint(dice, "96b2d0 bac6d0 7896ba", 0.12), strength[..., None])
    patch.fill(pane, -looks.recess - 0.004, 0.0 if shining else 0.35)


def paint_window(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A surround, a frame, glass and the bars that divide it, all in the element's shape."""
    bar = patch.pixels(looks.bar)
    if looks.surround and element.shape != "disc":
        patch.fill(looks.trim, 0.003)
        patch = patch.inside(bar).shaped(element.shape)
    patch.fill(looks.frame, -looks.recess)
    glass = patch.inside(bar).shaped(element.shape)
    paint_pane(glass, looks, dice, looks.lit)
    for y in range(1, looks.panes[0]):
        glass[glass.height * y // looks.panes[0] :][:bar].fill(looks.frame, -looks.recess)
    for x in range(1, looks.panes[1]):
        glass[:, glass.width * x // looks.panes[1] :][:, :bar].fill(looks.frame, -looks.recess)


def paint_blind(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A louvred shutter that stands out from the wall, or a roller blind in the opening."""
    pitch = patch.pixels(0.022, 4)  # still seen as stripes at 128
    depth = 0.009 if element.style == "shutter" else -0.4 * looks.recess
    patch.fill(looks.shutter * 1.05, depth + 0.002)
    patch = patch.inside(patch.pixels(0.005))
    slat = ((np.arange(patch.height, dtype=np.float32) % pitch) / pitch)[:, None]
    patch.fill(looks.shutter * (0.52 + 0.64 * slat[..., None]), depth + slat * 0.003)


def paint_door(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A surround, a fanlight, one or two panelled leaves and a doorstep."""
    depth, gap, edge = -looks.recess - 0.006, patch.pixels(0.006), patch.pixels(0.009, 2)
    patch.fill(looks.trim, 0.005)
    inner = patch[edge:, edge : patch.width - edge].shaped(element.shape)
    inner.fill(looks.door, depth)
    head = int(inner.height * dice.between(0.16, 0.26))
    paint_pane(inner[: head - gap], looks, dice, looks.lit * 1.5 + 0.1)
    leaves = 2 if inner.width >= patch.pixels(0.05) else 1
    for panel in inner[head:].cells(dice.pick((2, 3)), leaves, gap):
        panel.fill(looks.door * 0.66, depth - 0.004)
        panel.inside(1).fill(looks.door * 0.82, depth)
    patch[-patch.pixels(0.011, 2) :].fill(tint(dice, "a8a49c"), 0.03)


def paint_shop(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A signboard with letters, perhaps an awning, and wide panes with goods behind them."""
    high, wide, paint = patch.height, patch.width, tint(dice, SIGNS)
    board, letter = int(high * dice.between(0.17, 0.25)), patch.pixels(0.013)
    patch.fill(paint * 0.8, 0.006)
    panes = int(wide / (patch.unit * dice.between(0.09, 0.2))) + 1
    front = patch[board : int(high * dice.between(0.84, 0.96))]
    for pane in front.cells(1, panes, patch.pixels(0.004)):
        paint_pane(pane, looks, dice, 0.35 + looks.lit)
        for goods in pane[pane.height // 2 :].cells(1, dice.pick((3, 4, 5, 6)), 0):
            top = int(dice.between(0.0, 1.2) * goods.height)
            goods[top:].fill(tint(dice, SIGNS + " " + FABRICS, 0.2) * 0.85, -looks.recess, 0.35)
    if dice.chance(0.45):
        awning = patch[board : board + int(high * dice.between(0.14, 0.26))]
        pitch = patch.pixels(dice.between(0.02, 0.05), 6)
        stripe = np.arange(wide)[:, None] % pitch < pitch // 2
        hanging = 0.016 + 0.03 * ramp(awning.height)[:, None]
        awning.fill(np.where(stripe, paint, tint(dice, FABRICS)), hanging)
    sign = patch[:board]
    sign.fill(paint, 0.016)
    ink = tint(dice, "28242e" if float(paint[1]) > 0.5 else "f0e6cc")
    margin = int(dice.between(0.1, 0.3) * wide)
    line = sign[board // 3 : board * 3 // 4, margin : wide - margin]
    for number in range(0, line.width, letter):
        if dice.chance(0.8):
            line[dice.pick((0, 0, line.height // 3)) :, number : number + letter * 2 // 3].fill(
                ink, 0.016
            )


def paint_balcony(patch: Patch, element: Element, looks: Looks, dice: Dice) -> None:
    """A slab and a railing; behind bars one sees the wall and the window."""
    slab, rail, reach = patch.pixels(0.016, 2), patch.pixels(0.005), 0.034
    railing = patch[:-slab]
    thick, pitch, paint = patch.pixels(0.0028), patch.pixels(0.0115, 3), looks.iron
    if looks.balusters:
        railing.fill(looks.trim * 0.42, 0.02)
        thick, pitch, paint = patch.pixels(0.0095, 2), patch.pixels(0.0155, 4), looks.trim
    for x in range(0, patch.width, pitch):
        railing[:, x : x + thick].fill(paint, reach)
    for part in (railing[:rail], railing[-rail:], patch[-slab:]):
        part.fill(paint * 1.1, reach)


# In painting order: later kinds hide earlier ones.
PAINTERS = {
    **dict.fromkeys(LAYERS, paint_stone),
    "deco": paint_deco,
    "window": paint_window,
    "blind": paint_blind,
    "door": paint_door,
    "shop": paint_shop,
    "balcony": paint_balcony,
}
