"""What stands where on an embedded facade: the side of it that the label map shows.

Coordinates are fractions of the image, x to the right and y downwards, so that one layout is
drawn at any size.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from pix2pix.data.facades.elements import Dice, Element, Layout, total


@dataclass(frozen=True)
class Habits:
    """What a building repeats from storey to storey."""

    window_width: float  # of the bay
    window_shape: str
    paired: bool
    cornice: str  # a shape, or "" for none
    sill: bool
    blind: str  # "shutter", "roller" or ""
    balcony: str  # "each", "centre", "alternate", "continuous" or ""
    deco: str  # "panel", "medallion" or ""
    pilasters: str  # "edges", "bays" or ""


def upper_storey(
    dice: Dice,
    habits: Habits,
    bays: list[tuple[float, float]],
    storey: int,
    upper: float,
    lower: float,
) -> list[Element]:
    balcony = habits.balcony if dice.chance(0.6 if storey > 1 else 0.85) else ""
    french = bool(balcony) and dice.chance(0.6)
    tall = lower - upper
    sill_line = lower - tall * (0.08 if french else dice.between(0.15, 0.22))
    head = upper + tall * (0.14 if french else dice.between(0.17, 0.27))
    shape = habits.window_shape if dice.chance(0.8) else "box"
    cornice = habits.cornice if dice.chance(0.8) else ""
    shuttered = dice.chance(0.85)
    out: list[Element] = []
    for number, (left, right) in enumerate(bays):
        out += _bay_deco(dice, habits, bays, number, storey, upper, lower)
        if dice.chance(0.06 if habits.deco else 0.03):
            if habits.deco:
                inset = (right - left) * 0.25
                out.append(
                    Element("deco", left + inset, head, right - inset, sill_line, "box", storey)
                )
            continue
        centre = (left + right) / 2 + dice.between(-0.004, 0.004)
        broad, slim = (1.0, 2.8) if habits.paired else (0.55, 5.2)
        half = min((right - left) * habits.window_width / 2, (sill_line - head) * broad)
        lintel = max(head, sill_line - half * slim)
        window = Element("window", centre - half, lintel, centre + half, sill_line, shape, storey)
        out += _glazed(habits, window)
        if cornice:
            out.append(_cornice(window, cornice, min(tall * 0.15, 0.046)))
        if habits.sill and not french:
            out.append(_sill(window))
        if habits.blind and shuttered and dice.chance(0.8):
            out += _blinds(dice, habits.blind, window, (right - left) / 2 - half)
        middle = number == len(bays) // 2
        if (
            balcony == "each"
            or (balcony == "centre" and middle)
            or (balcony == "alternate" and number % 2 == storey % 2)
        ):
            out.append(_balcony(window, window.x0 - 0.018, window.x1 + 0.018))
    if balcony == "continuous":
        window = Element("window", 0, head, 1, sill_line, "box", storey)
        out.append(_balcony(window, bays[0][0], bays[-1][1]))
    return out


def _sill(window: Element) -> Element:
    x0, x1, y0 = window.x0 - 0.009, window.x1 + 0.009, window.y1
    return Element("sill", x0, y0, x1, y0 + 0.017, "box", window.storey)


def _glazed(habits: Habits, window: Element) -> list[Element]:
    if not habits.paired or window.x1 - window.x0 < 0.06:
        return [window]
    gap = (window.x1 - window.x0) * 0.07
    middle = (window.x0 + window.x1) / 2
    return [replace(window, x1=middle - gap), replace(window, x0=middle + gap)]


def _cornice(opening: Element, shape: str, depth: float) -> Element:
    high = depth * (1.35 if shape == "pediment" else 1.1 if shape == "segment" else 0.75)
    return Element(
        "cornice",
        opening.x0 - 0.014,
        opening.y0 - high - 0.004,
        opening.x1 + 0.014,
        opening.y0 - 0.004,
        shape,
        opening.storey,
    )


def _blinds(dice: Dice, style: str, window: Element, room: float) -> list[Element]:
    blind = replace(window, kind="blind", style=style)
    if style == "roller":
        share = 1.0 if dice.chance(0.3) else dice.between(0.3, 0.85)
        return [replace(blind, y1=window.y0 + (window.y1 - window.y0) * share)]
    width = min(room * 0.93, (window.x1 - window.x0) / 2)
    if dice.chance(0.12):  # shut
        return [replace(blind, x0=window.x0, x1=window.x1)]
    sides = [
        replace(blind, x0=window.x0 - width, x1=window.x0, shape="box"),
        replace(blind, x0=window.x1, x1=window.x1 + width, shape="box"),
    ]
    return sides if dice.chance(0.92) else sides[:1]


def _balcony(window: Element, left: float, right: float) -> Element:
    rail = window.y1 - (window.y1 - window.y0) * 0.34
    return Element("balcony", left, rail, right, window.y1 + 0.018, "box", window.storey)


def _bay_deco(
    dice: Dice,
    habits: Habits,
    bays: list[tuple[float, float]],
    number: int,
    storey: int,
    upper: float,
    lower: float,
) -> list[Element]:
    left, right = bays[number]
    if habits.deco == "panel" and storey > 1:
        half = (right - left) * habits.window_width / 2
        centre = (left + right) / 2
        # On the wall above the windows of the storey below.
        return [
            Element(
                "deco",
                centre - half,
                lower - (lower - upper) * 0.14,
                centre + half,
                lower + (lower - upper) * 0.07,
                "box",
                storey,
            )
        ]
    if (
        habits.deco == "medallion"
        and number
        and habits.pilasters != "bays"
        and (habits.blind != "shutter")
    ):
        radius = min((right - left) * (1 - habits.window_width) * 0.46, 0.05)
        middle, y = left, upper + (lower - upper) * 0.45
        shape = "disc" if storey % 2 else "lozenge"
        return [
            Element("deco", middle - radius, y - radius, middle + radius, y + radius, shape, storey)
        ]
    return []


def ground_floor(
    dice: Dice, habits: Habits, bays: list[tuple[float, float]], top: float, bottom: float
) -> list[Element]:
    use = dice.pick(("shops", "dwelling", "arcade"), (0.48, 0.36, 0.16))
    tall = bottom - top
    door = dice.pick((len(bays) // 2, dice.whole(0, len(bays) - 1), -1), (0.45, 0.4, 0.15))
    shape = "arch" if use == "arcade" else habits.window_shape
    head = top + tall * dice.between(0.2, 0.3)
    out: list[Element] = []
    for number, (left, right) in enumerate(bays):
        wide, centre = right - left, (left + right) / 2
        if number == door:
            out += _entrance(dice, centre, min(wide * 0.36, 0.06), head, bottom)
        elif use == "arcade":
            half = wide * 0.33
            out.append(
                Element("window", centre - half, head, centre + half, bottom - tall * 0.12, shape)
            )
        elif use == "dwelling":
            half = min(wide * habits.window_width / 2, tall * 0.3)
            window = Element(
                "window",
                centre - half,
                head + tall * 0.06,
                centre + half,
                bottom - tall * 0.27,
                shape,
            )
            out += _glazed(habits, window)
            if habits.sill:
                out.append(_sill(window))
            if habits.blind and dice.chance(0.6):
                out += _blinds(dice, habits.blind, window, wide / 2 - half)
    if use == "shops":
        out += _shops(dice, bays, door, top + tall * dice.between(0.08, 0.16), bottom)
    if use == "arcade":
        width = dice.between(0.02, 0.03)
        edges = [bays[0][0], *(bay[1] for bay in bays)]
        out += [Element("pillar", x - width / 2, top + 0.012, x + width / 2, bottom) for x in edges]
    return out


def _entrance(dice: Dice, centre: float, half: float, head: float, bottom: float) -> list[Element]:
    shape = dice.pick(("box", "arch", "segment"), (0.6, 0.25, 0.15))
    door = Element("door", centre - half, head, centre + half, bottom, shape)
    out = [door]
    if dice.chance(0.4):
        out.append(_cornice(door, dice.pick(("box", "pediment", "segment")), 0.036))
    if dice.chance(0.25):
        out += [
            Element("pillar", x - 0.011, head, x + 0.011, bottom)
            for x in (door.x0 - 0.015, door.x1 + 0.015)
        ]
    return out


def _shops(
    dice: Dice, bays: list[tuple[float, float]], door: int, head: float, bottom: float
) -> list[Element]:
    """Shop fronts over runs of neighbouring bays, leaving out the house door."""
    together = dice.chance(0.5)
    runs: list[list[int]] = []
    for number in range(len(bays)):
        if number == door:
            runs.append([])
        elif together and runs and runs[-1]:
            runs[-1].append(number)
        else:
            runs.append([number])
    columns = dice.chance(0.3)
    out: list[Element] = []
    for run in (run for run in runs if run):
        left, right = bays[run[0]][0] + 0.008, bays[run[-1]][1] - 0.008
        out.append(Element("shop", left, head, right, bottom - 0.006))
        if columns:
            out += [
                Element("pillar", x - 0.011, head, x + 0.011, bottom)
                for x in (left - 0.011, right + 0.011)
            ]
    return out


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
