"""What stands where on an embedded facade: the side of it that the label map shows.

Coordinates are fractions of the image, x to the right and y downwards, so that one layout is
drawn at any size.
"""

from itertools import pairwise

from pix2pix.data.facades.dice import Dice, total
from pix2pix.data.facades.elements import Element, Layout
from pix2pix.data.facades.storeys import Habits, ground_floor, upper_storey

# Later kinds hide earlier ones.
PAINT_ORDER = (
    "facade",
    "molding",
    "pillar",
    "deco",
    "window",
    "blind",
    "cornice",
    "sill",
    "door",
    "shop",
    "balcony",
)


def compose_layout(dice: Dice) -> Layout:
    """A random facade."""
    left = 0.0 if dice.chance(0.36) else dice.between(0.03, 0.13)
    right = 1.0 if dice.chance(0.36) else dice.between(0.87, 0.97)
    top, bottom = dice.between(0.04, 0.17), dice.between(0.92, 0.985)
    elements, top = _walls(dice, left, top, right, bottom)
    roofline = dice.between(0.022, 0.05)
    if dice.chance(0.75):
        over = 0.012
        elements.append(Element("molding", left - over, top, right + over, top + roofline))

    storeys = _storeys(dice, top + roofline + dice.between(0.0, 0.02), bottom)
    habits = _habits(dice, len(storeys))
    margin = dice.between(0.015, 0.04) + (0.02 if habits.pilasters else 0.0)
    ground = storeys[-1][0]
    tall = (ground - storeys[0][0]) / (len(storeys) - 1)
    bays = _bays(dice, left + margin, right - margin, tall)

    elements += _bands(dice, storeys, left, right)
    elements += _pilasters(dice, habits, bays, left, right, top + roofline, ground, bottom)
    for storey, (upper, lower) in enumerate(reversed(storeys[:-1]), start=1):
        elements += upper_storey(dice, habits, bays, storey, upper, lower)
    elements += ground_floor(dice, habits, bays, ground, bottom)
    elements.sort(key=lambda element: PAINT_ORDER.index(element.kind))
    return Layout(tuple(elements), left, top, right, bottom, ground)


def _walls(
    dice: Dice, left: float, top: float, right: float, bottom: float
) -> tuple[list[Element], float]:
    """The wall and its gable; and the top of the main block."""
    form = dice.pick(("flat", "gable", "stepped", "raised"), (0.62, 0.14, 0.12, 0.12))
    if form == "flat":
        return [Element("facade", left, top, right, bottom)], top
    rise = dice.between(0.09, 0.15)
    shoulder, middle = top + rise, (left + right) / 2
    parts = [Element("facade", left, shoulder, right, bottom)]
    half = (right - left) / 2
    if form == "gable":
        parts.append(Element("facade", left, top, right, shoulder + 0.01, "gable"))
    elif form == "stepped":
        for step in range(3):
            reach = half * (0.28 + 0.2 * step)
            upper = top + rise * step / 3
            parts.append(Element("facade", middle - reach, upper, middle + reach, shoulder + 0.01))
    else:
        reach = half * dice.between(0.3, 0.55)
        parts.append(Element("facade", middle - reach, top, middle + reach, shoulder + 0.01))
    radius = rise * dice.between(0.22, 0.34)
    kind, shape = dice.pick((("window", "disc"), ("deco", "disc"), ("deco", "lozenge")))
    centre = shoulder - radius * 1.4
    parts.append(
        Element(kind, middle - radius, centre - radius, middle + radius, centre + radius, shape, 9)
    )
    return parts, shoulder


def _storeys(dice: Dice, top: float, bottom: float) -> list[tuple[float, float]]:
    """(upper, lower) of every storey, the ground floor last."""
    count = dice.pick((2, 3, 4, 5, 6), (0.16, 0.29, 0.28, 0.17, 0.10))
    count = min(count, int((bottom - top) / 0.135))
    shares = [dice.between(0.94, 1.06) for _ in range(count)]
    shares[-1] *= dice.between(1.1, 1.45)
    if count > 2 and dice.chance(0.4):
        shares[0] *= dice.between(0.7, 0.85)
    whole, edges = total(shares), [top]
    for share in shares:
        edges.append(edges[-1] + (bottom - top) * share / whole)
    return list(pairwise(edges))


def _bays(dice: Dice, left: float, right: float, tall: float) -> list[tuple[float, float]]:
    """(left, right) of every bay, none much wider than a storey is `tall`."""
    count = dice.pick((2, 3, 4, 5, 6, 7), (0.12, 0.25, 0.25, 0.2, 0.11, 0.07))
    count = max(count, int((right - left) / (tall * 1.7)))
    shares = [dice.between(0.97, 1.03) for _ in range(count)]
    if dice.chance(0.25):
        shares[count // 2] *= dice.between(1.15, 1.4)
    elif dice.chance(0.2):
        shares[dice.pick((0, count - 1))] *= dice.between(0.8, 1.3)
    whole, edges = total(shares), [left]
    for share in shares:
        edges.append(edges[-1] + (right - left) * share / whole)
    return list(pairwise(edges))


def _habits(dice: Dice, storeys: int) -> Habits:
    return Habits(
        window_width=dice.between(0.4, 0.62),
        window_shape=dice.pick(("box", "arch", "segment"), (0.7, 0.16, 0.14)),
        paired=dice.chance(0.14),
        cornice=dice.pick(("", "box", "pediment", "segment"), (0.35, 0.37, 0.18, 0.1)),
        sill=dice.chance(0.75),
        blind=dice.pick(("", "shutter", "roller"), (0.48, 0.27, 0.25)),
        balcony=dice.pick(
            ("", "each", "centre", "alternate", "continuous"), (0.46, 0.17, 0.15, 0.09, 0.13)
        ),
        deco=dice.pick(("", "panel", "medallion"), (0.45, 0.3, 0.25)),
        pilasters=dice.pick(("", "edges", "bays"), (0.55, 0.2, 0.25)) if storeys > 2 else "",
    )


def _bands(
    dice: Dice, storeys: list[tuple[float, float]], left: float, right: float
) -> list[Element]:
    every = dice.chance(0.25)
    bands = []
    for upper, _ in storeys[1:]:
        last = upper == storeys[-1][0]
        if dice.chance(0.6 if last else 0.9 if every else 0.08):
            half = dice.between(0.007, 0.013)
            bands.append(Element("molding", left, upper - half, right, upper + half))
    return bands


def _pilasters(
    dice: Dice,
    habits: Habits,
    bays: list[tuple[float, float]],
    left: float,
    right: float,
    top: float,
    ground: float,
    bottom: float,
) -> list[Element]:
    if not habits.pilasters:
        return []
    width = dice.between(0.02, 0.034)
    lower = bottom if dice.chance(0.3) else ground
    centres = [left + width * 0.7, right - width * 0.7]
    if habits.pilasters == "bays" and len(bays) <= 5:
        centres += [bay[1] for bay in bays[:-1]]
    return [Element("pillar", c - width / 2, top, c + width / 2, lower) for c in centres]
