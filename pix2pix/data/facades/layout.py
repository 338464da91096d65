"""What stands where on an embedded facade: the side of it that the label map shows.

Coordinates are fractions of the image, x to the right and y downwards, so that one layout is
drawn at any size.
"""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Habits = dict[str, str]
Span = tuple[float, float]

# What a building repeats from storey to storey, with the weights of the options.
HABITS: dict[str, dict[str, float]] = {
    "window": {"box": 70, "arch": 16, "segment": 14},
    "cornice": {"": 35, "box": 37, "gable": 18, "segment": 10},
    "sill": {"": 25, "plain": 75},
    "blind": {"": 48, "shutter": 27, "roller": 25},
    "balcony": {"": 40, "each": 25, "centre": 20, "continuous": 15},
    "deco": {"": 45, "panel": 30, "medallion": 25},
    "pillar": {"": 55, "edges": 20, "bays": 25},
    "ground": {"shops": 24, "one shop": 24, "dwelling": 36, "arcade": 16},
}
# What rises above the wall: in how many steps, and in which shape.
TOPS = {(0, ""): 62, (1, "gable"): 12, (1, "box"): 9, (1, "arch"): 7, (3, "box"): 10}


class Dice:
    """A random stream named by non-negative integers, the same at every NumPy version."""

    def __init__(self, *key: int) -> None:
        self._words = np.random.PCG64(list(key))

    def fork(self) -> "Dice":
        """A stream of its own: what is drawn from it, however much, leaves this one alone."""
        return Dice(int(self._words.random_raw()))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * ((self._words.random_raw() >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        return self.between(0.0, 1.0) < probability

    def pick(self, options: Mapping[T, float] | Sequence[T]) -> T:
        """One of the options, by their weights if they are a mapping."""
        weights = options.values() if isinstance(options, Mapping) else [1.0] * len(options)
        edges = list(accumulate(weights))
        return list(options)[bisect(edges, self.between(0.0, edges[-1]))]

    def table(self, *shape: int) -> np.ndarray:
        """Uniform float32 numbers in 0..1."""
        return (self._words.random_raw(shape) >> 40).astype(np.float32) * np.float32(2.0**-24)


@dataclass(frozen=True)
class Element:
    """One labelled part of a facade: a box, of which `shape` may leave something out."""

    kind: str  # the name of its class
    x0: float
    y0: float
    x1: float
    y1: float
    shape: str = "box"  # see shape_mask()
    style: str = ""  # what the label map tells about it beyond its class

    def pixels(self, size: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 at `size` pixels, at least one pixel wide and high, inside the image."""
        x0, y0 = (min(max(int(v * size + 0.5), 0), size - 1) for v in (self.x0, self.y0))
        x1, y1 = (min(max(int(v * size + 0.5), 0), size) for v in (self.x1, self.y1))
        return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def shape_mask(shape: str, height: int, width: int) -> np.ndarray:
    """(height, width) bool: the part of its box that a shape covers."""
    x = (np.arange(width) + 0.5) * 2 / width - 1
    y = np.arange(height)[:, None] + 0.5
    if shape == "gable":
        return np.abs(x) * 0.75 * height <= y
    rise = {"box": 0.5, "segment": width / 6, "arch": width / 2, "disc": height / 2}[shape]
    above = 1 - y / max(min(rise, height * 0.9), 0.5)
    if shape != "disc":
        above = np.maximum(above, 0)
    return x * x + above * above <= 1


def compose_layout(dice: Dice) -> Iterator[Element]:
    """A random facade: its main block, its ground floor, and the rest."""
    habits = {name: dice.pick(weights) for name, weights in HABITS.items()}
    left, right = max(dice.between(-0.07, 0.13), 0.0), min(dice.between(0.87, 1.07), 1.0)
    top, bottom = dice.between(0.05, 0.17), dice.between(0.92, 0.985)
    steps, shape = dice.pick(TOPS)
    rise = dice.between(0.09, 0.15) if steps else 0.0
    top += rise
    yield Element("facade", left, top, right, bottom)
    eaves = top + dice.between(0.022, 0.05)
    if dice.chance(0.75):
        yield Element("molding", left - 0.012, top, right + 0.012, eaves)
    count = min(dice.pick({2: 16, 3: 29, 4: 28, 5: 17, 6: 10}), int((bottom - eaves) / 0.135))
    storeys = _divide(dice, eaves + 0.01, bottom, [1.0] * (count - 1) + [1.28])
    ground = storeys[-1][0]
    yield Element("facade", left, ground, right, bottom)
    middle, half, radius, y = (left + right) / 2, (right - left) / 2, rise * 0.28, top - rise * 0.4
    for step in range(steps):
        reach = half * (1.0 if shape == "gable" else 0.3 + 0.2 * step)
        upper = top - rise * (steps - step) / steps
        yield Element("facade", middle - reach, upper, middle + reach, top + 0.01, shape)
    if steps:
        yield Element("window", middle - radius, y - radius, middle + radius, y + radius, "disc")

    fewest = int((right - left) * (count - 1) / (ground - eaves) / 1.7)
    count = max(dice.pick({2: 12, 3: 25, 4: 25, 5: 20, 6: 11, 7: 7}), fewest)
    bays = _divide(dice, left + 0.03, right - 0.03, [1.0] * count)
    edges = [edge for bay in bays for edge in bay]
    for upper, _ in storeys[1:]:
        if dice.chance(0.6 if upper == ground else 0.3):
            yield Element("molding", left, upper - 0.01, right, upper + 0.01)
    for x in {"": [], "edges": [edges[0], edges[-1]], "bays": edges}[habits["pillar"]]:
        yield Element("pillar", x - 0.013, eaves, x + 0.013, ground)
    for x in edges if habits["ground"] == "arcade" else []:
        yield Element("pillar", x - 0.013, ground, x + 0.013, bottom)
    share = dice.between(0.2, 0.31)  # of a bay, half a window's width
    for number, storey in enumerate(reversed(storeys)):
        yield from _storey(dice, habits, bays, share, number, storey)


def _divide(dice: Dice, start: float, end: float, shares: list[float]) -> list[Span]:
    """A stretch cut into parts of about these shares: (start, end) of each."""
    sums = list(accumulate((share * dice.between(0.93, 1.07) for share in shares), initial=0.0))
    return list(pairwise(start + (end - start) * part / sums[-1] for part in sums))


def _storey(
    dice: Dice, habits: Habits, bays: list[Span], share: float, number: int, storey: Span
) -> Iterator[Element]:
    """A storey's elements, 0 being the ground floor; now and then one goes without a habit."""
    upper, lower = storey
    tall = lower - upper
    habits = {name: habit if dice.chance(0.85) else "" for name, habit in habits.items()}
    use, door = "", -1
    if number == 0:
        use, door = habits["ground"], dice.pick(range(-1, len(bays)))
        habits |= {"balcony": "", "cornice": "", "deco": ""}
    if use == "arcade":
        habits |= {"window": "arch", "sill": "", "blind": ""}
    french = use == "arcade" or (bool(habits["balcony"]) and dice.chance(0.6))
    head = upper + tall * dice.between(0.15, 0.26)
    foot = lower - tall * (0.08 if french else dice.between(0.15, 0.22))
    rail = foot - (foot - head) * 0.34
    if habits["balcony"] == "continuous":
        yield Element("balcony", bays[0][0], rail, bays[-1][1], foot + 0.018)
    for place, (left, right) in enumerate(bays):
        x, wide = (left + right) / 2, right - left
        half = min(wide * share, (foot - head) * 0.48)
        if habits["deco"] == "panel":  # on the wall below the window
            yield Element("deco", x - half, lower - tall * 0.07, x + half, lower + tall * 0.1)
        if habits["deco"] == "medallion" and place and habits["blind"] != "shutter":
            radius, y = wide * (0.45 - share), upper + tall * 0.45
            yield Element("deco", left - radius, y - radius, left + radius, y + radius, "disc")
        if place == door:
            half = min(wide * 0.36, 0.06)
            hood = {"cornice": dice.pick(("", "", "box", "gable")), "sill": "", "blind": ""}
            entrance = Element("door", x - half, head, x + half, lower)
            yield from _opening(dice, habits | hood, entrance, 0.0)
        elif "shop" in use:
            gap = 0.008 if use == "shops" else 0.0
            yield Element("shop", left + gap, upper + tall * 0.13, right - gap, lower - 0.006)
        elif dice.chance(0.95):  # else no window
            window = Element("window", x - half, max(head, foot - half * 5.2), x + half, foot)
            yield from _opening(dice, habits, window, wide / 2 - half)
            centred = habits["balcony"] == "centre" and place == len(bays) // 2
            if centred or habits["balcony"] == "each":
                yield Element("balcony", x - half - 0.018, rail, x + half + 0.018, foot + 0.018)


def _opening(dice: Dice, habits: Habits, window: Element, room: float) -> Iterator[Element]:
    """A window or door with its cornice, sill and blinds; `room` is the wall on either side."""
    x0, y0, x1, y1 = window.x0, window.y0, window.x1, window.y1
    window = replace(window, shape=habits["window"] or "box")
    yield window
    if shape := habits["cornice"]:
        hood = y0 - {"box": 0.029, "segment": 0.04, "gable": 0.049}[shape]
        yield Element("cornice", x0 - 0.014, hood, x1 + 0.014, y0 - 0.004, shape)
    if habits["sill"]:
        yield Element("sill", x0 - 0.009, y1, x1 + 0.009, y1 + 0.017)
    if (style := habits["blind"]) and dice.chance(0.8):
        aside, down = min(room * 0.93, (x1 - x0) / 2), dice.between(0.3, 1.2)
        if style == "roller" or down > 1.1:  # closed shutters
            yield replace(window, kind="blind", y1=y0 + (y1 - y0) * min(down, 1.0), style=style)
        else:
            yield Element("blind", x0 - aside, y0, x0, y1, "box", style)
            yield Element("blind", x1, y0, x1 + aside, y1, "box", style)
