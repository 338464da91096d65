"""How one embedded building looks: what its label map leaves open."""

from dataclasses import dataclass

import numpy as np

from pix2pix.data.facades.elements import Dice
from pix2pix.data.facades.light import Light
from pix2pix.data.facades.textures import WALL_COLOURS, varied

TRIMS = (
    (232, 226, 212),
    (214, 204, 182),
    (178, 172, 162),
    (138, 112, 90),
    (244, 242, 238),
    (108, 104, 102),
)
FRAMES = (
    (238, 236, 230),
    (236, 236, 238),
    (92, 58, 38),
    (48, 66, 52),
    (52, 52, 56),
    (126, 84, 52),
    (70, 88, 108),
)
PAINTS = (
    (58, 92, 70),
    (112, 58, 44),
    (64, 86, 124),
    (88, 62, 46),
    (136, 144, 148),
    (206, 204, 196),
    (122, 44, 48),
    (78, 108, 112),
    (168, 142, 94),
)
GLAZES = ((172, 84, 52), (196, 152, 76), (58, 100, 148), (150, 52, 48), (74, 126, 108))
MULLIONS = ("single", "pair", "cross", "tee", "grid", "sash")


@dataclass(frozen=True)
class Style:
    """Colours are (3,) float32 in 0..1; lengths are fractions of the image."""

    material: str
    wall: np.ndarray
    trim: np.ndarray
    frame: np.ndarray
    shutter: np.ndarray
    door: np.ndarray
    iron: np.ndarray
    mullions: str
    frame_width: float
    surround: bool  # a light band around every window
    recess: float
    railing: str  # "bars", "balusters" or "panel"
    glaze: np.ndarray  # the colour of ornaments
    ornament: str  # "rings", "tiles" or "relief"
    fluted: bool
    dentils: bool
    lit: float  # the share of windows with the light on
    curtained: float
    reflecting: float


def _told_from(wall: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The colour, darker or lighter where it would be lost on the wall."""
    if np.abs(other - wall).max() >= 0.14:
        return other
    return other * 0.68 if float(wall[1]) > 0.6 else np.minimum(other * 1.4 + 0.06, 1.0)


def choose_style(dice: Dice, light: Light) -> Style:
    material = dice.pick(tuple(WALL_COLOURS), (0.34, 0.18, 0.24, 0.16, 0.08))
    wall = varied(dice, dice.pick(WALL_COLOURS[material]), 0.1)
    trim = varied(dice, dice.pick(TRIMS, (3, 3, 2, 1, 3, 1)), 0.05)
    trim = _told_from(wall, trim)
    return Style(
        material=material,
        wall=wall,
        trim=trim,
        frame=varied(dice, dice.pick(FRAMES, (3, 3, 1, 1, 1, 1, 1)), 0.05),
        shutter=_told_from(wall, varied(dice, dice.pick(PAINTS))),
        door=varied(dice, dice.pick(PAINTS)),
        iron=varied(dice, dice.pick(((38, 38, 42), (52, 50, 48), (64, 76, 70)))),
        mullions=dice.pick(MULLIONS),
        frame_width=dice.between(0.004, 0.008),
        surround=dice.chance(0.4),
        recess=dice.between(0.008, 0.02),
        railing=dice.pick(("bars", "balusters", "panel"), (0.6, 0.25, 0.15)),
        glaze=varied(dice, dice.pick(GLAZES)),
        ornament=dice.pick(("rings", "tiles", "relief")),
        fluted=dice.chance(0.4),
        dentils=dice.chance(0.4),
        lit=dice.between(0.25, 0.7) if light.dusk else dice.between(0.0, 0.08),
        curtained=dice.between(0.05, 0.5),
        reflecting=dice.between(0.1, 0.8),
    )
