"""The headers of all images that are to be scored: kinds and sizes, before anything is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from eval.matching import Matched
from pix2pix.common.errors import ScoringError
from pix2pix.data.decode import check_image

Size = tuple[int, int]


def check_headers(
    matched: Matched, label_kinds: Sequence[str], label_size: Size | None
) -> tuple[Counter[Size], dict[str, dict[str, int]]]:
    """How many images have which (H, W), and how many files of which format each side has.

    Args:
        label_kinds: those that label maps may have, such as `pix2pix.data.decode.LABEL_KINDS`.
        label_size: that of all label maps; None means each has its image's.

    Raises:
        ScoringError: a wrong kind, or unequal sizes.
    """
    sizes: Counter[Size] = Counter()
    formats: dict[str, Counter[str]] = {"translations": Counter(), "targets": Counter()}
    for index, translation in enumerate(matched.translations):
        first = check_image(translation)
        target = check_image(matched.targets[index])
        _check_size(matched.targets[index], target.size, translation, first.size)
        formats["translations"][first.format] += 1
        formats["targets"][target.format] += 1
        if matched.labels is not None:
            label = matched.labels[index]
            found = check_image(label, label_kinds)
            formats.setdefault("labels", Counter())[found.format] += 1
            if label_size is None:
                _check_size(label, found.size, translation, first.size)
            elif found.size != label_size:
                raise ScoringError(
                    f"{label}: must have {_text(label_size)} pixels, not {_text(found.size)}"
                )
        sizes[first.size] += 1
    return sizes, {side: dict(count) for side, count in formats.items()}


def _check_size(path: Path, size: Size, other: Path, wanted: Size) -> None:
    if size != wanted:
        raise ScoringError(
            f"{path}: {_text(size)} pixels (height x width), but {other} has {_text(wanted)}"
        )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
