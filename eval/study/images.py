"""The images of a study: read once, checked, and kept as pixels in the study's folder."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from eval.matching import match
from eval.study.design import Study
from pix2pix.common.errors import UserError
from pix2pix.common.files import make_folder, read_json
from pix2pix.data.decode import check_image, read_rgb

FOLDER = "images"
REAL = "real"


def match_arms(
    real: Path, arms: Mapping[str, Path]
) -> tuple[tuple[str, ...], list[list[Path]], list[str]]:
    """The names, the files of the real images and of each arm in that order, and what lies beside
    them, a line per folder.

    Raises UserError where names differ, between an arm and the real images or between arms.
    """
    names: tuple[str, ...] = ()
    listings: list[list[Path]] = []
    passed_over: list[str] = []
    for arm, folder in arms.items():
        try:
            found = match(folder, real)
        except UserError as error:
            raise UserError(f"--arm {arm}: {error}") from None
        if listings and found.names != names:
            raise UserError(f"--arm {arm}: has other images than the arm {next(iter(arms))}")
        names = found.names
        listings += (
            [list(found.translations)] if listings else [[*found.targets], [*found.translations]]
        )
        passed_over += found.passed_over
    return names, listings, list(dict.fromkeys(passed_over))


def common_size(listings: list[list[Path]]) -> tuple[int, int]:
    """The (H, W) of all images; UserError if one differs."""
    first = listings[0][0]
    size = check_image(first).size
    for path in (path for listing in listings for path in listing):
        other = check_image(path).size
        if other != size:
            (h, w), (height, width) = other, size
            raise UserError(
                f"{path}: is {h}×{w} pixels (height × width) and {first} is {height}×{width};"
                " all images of a study must have one size; --size HxW resizes them"
            )
    return size


def keep_pixels(folder: Path, listings: list[list[Path]], size: tuple[int, int]) -> list[str]:
    """Write (N, H, W, 3) uint8 arrays for the real images and each arm; their sha256.

    Images of another size are resized, all with the same filter.
    """
    make_folder(folder / FOLDER)
    digests = []
    for position, listing in enumerate(listings):
        shape = (len(listing), *size, 3)
        array = np.lib.format.open_memmap(_path(folder, position), "w+", np.uint8, shape)
        digest = hashlib.sha256()
        for row, path in zip(array, listing, strict=True):
            image = Image.fromarray(read_rgb(path))
            if image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BICUBIC)
            row[:] = np.asarray(image)
            digest.update(row.tobytes())
        array.flush()
        digests.append(digest.hexdigest())
    return digests


class Images:
    """The kept pixels, mapped into memory."""

    def __init__(self, folder: Path, study: Study) -> None:
        shape = (len(study.names), *study.size, 3)
        self._arrays = []
        for position in range(1 + len(study.arms)):
            path = _path(folder, position)
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: cannot be read: {error}; start a new study") from None
            if array.shape != shape or array.dtype != np.uint8:
                raise UserError(f"{path}: does not fit study.json; start a new study")
            self._arrays.append(array)

    def pair(self, number: int, arm: int, study: Study, trial: int) -> bytes:
        """A participant's pair as one lossless WebP, (H, 2W): A left and B right.

        Both images are in one file, so that its name, size, headers and timing cannot tell them
        apart.
        """
        real, fake, real_is_a = study.trials_of(number)[trial]
        both = [self._arrays[0][real], self._arrays[1 + arm][fake]]
        pixels = np.hstack(both if real_is_a else both[::-1])
        content = io.BytesIO()
        # The fastest setting: a third of PNG's time, for many participants at once.
        Image.fromarray(pixels).save(content, "WEBP", lossless=True, quality=0, method=0)
        return content.getvalue()


def recorded_arms(
    out: Path, suite: str, dataset: str, profile: str | None, same_input: bool
) -> tuple[Path, dict[str, Path], str]:
    """The folders of real images and of each arm's translations, of a suite that was run, and what
    they are in words.

    Reads the suite's record (suites/SUITE/DATASET-VARIANT.json) and takes for all arms the lowest
    seed whose translations exist everywhere.

    Raises UserError where nothing is recorded, several variants are, or an arm is not finished;
    and for `same_input` where no real image belongs to an input.
    """
    folder = out / "suites" / suite
    found = {p.stem.removeprefix(f"{dataset}-"): p for p in folder.glob(f"{dataset}-*.json")}
    chosen = {v: p for v, p in found.items() if profile in (None, v)}
    if len(chosen) != 1:
        listed = ", ".join(sorted(found)) or "nothing"
        what = "choose one with --profile" if len(chosen) > 1 else "run the suite first"
        raise UserError(f"--suite {suite}: recorded on {dataset} in {folder}: {listed}; {what}")
    ((variant, path),) = chosen.items()
    try:
        record = read_json(path)
        arms = [arm["name"] for arm in record["arms"]]
        cells = {(c["arm"], c["seed"]): out / "cells" / c["digest"] for c in record["cells"]}
        real = out / "references" / record["reference"] / "targets"
        commit, plus, _ = str(record["commit"]).partition("+")
        commit = commit[:12] + "+changes" * bool(plus)
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not a suite record: {error!r}") from None
    if any(arm.get("reference") for arm in record["arms"]):
        raise UserError(f"{path}: its arms have several tasks; take a suite of one")
    if same_input and record.get("unpaired"):
        raise UserError(f"--same-input: the images of {dataset} do not belong together")
    asked = [arm for arm in arms if any(a == arm for a, _ in cells)]
    for seed in sorted({seed for _, seed in cells}):
        folders = {arm: cells.get((arm, seed), out) / "translations" for arm in asked}
        if asked and all((at.parent / "scores.json").is_file() for at in folders.values()):
            words = f"suite {suite} on {dataset}, {variant}, seed {seed}, commit {commit}"
            return real, folders, words
    raise UserError(f"{path}: no seed has finished in every arm; run the suite to its end")


def _path(folder: Path, position: int) -> Path:
    return folder / FOLDER / f"{position}.npy"
