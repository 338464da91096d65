"""PNG files in folders, matched by stem and checked before anything is scored.

Only PNG files of 8 bits a channel are read. Pillow would quietly cut 16-bit colours to 8 and
stretch 4-bit greys, so the file's own header says what it holds. Indices into a palette may be
stored in fewer bits: they stay what they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eval.errors import ScoringError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
OTHER_IMAGES = {".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
NAMED = 3  # names that an error lists


def png_files(folder: Path) -> dict[str, Path]:
    """{stem: path} of a folder's PNG files, by name. Files that are no images are passed over.

    Raises:
        ScoringError: no such folder, no image in it, images in another format, or a stem twice.
    """
    if not folder.is_dir():
        raise ScoringError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in OTHER_IMAGES:
            raise ScoringError(f"{path}: must be a PNG file; only PNG files are scored")
        if path.suffix.lower() == ".png":
            if path.stem in found:
                raise ScoringError(f"{path}: same name as {found[path.stem].name}")
            found[path.stem] = path
    if not found:
        raise ScoringError(f"{folder}: holds no PNG file")
    return found


def matched_files(folders: Sequence[Path]) -> tuple[tuple[str, ...], list[dict[str, Path]]]:
    """The stems that all folders share, and each folder's {stem: path}.

    Raises:
        ScoringError: a stem that some folder lacks; names the first ones on both sides.
    """
    listings = [png_files(folder) for folder in folders]
    first = listings[0]
    for folder, listing in zip(folders[1:], listings[1:], strict=True):
        complaints = [
            f"{len(names)} only in {where} ({_first_names(names)})"
            for names, where in (
                (first.keys() - listing.keys(), folders[0]),
                (listing.keys() - first.keys(), folder),
            )
            if names
        ]
        if complaints:
            raise ScoringError(f"unmatched images: {'; '.join(complaints)}")
    return tuple(first), listings


def check_png(path: Path, kinds: Sequence[str]) -> tuple[int, int]:
    """(height, width) from the file's header.

    Raises:
        ScoringError: unreadable, not a PNG, not 8 bits a channel, or of none of `kinds`.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(26)
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read ({error.strerror})") from error
    if len(header) < 26 or header[:8] != SIGNATURE or header[12:16] != b"IHDR":
        raise ScoringError(f"{path}: not a PNG file, or a truncated one")
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
    bits, kind = header[24], KINDS.get(header[25], "unknown")
    if kind not in kinds or (bits != 8 and kind != "palette"):
        raise ScoringError(
            f"{path}: must be {' or '.join(kinds)} with 8 bits a channel (it is {kind}, {bits} bit)"
        )
    return height, width


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8; ScoringError where the file is not a whole 8-bit RGB PNG."""
    check_png(path, ("RGB",))
    return _decode(path)


def read_labels(path: Path, classes: int, ignored: int = 255) -> np.ndarray:
    """(H, W) uint8 class indices; ScoringError also where one is neither a class nor ignored."""
    check_png(path, ("grey", "palette"))
    labels = _decode(path)
    wrong = labels[(labels >= classes) & (labels != ignored)]
    if wrong.size:
        raise ScoringError(
            f"{path}: class {wrong.min()} is not one of the {classes} classes"
            f" (0 to {classes - 1}, {ignored} is ignored)"
        )
    return labels


def _decode(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image.load()
            if image.mode == "RGB" and "transparency" in image.info:
                raise ScoringError(f"{path}: must be RGB without a transparent colour")
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ScoringError(f"{path}: damaged or truncated ({error})") from error


def _first_names(names: set[str]) -> str:
    listed = sorted(names)[:NAMED]
    return ", ".join(listed) + (", …" if len(names) > NAMED else "")
