"""What a study shows to whom: its settings, and the trials of each participant from the seed.

The defaults are the paper's protocol (Section 4.1): pairs of one real and one generated image,
shown for one second; 10 practice trials with feedback, 40 without; one algorithm per participant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.files import write_whole
from pix2pix.common.yaml_files import first_problem

SETTINGS = "study.json"
PRACTICE, TRIALS = 10, 40
SHOWN_MS, TOLERANCE_MS = 1000, 50
MOST_FAILED = 0.25
"""A participant with more trials of failed timing than this share is excluded."""
CONSENT = """\
This study is about images made by computer programs. You will see pairs of images. In each pair \
one is a real photo and one was generated. Each pair is shown for one second. You then say which \
image was generated. There are {practice} trials for practice and {trials} more; this takes about \
{minutes} minutes.

Taking part is voluntary. You can stop at any time by closing this page. We store your answers and \
how long they took under a random number. We do not store your name, your address or anything else \
about you. A cookie holds the random number, so that you can continue after a break."""


class Trial(NamedTuple):
    """One pair: positions of the real and of the generated image, and where the real one stands."""

    real: int
    fake: int
    real_is_a: bool


class Study(BaseModel):
    """The settings of a study, as study.json holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    consent: str
    """Paragraphs are separated by empty lines."""
    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    names: Annotated[tuple[str, ...], Field(min_length=2)]
    """Of the images, the same for the real ones and every arm."""
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    """Height and width in pixels, of all images."""
    practice: Annotated[int, Field(ge=0)] = PRACTICE
    trials: Annotated[int, Field(ge=1)] = TRIALS
    same_input: bool = False
    """Whether both images of a pair come from the same input (colorization)."""
    seed: Annotated[int, Field(ge=0)]
    sources: dict[str, str] = {}
    """{arm, or `real`: where its images came from}"""
    origin: str = ""
    """Of recorded runs: suite, data set, variant, seed and commit."""
    digests: dict[str, str] = {}
    """{arm, or `real`: sha256 of the pixels}"""

    @property
    def total(self) -> int:
        """Trials of a session, practice included."""
        return self.practice + self.trials

    def trials_of(self, number: int) -> list[Trial]:
        """The session of participant `number`: no image twice on the same side of the comparison.

        Pairs of different inputs are half the list apart, so with at least twice as many images
        as trials nobody sees both versions of one input.
        """
        random = np.random.default_rng([self.seed, number])
        order = random.permutation(len(self.names)).tolist()
        shift = 0 if self.same_input else len(order) // 2
        sides = random.integers(0, 2, self.total)
        return [
            Trial(order[i], order[(i + shift) % len(order)], bool(sides[i]))
            for i in range(self.total)
        ]

    def write(self, folder: Path) -> None:
        """Write study.json."""
        write_whole(folder / SETTINGS, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Study:
        """The study of a folder; UserError if it holds none."""
        path = folder / SETTINGS
        try:
            return cls.model_validate(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise UserError(
                f"{folder}: holds no study ({SETTINGS}); start one with serve"
            ) from None
        except ValidationError as error:
            raise UserError(f"{path}: {first_problem(error)}") from None
        except ValueError as error:
            raise UserError(f"{path}: not JSON: {error}") from None


def default_consent(practice: int, trials: int) -> str:
    """The text of the first page where the study's author gives none."""
    minutes = max(1, round((practice + trials) * 5 / 60))
    return CONSENT.format(practice=practice, trials=trials, minutes=minutes)


def timing_failed(shown_ms: float | None) -> bool:
    """Whether a pair was not shown for one second; None: the browser was too slow to tell."""
    return shown_ms is None or abs(shown_ms - SHOWN_MS) > TOLERANCE_MS
