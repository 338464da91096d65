"""`python -m pix2pix.translate`: translate a folder of images with a generator from a file."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import file_sha256, home_path, image_size, naming
from pix2pix.common.memory import no_engine, out_of_memory
from pix2pix.common.tf32 import set_tf32
from pix2pix.data.decode import Header, Reading, check_image, is_lossy, read_image
from pix2pix.data.labels import (
    NO_CLASS,
    class_positions,
    index_table,
    paint,
    paints,
)
from pix2pix.data.layouts import SUFFIXES, images_in, passed_over
from pix2pix.data.pairs import half_of
from pix2pix.data.registry import IGNORED, DatasetEntry, load_registry
from pix2pix.data.tasks import LAB, ROLES, derive, picture
from pix2pix.generator_files import SavedGenerator, open_generator
from pix2pix.translation import PROTOCOLS, translate

RECORD = "translation.json"
"""What made the images of a folder: the settings, the checkpoint's sha256, package versions."""

_HELP = """\
examples:
  python -m pix2pix.translate --checkpoint runs/cells/CELL/generator.pt \\
      --inputs runs/references/REFERENCE/inputs --out again
      the cell's own translations, byte for byte on the same kind of device; for a generator of
      grey->photo, edges->photo and the like give photos: .../REFERENCE/targets
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
Exit status: 0 done, 2 bad input, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: translate_folder(options), "interrupted: no image was kept")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.translate",
        description="Translate a folder of images with a generator: this suite's generator.pt,"
        " or latest_net_G.pth of the PyTorch port (U-Net with BatchNorm).",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=home_path, required=True, metavar="FILE", help="the generator")
    add("--inputs", type=home_path, required=True, metavar="DIR", help="8-bit RGB images")
    add(
        "--out",
        type=home_path,
        required=True,
        metavar="DIR",
        help="receives NAME.png for each input",
    )
    add("--protocol", choices=tuple(PROTOCOLS), default="paper", help="default: paper; see below")
    add("--seed", type=int, metavar="N", help="seed of dropout; default: the cell's own, or 0")
    add("--size", type=image_size, metavar="HxW", help="resize inputs; default: keep their size")
    fit = "pad: reflect inputs to the next size that fits, and cut the translations off again"
    add("--fit", choices=("pad",), help=fit)
    add(
        "--datasets", type=home_path, metavar="FILE", help="YAML file with the generator's data set"
    )
    add("--labels", action="store_true", help="inputs are label maps: --size uses nearest pixels")
    add("--side", choices=("left", "right"), help="inputs are side-by-side pairs: translate one")
    add(
        "--no-dropout",
        action="store_true",
        help="the port's model was trained with --no_dropout, which its file does not record",
    )
    add("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads; default 1, as a cell")
    return parser


def translate_folder(options: argparse.Namespace) -> None:
    """Translate every input to a PNG file in `--out`, which must be new or empty.

    The images get their place when all are written. UserError for any bad input.
    """
    paths, out = sorted(images_in(options.inputs).items()), options.out.resolve()
    is_new = not out.exists()  # another may be a mount point, which cannot be replaced
    beside = out.with_name(f".{out.name}.part") if is_new else out / ".part"
    if not paths:
        raise UserError(f"--inputs {options.inputs}: holds no image ({', '.join(SUFFIXES)})")
    if not is_new and (not out.is_dir() or any(path != beside for path in out.iterdir())):
        raise UserError(f"--out {options.out}: exists and is not empty; give another folder")
    device = _device(options)
    saved = open_generator(options.checkpoint, options.protocol, not options.no_dropout)
    in_lab = saved.channels == (1, 2) and saved.direction.startswith(f"{LAB}->")
    if not {*saved.channels} <= {1, 3} and not in_lab:
        raise UserError(
            f"{options.checkpoint}: translates {saved.channels[0]} channels to"
            f" {saved.channels[1]}; images have 1 or 3"
        )
    print(f"{options.checkpoint}: {saved.description}", flush=True)
    known = load_registry(options.datasets).get(saved.dataset)
    entry = _label_entry(options, saved, known)
    role = _derived_role(options, saved, known)
    if role:
        print(f"{options.inputs}: taken as photos; {role} is derived from each", flush=True)
    if others := passed_over(options.inputs, [path for _, path in paths]):
        print(f"{options.inputs}: passed over: {others}", flush=True)
    read_as: Counter[str] = Counter()
    beyond_gamut: list[float] = []
    seed = saved.seed if options.seed is None else options.seed
    console = Console(stderr=True)
    shutil.rmtree(beside, ignore_errors=True)  # of a command that was killed
    try:
        beside.mkdir(parents=True)
        network = saved.network.to(device)
        for name, path in track(
            paths, "translating", console=console, disable=not console.is_terminal
        ):
            derived = functools.partial(derive, role, name=name) if role else None
            inputs, text = read_input(path, options, saved, entry, derived)
            read_as[text] += 1
            height, width = inputs.shape[1:3]
            ((_, translation),) = translate(
                network,
                reflected(inputs, saved.multiple) if options.fit == "pad" else inputs,
                [name],
                seed=seed,
                device=device,
                protocol=PROTOCOLS[options.protocol],
                beyond_gamut=beyond_gamut,
            )
            translation = translation[:height, :width]
            with naming(options.out):
                Image.fromarray(picture(translation)).save(beside / f"{name}.png")
        (beside / RECORD).write_text(json.dumps(_settings(options, saved, seed, device), indent=1))
        if is_new:
            os.replace(beside, out)
        else:
            for file in beside.iterdir():
                os.replace(file, out / file.name)
    except (RuntimeError, MemoryError) as error:
        problem = "the memory is too small" if out_of_memory(error) else no_engine(error)
        if problem is None:
            raise
        raise UserError(f"{problem}; try --device cpu or a smaller --size") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for text, count in sorted(read_as.items()):
        if text:
            print(f"{options.inputs}: {count} file{'s' * (count > 1)}: {text}")
    if beyond_gamut:
        share = sum(beyond_gamut) / len(beyond_gamut)
        print(f"{share:.2%} of the pixels are beyond sRGB's gamut, and clipped")
    print(f"{len(paths)} translations in {options.out}")


def read_input(
    path: str,
    options: argparse.Namespace,
    saved: SavedGenerator,
    entry: DatasetEntry | None,
    derived: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, str]:
    """A generator's input, (1, H, W, C) uint8 or int16 of Lab, and how the file was read if it is
    no plain one.

    Args:
        entry: the data set whose label maps the generator translates, or None.
        derived: the input of a photo (H, W, 3) uint8, for a generator that takes one.

    UserError if the file cannot be an input.
    """
    channels = saved.channels[0]
    reading: Reading = "grey" if channels == 1 and derived is None else "photo"
    entry = entry if channels == 3 else None
    if entry is not None:
        image, read_as = _painted(path, entry, options.side)
    else:
        # A photo to colour may be as dark as it likes.
        image = half_of(read_image(path, reading, dark=derived is not None), options.side, path)
        read_as = "" if derived else check_image(path, reading).read_as
    if options.size:
        nearest = options.labels or entry is not None
        by = Image.Resampling.NEAREST if nearest else PROTOCOLS[options.protocol].resize
        image = image.resize(options.size[::-1], by)
    size, multiple = (image.height, image.width), saved.multiple
    if options.fit != "pad" and any(side % multiple for side in size):
        near = [max(1, round(side / multiple)) * multiple for side in size]
        raise UserError(
            f"{path}: {size[0]}×{size[1]} pixels (height × width); this generator takes sides that"
            f" are multiples of {multiple}; resize with --size {near[0]}x{near[1]}, or keep the"
            " pixels with --fit pad"
        )
    pixels = np.asarray(image) if derived is None else derived(np.asarray(image))
    return pixels.reshape(1, *size, channels), read_as


def reflected(images: np.ndarray, multiple: int) -> np.ndarray:
    """(N, H, W, C) images, enlarged at the bottom and right by their mirror image to sides that are
    multiples of `multiple`."""
    rows, columns = (-side % multiple for side in images.shape[1:3])
    return np.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect")


def _painted(path: str, entry: DatasetEntry, half: str | None) -> tuple[Image.Image, str]:
    """A label map as the training reads it, in the colours of its classes, and how it was read."""
    image, header = half_of(read_image(path, "labels"), half, path), check_image(path, "labels")
    table = index_table(entry)
    if table is None:  # the data set's own files are painted; others are a run's label maps
        colours = {label.colour for label in entry.classes}
        if image.mode != "L" or all((v,) * 3 in colours for _, v in image.getcolors() or ()):
            if _smeared(entry, image, header):
                read_as = "label maps with the smeared colours of JPEG, taken as they are"
                header = header._replace(format=f"{header.format} (lossy)", read_as=read_as)
            class_positions(entry, path, image, header, None)  # refuses colours of no class
            return image.convert("RGB"), header.read_as
        table = np.full(256, NO_CLASS, np.uint8)
        table[IGNORED] = IGNORED
        table[: len(entry.classes)] = range(len(entry.classes))
    read_as = f"index maps, painted in the colours of {entry.name}'s classes"
    positions = class_positions(entry, path, image, header, table)
    by_colour = paints(entry, image, table)
    return Image.fromarray(paint(positions, entry)), header.read_as if by_colour else read_as


def _smeared(entry: DatasetEntry, image: Image.Image, header: Header) -> bool:
    """Whether a lossless file was made from a JPEG, as the inputs that a run keeps of such a data
    set: it has more than four colours a class."""
    if image.mode != "RGB" or is_lossy(header.format) or entry.ignore == "rest":
        return False
    return image.getcolors(4 * (len(entry.classes) + len(entry.ignore))) is None


def _label_entry(
    options: argparse.Namespace, saved: SavedGenerator, entry: DatasetEntry | None
) -> DatasetEntry | None:
    """The data set `entry` of a generator that translates label maps; None if it is unknown, or
    for other generators."""
    source = saved.direction.partition("->")[0]
    if entry is None and source == "labels" and saved.channels[0] == 3:
        for path in images_in(options.inputs).values():
            if check_image(path, "labels").kind == "grey":
                raise UserError(
                    f"{path}: is an index map, and the data set {saved.dataset} is not in"
                    " datasets.yaml; give --datasets FILE, whose classes have the colours"
                )
    if entry is None and saved.dataset:
        print(
            f"the data set {saved.dataset} is not in datasets.yaml: images are taken as they are; "
            "give --datasets FILE so that label maps are read as in its training",
            flush=True,
        )
    is_input = entry is not None and entry.label_role == source
    return entry if is_input else None


def _derived_role(
    options: argparse.Namespace, saved: SavedGenerator, entry: DatasetEntry | None
) -> str | None:
    """The input that the generator takes, if it is derived from a photo; else None."""
    role = saved.direction.partition("->")[0]
    if role not in ROLES or (entry is not None and role in entry.sides):
        return None
    if entry is None and saved.channels != (1, 2):  # files hold no a and b of Lab
        raise UserError(
            f"{options.checkpoint}: the data set {saved.dataset} is not in datasets.yaml; give"
            f" --datasets FILE, whose entry says whether {role} are files or derived from photos"
        )
    if options.protocol != "paper":
        raise UserError(f"--protocol {options.protocol}: is for generators of the PyTorch port")
    return role


def _device(options: argparse.Namespace) -> torch.device:
    """The device, set to plain float32, in which cells are translated."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that torch can use")
    torch.set_num_threads(max(1, options.threads))
    set_tf32(False)
    torch.set_float32_matmul_precision("highest")
    return torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _settings(
    options: argparse.Namespace, saved: SavedGenerator, seed: int, device: torch.device
) -> dict[str, Any]:
    """Everything that decides the images' values, for the record beside them."""
    return {
        **{name: str(value) for name, value in vars(options).items()},
        "checkpoint": file_sha256(options.checkpoint),
        "recognised": saved.description,
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "pillow")},
    }


if __name__ == "__main__":
    sys.exit(main())
