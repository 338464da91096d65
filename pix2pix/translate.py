"""`python -m pix2pix.translate`: translate a folder of images with a generator from a file."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import file_sha256, make_folder, replacing
from pix2pix.common.memory import no_engine, out_of_memory
from pix2pix.data.decode import image_size, read_image
from pix2pix.data.layouts import SUFFIXES
from pix2pix.data.registry import Side
from pix2pix.generator_files import SavedGenerator, open_generator
from pix2pix.translation import PROTOCOLS, translate

RECORD = "translation.json"
"""What made the images of a folder: the settings, the checkpoint's sha256, package versions."""

_HELP = """\
examples:
  python -m pix2pix.translate --checkpoint runs/cells/CELL/generator.pt \\
      --inputs runs/references/REFERENCE/inputs --out again
      the cell's own translations, byte for byte on the same kind of device
  python -m pix2pix.translate --checkpoint latest_net_G.pth --inputs facades/test --side right \\
      --out port --protocol port
      what the PyTorch port's test script writes for a model trained with --direction BtoA

protocols:
  paper      BatchNorm with each image's own statistics, dropout on, rounded to the nearest value;
             --size resizes bilinear
  port       the same network in the PyTorch port's arithmetic: values are truncated, not rounded;
             --size resizes bicubic
  port-eval  the port's --eval: running statistics, no dropout (only for the port's files)

All images are translated, or, after an error or an interrupt, none is left behind.
Exit status: 0 done, 2 bad input, 130 interrupted, 143 terminated.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return exit_status(lambda: translate_folder(options), "interrupted: no image was kept")
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.translate",
        description="Translate a folder of images with a generator: this suite's generator.pt,"
        " or latest_net_G.pth of the PyTorch port (U-Net with BatchNorm).",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="the generator")
    add("--inputs", type=Path, required=True, metavar="DIR", help="8-bit RGB images")
    add("--out", type=Path, required=True, metavar="DIR", help="receives NAME.png for each input")
    add("--protocol", choices=tuple(PROTOCOLS), default="paper", help="default: paper; see below")
    add("--seed", type=_seed, metavar="N", help="seed of dropout; default: the cell's own, or 0")
    add("--size", type=_size, metavar="HxW", help="resize inputs; default: keep their size")
    add("--labels", action="store_true", help="inputs are label maps: --size uses nearest pixels")
    add("--side", choices=("left", "right"), help="inputs are side-by-side pairs: translate one")
    add(
        "--no-dropout",
        action="store_true",
        help="the port's model was trained with --no_dropout, which its file does not record",
    )
    add("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    add("--threads", type=_count, default=1, metavar="N", help="CPU threads; default 1, as a cell")
    return parser


def translate_folder(options: argparse.Namespace) -> None:
    """Translate every input to a PNG file; UserError for any bad input, before any file is written
    if a header or the checkpoint shows it."""
    paths = find_inputs(options.inputs)
    _check_output(options.out, options.inputs)
    device = _device(options)
    saved = open_generator(options.checkpoint, options.protocol, not options.no_dropout)
    preparation = _preparation(options, saved)
    sizes = [preparation.check(path) for path in paths.values()]
    print(f"{options.checkpoint}: {saved.description}", flush=True)
    if unlike := sum(size != saved.trained_size for size in sizes):
        print(
            f"note: {unlike} of {len(sizes)} inputs do not have the size that the generator was"
            f" made for, {_text(saved.trained_size)}",
            file=sys.stderr,
        )
    with _memory_errors(options.checkpoint, "try --device cpu"):
        network = saved.network.to(device)
    seed = saved.seed if options.seed is None else options.seed
    settings = _settings(options, saved, seed, device)
    console = Console(stderr=True)
    with _all_or_nothing(options.out) as write:
        for name, path in track(
            paths.items(), "translating", console=console, disable=not console.is_terminal
        ):
            image = preparation.read(path)
            with _memory_errors(path, "a smaller --size needs less"):
                ((_, translation),) = translate(
                    network,
                    image,
                    [name],
                    seed=seed,
                    device=device,
                    protocol=PROTOCOLS[options.protocol],
                )
            if translation.shape[-1] == 1:  # scores take RGB
                translation = np.repeat(translation, 3, axis=-1)
            write(f"{name}.png", Image.fromarray(translation))
        write(RECORD, settings)
    print(f"{len(paths)} translations in {options.out}")


@dataclass(frozen=True)
class Preparation:
    """How an image becomes a generator's input."""

    channels: int
    """1 or 3."""
    multiple: int
    """H and W must be multiples of it."""
    half: Literal["left", "right"] | None = None
    """The half of a side-by-side image that is the input."""
    size: tuple[int, int] | None = None
    """(H, W) to resize to; None keeps the size of each image."""
    resize: Image.Resampling = Image.Resampling.BILINEAR

    def __post_init__(self) -> None:
        if self.size and any(side % self.multiple for side in self.size):
            raise UserError(f"--size {_text(self.size)}: {self._allowed(self.size)}")

    def check(self, path: Path) -> tuple[int, int]:
        """The (H, W) of the generator's input, from the header alone; UserError if it cannot be."""
        height, width = image_size(str(path), self._side)
        size = self.size or (height, width // 2 if self.half else width)
        if any(side % self.multiple for side in size):
            raise UserError(
                f"{path}: {_text(size)} pixels (height × width); {self._allowed(size)}; resize"
                " with --size"
            )
        return size

    def read(self, path: Path) -> np.ndarray:
        """(1, H, W, C) uint8; UserError for a file that cannot be decoded."""
        image = read_image(str(path), self._side)
        if self.channels == 3:
            image = image.convert("RGB")
        elif image.mode != "L":
            raise UserError(
                f"{path}: must be grey: this generator takes one channel (it is {image.mode})"
            )
        if self.half:
            middle = image.width // 2
            left = 0 if self.half == "left" else middle
            image = image.crop((left, 0, left + middle, image.height))
        if self.size and self.size != (image.height, image.width):
            image = image.resize(self.size[::-1], self.resize)
        return np.asarray(image).reshape(1, image.height, image.width, self.channels)

    @property
    def _side(self) -> Side:
        return Side(half=self.half, grey=self.channels == 1)

    def _allowed(self, size: tuple[int, int]) -> str:
        near = tuple(max(1, round(side / self.multiple)) * self.multiple for side in size)
        return (
            f"this generator takes sides that are multiples of {self.multiple}"
            f" (nearest: {_text(near)})"
        )


def _preparation(options: argparse.Namespace, saved: SavedGenerator) -> Preparation:
    inputs, outputs = saved.channels
    if inputs not in (1, 3) or outputs not in (1, 3):
        raise UserError(
            f"{options.checkpoint}: translates {inputs} channels to {outputs}; images have 1 or 3"
        )
    if options.labels and options.size is None:
        raise UserError("--labels: changes how --size resizes; give --size too")
    resize = Image.Resampling.NEAREST if options.labels else PROTOCOLS[options.protocol].resize
    return Preparation(inputs, saved.multiple, options.side, options.size, resize)


def find_inputs(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, sorted by name, without hidden files.

    Raises UserError if the folder cannot be read, holds no image, or two images of one stem.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"--inputs {folder}: cannot be read ({error.strerror})") from None
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if not path.stem.isprintable():
            raise UserError(f"{str(path)!a}: the name is not printable text; rename the file")
        if path.stem in found:
            raise UserError(f"{path}: has the name of {found[path.stem].name}; keep one of them")
        found[path.stem] = path
    if not found:
        raise UserError(f"--inputs {folder}: holds no image ({', '.join(SUFFIXES)})")
    return found


def _check_output(folder: Path, inputs: Path) -> None:
    if folder.resolve() == inputs.resolve():
        raise UserError(f"--out {folder}: is the folder of inputs; give another")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"--out {folder}: is not a folder")
    with _naming_output(folder):
        image = next((path.name for path in sorted(folder.iterdir()) if path.suffix == ".png"), "")
    if image:
        raise UserError(f"--out {folder}: holds images already ({image}); give an empty folder")


@contextlib.contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Callable[[str, Image.Image | dict[str, Any]], None]]:
    """A function that writes an image as PNG, or a record as JSON, under a name in the folder.

    Each file is written whole. If the block fails, everything that it wrote is deleted.
    """
    is_new, written = not folder.exists(), []

    def write(name: str, content: Image.Image | dict[str, Any]) -> None:
        path = folder / name
        written.append(path)
        with _naming_output(folder), replacing(path) as file:
            if isinstance(content, Image.Image):
                content.save(file, format="PNG")
            else:
                file.write((json.dumps(content, indent=1) + "\n").encode())

    try:
        with _naming_output(folder):
            make_folder(folder)
        yield write
    except BaseException:
        with contextlib.suppress(OSError):
            for path in written:
                path.unlink(missing_ok=True)
            if is_new:
                folder.rmdir()
        raise


@contextlib.contextmanager
def _naming_output(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def _memory_errors(path: Path, remedy: str) -> Iterator[None]:
    """UserError if memory runs out, or may have; other errors pass through."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(f"{path}: too large for the memory; {remedy}") from None
        if message := no_engine(error):
            raise UserError(f"{path}: {message}; {remedy}") from None
        raise


def _device(options: argparse.Namespace) -> torch.device:
    """The device, set to plain float32, in which cells are translated."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that torch can use")
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    return torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _settings(
    options: argparse.Namespace, saved: SavedGenerator, seed: int, device: torch.device
) -> dict[str, Any]:
    """Everything that decides the images' values, for the record beside them."""
    gpu = device.type == "cuda"
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pillow")}
    return {
        "checkpoint": file_sha256(options.checkpoint),
        "recognised": saved.description,
        "protocol": options.protocol,
        "seed": seed,
        "size": options.size,
        "labels": options.labels,
        "side": options.side,
        "dropout": not options.no_dropout,
        "device": torch.cuda.get_device_name(device) if gpu else "cpu",
        "threads": None if gpu else options.threads,
        "versions": versions | ({"cuDNN": str(torch.backends.cudnn.version())} if gpu else {}),
    }


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?", text, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, or one side ({text!r})")
    height, width = found[1], found[2] or found[1]
    return int(height), int(width)


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more ({text!r})")
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 9999 ({text!r})")
    return int(text)


def _text(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


if __name__ == "__main__":
    sys.exit(main())
