"""Match each translation with its target and label map, by the names that public programs write.

These are recognised, in this order:

- `NAME_fake_B` beside `NAME_real_B` and `NAME_real_A`: the well-known PyTorch port. Its pix2pix
  calls the input A and the output B, whatever `--direction` is; `NAME_fake_A` comes from its
  CycleGAN, and its target is `NAME_real_A`.
- `NAME_fake` beside `NAME_real`, its input: the same program's `--model test`; targets elsewhere.
- `NAME_synthesized_image` beside `NAME_input_label`: pix2pixHD; targets elsewhere.
- `NAME-outputs` beside `NAME-targets` and `NAME-inputs`: the TensorFlow port.
- folders `output`, `target` and `input`: the original Torch code.
- `NAME_leftImg8bit`, and `NAME_gtFine_labelIds`, `_labelTrainIds` or `_color` for labels, with or
  without folders of cities: Cityscapes.
- otherwise equal names.

All images are matched or none: a name that is missing on one side is an error, and so is a name
without any of the endings of the program that wrote the others in its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from pix2pix.common.errors import UserError
from pix2pix.data.layouts import SUFFIXES, images_in, passed_over

LISTED = 3  # names that an error lists
PHOTO = "_leftImg8bit"
TRAIN_IDS, LABEL_IDS, COLOURS = "_gtFine_labelTrainIds", "_gtFine_labelIds", "_gtFine_color"
OTHER_IMAGES = {".gif", ".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".jp2", ".avif", ".heic"}
LABEL_KINDS = (TRAIN_IDS, LABEL_IDS, COLOURS)
CITYSCAPES = (PHOTO, *LABEL_KINDS, "_gtFine_instanceIds")
TORCH = {"translations": "output", "targets": "target", "labels": "input"}

Role = Literal["translations", "targets", "labels"]
Files = dict[str, Path]


class Convention(NamedTuple):
    """How one program names what it writes into one folder."""

    program: str
    translation: str
    target: str
    input: str


CONVENTIONS = (
    Convention("PyTorch port", "_fake_B", "_real_B", "_real_A"),
    Convention("PyTorch port, CycleGAN", "_fake_A", "_real_A", "_real_B"),
    Convention("TensorFlow port", "-outputs", "-targets", "-inputs"),
    Convention("PyTorch port, --model test", "_fake", "", "_real"),
    Convention("pix2pixHD", "_synthesized_image", "_real_image", "_input_label"),
)

WITHOUT_TARGETS = CONVENTIONS[-2:]
"""Programs that write no targets beside their translations, or do so only in training."""

# All endings that these programs write side by side, whether they are scored or not.
PROGRAM_ENDINGS = (
    *(f"_{kind}_{side}" for kind in ("real", "fake", "rec", "idt") for side in "AB"),
    *("-inputs", "-outputs", "-targets"),
    *("_fake", "_real", "_synthesized_image", "_real_image", "_input_label"),
)


class ImageFiles(NamedTuple):
    """The files of one test image; `labels` is None if there are no label maps."""

    translation: Path
    target: Path
    labels: Path | None
    hole: Path | None = None


@dataclass(frozen=True)
class Matched:
    """N images on every side, in the order of `names`.

    Attributes:
        convention: the naming convention that was recognised, as text for the user.
        label_ending: the Cityscapes ending by which the label maps were chosen, or None.
        passed_over: what lies in the folders and is not scored, a line per folder.
    """

    names: tuple[str, ...]
    translations: tuple[Path, ...]
    targets: tuple[Path, ...]
    labels: tuple[Path, ...] | None
    convention: str
    label_ending: str | None = None
    passed_over: tuple[str, ...] = ()
    holes: tuple[Path, ...] | None = None

    def files(self) -> Iterator[ImageFiles]:
        """The files of each image."""
        nothing = (None,) * len(self.names)
        sides = self.labels or nothing, self.holes or nothing
        return map(ImageFiles, self.translations, self.targets, *sides)

    def with_holes(self, folder: Path) -> Matched:
        """With the images of holes NAME.png of a folder; UserError if one is missing."""
        found = images_in(folder)
        for name in self.names:
            if name not in found:
                raise UserError(f"{folder}: holds no hole for {name}; give NAME.png for each image")
        return replace(self, holes=tuple(Path(found[name]) for name in self.names))


def match(
    translations: Path,
    targets: Path | None,
    labels: Path | None = None,
    *,
    labels_are: Literal["input", "target"] = "input",
    label_endings: Sequence[str] = (TRAIN_IDS,),
) -> Matched:
    """Find the target and the label map of every translation.

    Args:
        targets: None, or the same as `translations`, if one folder holds both.
        labels_are: the side of a program's results that the label maps are.
        label_endings: which of the label files of Cityscapes can be read, the best first.

    Raises:
        UserError: a folder is missing or holds no image, or names are unmatched or occur twice.
    """
    recognised: list[str] = []
    read: dict[Path, Files] = {}
    inner = _inner(translations, "translations", recognised)
    files = read[inner] = _files(inner)
    convention = _convention(files, translations)
    if convention is not None and targets is not None:
        target_folder = _inner(targets, "targets", [])
        if target_folder != inner and _files(target_folder).keys() == files.keys():
            convention = None  # names that happen to end like a program's
    if convention is not None:
        program, ending, beside, _ = convention
        with_targets = f" with NAME{beside}" if beside else ""
        recognised.append(f"NAME{ending}{with_targets} ({program})")
        _refuse_other_endings(translations, files, PROGRAM_ENDINGS)
        files = _ending_in(files, convention.translation)
    if targets is None:
        if not recognised:
            raise UserError(
                f"{translations}: holds plain names of no known program; give --targets DIR"
            )
        own = convention is not None and _ending_in(read[inner], convention.target)
        if convention in WITHOUT_TARGETS and not own:
            assert convention is not None
            raise UserError(
                f"{translations}: {convention.program} writes no targets beside its translations;"
                " give --targets DIR"
            )
        targets = translations
    inner = _inner(targets, "targets", recognised)
    found = read[inner] = _files(inner)
    listings = [files, _beside_translations(targets, found, convention, "target") or found]
    folders, label_ending = [translations, targets], None
    if labels is not None:
        inner = _inner(labels, "targets" if labels_are == "target" else "labels", recognised)
        read[inner] = _files(inner)
        found, label_ending = _labels(inner, read[inner], convention, labels_are, label_endings)
        listings.append(found)
        folders.append(labels)
    if label_ending is not None or len({frozenset(listing) for listing in listings}) > 1:
        shortened = [_without_cityscapes_endings(listing) for listing in listings]
        if shortened != listings:
            recognised.append("Cityscapes names")
            listings = shortened
    _refuse_unmatched(folders, listings)
    names = tuple(sorted(listings[0]))
    chosen = [tuple(listing[name] for name in names) for listing in listings]
    by = ", ".join(dict.fromkeys(recognised)) or "equal names"
    passed = tuple(
        f"{folder}: passed over: {others}"
        for folder, held in read.items()
        if (others := passed_over(folder, held.values()))
    )
    label_maps = chosen[2] if labels else None
    return Matched(names, chosen[0], chosen[1], label_maps, by, label_ending, passed)


def _beside_translations(
    folder: Path, files: Files, convention: Convention | None, role: Literal["input", "target"]
) -> Files:
    """What a program wrote beside its translations; empty if it did not write this folder."""
    for known in (convention,) if convention else CONVENTIONS:
        # NAME_real_B is an ordinary name unless the translations are in the same folder.
        if convention or _ending_in(files, known.translation):
            chosen = _ending_in(files, getattr(known, role))
            if chosen:
                _refuse_other_endings(folder, files, PROGRAM_ENDINGS)
                return chosen
    return {}


def _labels(
    folder: Path,
    files: Files,
    convention: Convention | None,
    labels_are: Literal["input", "target"],
    endings: Sequence[str],
) -> tuple[Files, str | None]:
    """The label maps by name, and the Cityscapes ending by which they were chosen."""
    written = _beside_translations(folder, files, convention, labels_are)
    if written:
        return written, None
    for ending in (*endings, *LABEL_KINDS):
        chosen = {stem: path for stem, path in files.items() if stem.endswith(ending)}
        if chosen and ending not in endings:
            raise UserError(
                f"{folder}: the values of NAME{ending} files are not class positions;"
                " give --dataset or --protocol"
            )
        if chosen:
            _refuse_other_endings(folder, files, CITYSCAPES)
            return chosen, ending
    return files, None


def _refuse_other_endings(folder: Path, files: Files, endings: tuple[str, ...]) -> None:
    """UserError for images without an ending: they would be left out without a notice."""
    others = {stem for stem in files if not stem.endswith(endings)}
    if others:
        raise UserError(
            f"{folder}: {len(others)} of {len(files)} images have no ending of the program that"
            f" wrote the others ({_first_names(others)}); put the images to score into a folder of"
            " their own"
        )


def _inner(folder: Path, role: Role, recognised: list[str]) -> Path:
    """The folder that holds the images of a role: this one, or one that a program makes in it."""
    for outer in (folder, folder / "images"):
        if _images_in(outer):
            return outer
        if all((outer / TORCH[side]).is_dir() for side in ("translations", "targets")):
            recognised.append("folders output and target (Torch code)")
            return outer / TORCH[role]
    below = [*folder.glob("*/images"), *folder.glob("*/*/images")]
    if len(below) > 1:
        listed = ", ".join(str(path) for path in sorted(below)[:LISTED])
        raise UserError(f"{folder}: holds several folders of results; give one of them ({listed})")
    return _inner(below[0].parent, role, recognised) if below else folder


def _images_in(folder: Path) -> Files:
    """The images of a folder by name; none if it is missing. Files that are no images are ignored,
    images that cannot be read refused: a part of a folder is never scored without a word."""
    if not folder.is_dir():
        return {}
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix.lower() in OTHER_IMAGES and path.is_file():
            raise UserError(f"{path}: this format is not supported; save it as PNG")
    return {name: Path(path) for name, path in sorted(images_in(folder).items())}


def _files(folder: Path) -> Files:
    """{name: path} of the images in a folder, or in its folders of cities."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    images = _images_in(folder)
    if images:
        return images
    below = [file for city in sorted(folder.glob("*/")) for file in _images_in(city).items()]
    chosen = [(name, path) for name, path in below if name.endswith(CITYSCAPES)]
    if not chosen:
        hint = f"; give one of the folders in it ({below[0][1].parent})" if below else ""
        raise UserError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}){hint}")
    return _keyed(chosen)


def _keyed(pairs: Iterable[tuple[str, Path]]) -> Files:
    found: Files = {}
    for name, path in pairs:
        if name in found:
            raise UserError(f"{path}: has the same name as {found[name]}")
        found[name] = path
    return found


def _convention(files: Mapping[str, Path], folder: Path) -> Convention | None:
    """The program that wrote these translations; None for plain names."""
    found = [known for known in CONVENTIONS if _ending_in(files, known.translation)]
    if len(found) > 1:
        raise UserError(
            f"{folder}: holds both {found[0].translation} and {found[1].translation} images;"
            " put the images to score into a folder of their own"
        )
    return found[0] if found else None


def _ending_in(files: Mapping[str, Path], ending: str) -> Files:
    """The files whose stem has that ending, by the stem without it; none for an empty ending."""
    return {
        stem.removesuffix(ending): path
        for stem, path in files.items()
        if ending and stem.endswith(ending)
    }


def _without_cityscapes_endings(files: Mapping[str, Path]) -> Files:
    endings = re.compile(f"({'|'.join(CITYSCAPES)})$")
    return _keyed((endings.sub("", stem), path) for stem, path in files.items())


def _refuse_unmatched(folders: Sequence[Path], listings: Sequence[Files]) -> None:
    for role, folder, listing in zip(TORCH, folders, listings, strict=False):
        sides = ("translations", folders[0], listings[0]), (role, folder, listing)
        complaints = [
            f"{len(names)} only in the {side} of {where} ({_first_names(names)})"
            for (side, where, mine), (_, _, other) in (sides, sides[::-1])
            if (names := mine.keys() - other.keys())
        ]
        if complaints:
            raise UserError(f"unmatched images: {'; '.join(complaints)}")


def _first_names(names: set[str]) -> str:
    listed = sorted(names)[:LISTED]
    return ", ".join(listed) + (", …" if len(names) > LISTED else "")
