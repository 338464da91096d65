"""`python -m pix2pix.translate`: a folder of images through a generator from a file."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2pix.common.errors import UserError

if TYPE_CHECKING:
    import torch

    from pix2pix.saved_generator import SavedGenerator
    from pix2pix.translate_inputs import Preparation

PROTOCOL_NAMES = ("paper", "port", "port-eval")

_TEACHING = """\
examples:
  python -m pix2pix.translate --checkpoint runs/cells/CELL/generator.pt \\
      --inputs runs/references/REFERENCE/inputs --out again
      the cell's own translations, byte for byte on the same kind of device
  python -m pix2pix.translate --checkpoint latest_net_G.pth --inputs facades/test --side right \\
      --out port --protocol port
      what the PyTorch port's test script writes for a model trained with --direction BtoA

protocols:
  paper      BatchNorm of each image's own statistics, dropout on, rounded to the nearest value;
             --size resizes bilinear
  port       the same network in the PyTorch port's arithmetic: values are cut off, not rounded;
             --size resizes bicubic
  port-eval  the port's --eval: running statistics, no dropout (the port's files only)

A folder that was begun with the same settings is gone on with; others are refused.
Exit status: 0 done, 2 bad input, 130 interrupted (the same command goes on), 143 terminated.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _translate_folder(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.translate",
        description="Translates a folder of images with a generator: this suite's generator.pt,"
        " or latest_net_G.pth of the PyTorch port (U-Net with BatchNorm).",
        epilog=_TEACHING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="the generator")
    add("--inputs", type=Path, required=True, metavar="DIR", help="8-bit RGB images")
    add("--out", type=Path, required=True, metavar="DIR", help="for NAME.png, one an input")
    add("--protocol", choices=PROTOCOL_NAMES, default="paper", help="default: paper; see below")
    add("--seed", type=_seed, metavar="N", help="of dropout's noise; default: the cell's own, or 0")
    add("--size", type=_size, metavar="HxW", help="resize to it; default: inputs fit as they are")
    add("--labels", action="store_true", help="inputs are label maps: --size takes nearest pixels")
    add("--side", choices=("left", "right"), help="inputs are pairs side by side: translate one")
    add(
        "--no-dropout",
        action="store_true",
        help="the port's file was trained with its --no_dropout, which the file does not say",
    )
    add("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    add("--threads", type=_count, default=1, metavar="N", help="on the CPU; default 1, as a cell")
    return parser


def _translate_folder(options: argparse.Namespace) -> None:
    from pix2pix.translate_inputs import file_sha256, find_inputs
    from pix2pix.translation_folder import TranslationFolder

    paths = find_inputs(options.inputs)
    if options.out.resolve() == options.inputs.resolve():
        raise UserError(f"--out {options.out}: is the folder of inputs; give another")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out}: is not a folder")

    # Imported late: a mistake on the command line is answered at once.
    from pix2pix.saved_generator import open_generator

    device = _device(options)
    saved = open_generator(options.checkpoint, options.protocol, not options.no_dropout)
    preparation = _preparation(options, saved)
    sizes = [preparation.check(path) for path in paths.values()]
    print(f"{options.checkpoint}: {saved.description}", flush=True)
    unlike = [size for size in sizes if size != saved.trained_size]
    if unlike:
        print(
            f"note: {len(unlike)} of {len(sizes)} inputs are not of the size that the generator is"
            f" made for, {'×'.join(map(str, saved.trained_size))}",
            file=sys.stderr,
        )
    seed = saved.seed if options.seed is None else options.seed
    settings = {
        "checkpoint": file_sha256(options.checkpoint),
        "protocol": options.protocol,
        "seed": seed,
        "size": list(options.size) if options.size else None,
        "labels": options.labels,
        "side": options.side,
        "dropout": not options.no_dropout,
        "device": device.type,
        # A CPU's sums depend on how threads share them, a GPU's on its model.
        "number of threads": options.threads if device.type == "cpu" else None,
        **({"GPU": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
        **_versions(device),
    }
    facts = {"recognised": saved.description}
    folder = TranslationFolder(options.out)
    digests = {name: file_sha256(path) for name, path in paths.items()}
    todo = folder.begin(settings, facts, digests)
    progress = _Progress(len(todo))
    with _shortages_told(options.checkpoint, "--device cpu has more"):
        network = saved.network.to(device)
    for name in todo:
        folder.write(name, _translation(network, name, paths[name], preparation, options, seed))
        progress.step()
    there = f" ({len(paths) - len(todo)} were there)" if len(todo) < len(paths) else ""
    print(f"{len(paths)} translations in {options.out}{there}")


def _translation(
    network: torch.nn.Module,
    name: str,
    path: Path,
    preparation: Preparation,
    options: argparse.Namespace,
    seed: int,
) -> Any:
    from pix2pix.translation import translate
    from pix2pix.translation_protocols import PROTOCOLS

    device = next(network.parameters()).device
    protocol = PROTOCOLS[options.protocol]
    image = preparation.read(path)
    with _shortages_told(path, "--size makes it smaller"):
        ((_, translation),) = translate(
            network, image, [name], seed=seed, device=device, protocol=protocol
        )
    return translation


@contextlib.contextmanager
def _shortages_told(path: Path, remedy: str) -> Iterator[None]:
    """UserError where memory runs out, or may have; other errors go on."""
    from pix2pix.common.memory import no_engine, out_of_memory

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(f"{path}: too large for the memory; {remedy}") from None
        if told := no_engine(error):
            raise UserError(f"{path}: {told}; {remedy}") from None
        raise


def _preparation(options: argparse.Namespace, saved: SavedGenerator) -> Preparation:
    from PIL import Image

    from pix2pix.translate_inputs import Preparation
    from pix2pix.translation_protocols import PROTOCOLS

    inputs, outputs = saved.channels
    if inputs not in (1, 3) or outputs not in (1, 3):
        raise UserError(
            f"{options.checkpoint}: translates {inputs} channels to {outputs}; images have 1 or 3"
        )
    if options.labels and options.size is None:
        raise UserError("--labels: says how --size resizes; give --size too")
    resize = Image.Resampling.NEAREST if options.labels else PROTOCOLS[options.protocol].resize
    return Preparation(inputs, saved.multiple, options.side, options.size, resize)


def _device(options: argparse.Namespace) -> torch.device:
    """The device, in plain float32 as cells are trained and translated."""
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that torch can use")
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    return torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))


class _Progress:
    """Images done and the time left, on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.shown = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        if self.shown:
            pace = (time.monotonic() - self.began) / self.done
            minutes, seconds = divmod(round(pace * (self.total - self.done)), 60)
            text = f"{self.done}/{self.total} images, {minutes}:{seconds:02} left"
            end = "\n" if self.done == self.total else ""
            print(f"\r{text:<40}", end=end, file=sys.stderr, flush=True)


def _versions(device: torch.device) -> dict[str, str]:
    """Of all that an image's values depend on: resizing, the network, rounding."""
    import importlib.metadata

    import torch

    names = ("torch", "numpy", "pillow")
    versions = {f"version of {name}": importlib.metadata.version(name) for name in names}
    if device.type == "cuda":
        versions["version of cuDNN"] = str(torch.backends.cudnn.version())
    return versions


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?", text, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, or one side ({text!r})")
    height, width = found[1], found[2] or found[1]
    return int(height), int(width)


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 ({text!r})")
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 ({text!r})")
    return int(text)


if __name__ == "__main__":
    import sys

    sys.exit(main())
