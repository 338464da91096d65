"""Inputs that are derived from photos (tasks.py), kept beside the decoded photos."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_file, write_whole
from pix2pix.data import tasks
from pix2pix.data.arrays import file_name, in_threads, made_whole
from pix2pix.data.registry import SPLITS


class DerivedMeta(BaseModel):
    """`meta.json` of derived inputs."""

    fingerprint: str
    """Of the photos."""
    bytes: dict[str, int]
    """Size by file name."""


def derived_pairs(
    role: str,
    photos: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
    fingerprint: str,
    source: Path,
    target: str,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(inputs, targets) by split that follow from the photos; derived on the first call.

    Args:
        role: one of `tasks.ROLES`.
        photos: (N, H, W, 3) uint8 by split.
        names: of the photos, by split.
        fingerprint: of the photos.
        source: the folder that holds them; the derived arrays come beside it.
        target: the side that the photos are.

    UserError if a colorization has no colour to learn from.
    """
    place = source.with_name(f"{source.name}-{role}-{target}-{tasks.VERSION}")

    def made() -> DerivedMeta | None:
        try:
            found = DerivedMeta.model_validate_json((place / "meta.json").read_bytes())
            whole = all(os.stat(place / name).st_size == n for name, n in found.bytes.items())
        except (OSError, ValidationError):
            return None
        return found if whole and found.fingerprint == fingerprint else None

    if made() is None:
        made_whole(place, made, lambda beside: _write(role, photos, names, fingerprint, beside))
    pairs = {}
    for split in SPLITS:
        targets = photos[split]
        if role == tasks.LAB:
            targets = np.load(place / file_name(split, "targets"), mmap_mode="r")
        pairs[split] = np.load(place / file_name(split, "inputs"), mmap_mode="r"), targets
    return pairs


def _write(
    role: str,
    photos: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
    fingerprint: str,
    place: Path,
) -> DerivedMeta:
    """Derives inputs (and targets, where they are not the photos) into a new folder."""
    if role in tasks.COLOURS and all(map(tasks.is_grey, photos["train"])):
        raise UserError(
            f"{role}->photo: every training photo is grey, so there is no colour to learn"
        )
    written = []
    for split, images in photos.items():

        def both(
            index: int, images: np.ndarray = images, names: Sequence[str] = names[split]
        ) -> tuple[np.ndarray, np.ndarray]:
            photo = np.asarray(images[index])
            return tasks.derive(role, photo, names[index]), tasks.derive_target(role, photo)

        kinds = ("inputs", "targets") if role == tasks.LAB else ("inputs",)
        with ExitStack() as stack:
            paths = [place / file_name(split, kind) for kind in kinds]
            files = [stack.enter_context(open(path, "wb")) for path in paths]
            for index, arrays in enumerate(in_threads(both, range(len(images)))):
                for file, array in zip(files, arrays, strict=False):
                    if not index:
                        shape = (len(images), *array.shape)
                        header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(np.ascontiguousarray(array).data)
        written += paths
    for path in written:
        flush_file(path)
    sizes = {path.name: os.stat(path).st_size for path in written}
    derived = DerivedMeta(fingerprint=fingerprint, bytes=sizes)
    write_whole(place / "meta.json", derived.model_dump_json().encode())
    return derived
