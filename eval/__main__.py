"""Score a folder of translated images, made by any program, with the scores of pix2pix."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eval.metrics import FAMILIES, LABEL_VALUES, PROTOCOLS
from pix2pix.common.errors import ScoringError

IMAGES_A_WORKER = 32  # fewer are measured sooner than another process has started
EXAMPLES = """\
examples:
  colour and pixel scores of two folders of equal names:
    python -m eval --translations out/ --targets real/ --scores color,pixel
  the PyTorch port's results (NAME_fake_B.png beside NAME_real_B.png):
    python -m eval --translations results/NAME/test_latest/images
  the Torch code's results (folders output, target, input):
    python -m eval --translations results/NAME/latest_net_G_val/images
  the FCN-score with a scorer that run_ablations.py trained for the data set:
    python -m eval --translations out/ --targets real/ --labels maps/ --dataset camvid
  photo to labels: painted translations, read by nearest palette colour:
    python -m eval --translations out/ --targets painted/ --labels maps/ \\
        --dataset cityscapes --scores labels
  the published Cityscapes score (256x256 translations, labels of 1024x2048):
    python -m eval --translations out/ --targets real/ --labels gtFine/val \\
        --protocol cityscapes-fcn8s --scorer fcn8s.safetensors --scores fcn

Images are 8-bit RGB; other formats than PNG are scored with a warning where they lose values.
Label maps are index PNG files (255 ignored); with --dataset also maps in the classes' colours.
Exit status: 0 scored, 2 bad input (one line), 130 interrupted. docs/scores.md defines the scores.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores; exit status 0, or 2 with one line where something does not fit."""
    written = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(written)
    options.written = written
    # One thread a process, before numpy and torch are loaded: bits depend on their number.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    try:
        # Imported late: a mistake on the command line is answered at once.
        from eval.printed import table
        from eval.request import score, show

        if options.json is not None:
            _check_writable(options.json)
        with _progress() as progress:
            sheet, notes = score(options, _workers(options), progress)
        show(notes)
        if options.json is not None:
            sheet.write_json(options.json, images=True)
        print(table(sheet))
        if options.json is not None:
            print(f"\nwritten: {options.json}")
    except ScoringError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    images = parser.add_argument_group("images, matched by name")
    add = images.add_argument
    add("--translations", type=Path, required=True, metavar="DIR", help="the images to score")
    add(
        "--targets",
        type=Path,
        metavar="DIR",
        help="the real images; may be left out where the translations' folder holds them too",
    )
    add("--labels", type=Path, metavar="DIR", help="true label maps (for fcn and labels)")
    what = parser.add_argument_group("what is scored, and with what")
    add = what.add_argument
    add(
        "--scores",
        type=_families,
        metavar="LIST",
        help=f"of {','.join(FAMILIES)}; default: all that the options given allow",
    )
    add("--dataset", metavar="NAME", help="classes, palette and direction, from datasets.yaml")
    add(
        "--label-values",
        choices=LABEL_VALUES,
        help="what --dataset's index maps hold: class positions, or the values of its own files;"
        " default: found out from the files",
    )
    add("--datasets", type=Path, metavar="FILE", help="more data sets, as in datasets.yaml")
    add(
        "--scorer",
        type=Path,
        metavar="FILE",
        help="a trained FCN-8s (for fcn); default: that of --dataset in runs/scorers",
    )
    add("--protocol", choices=PROTOCOLS, help="a published way to get the FCN-score")
    add(
        "--lpips-net",
        choices=("alex", "vgg", "squeeze"),
        help="LPIPS's backbone (default: alex)",
    )
    add("--lpips-weights", type=Path, metavar="FILE", help="its weights, if not in torch's cache")
    how = parser.add_argument_group("how")
    add = how.add_argument
    add(
        "--workers",
        type=_count,
        metavar="N",
        help="processes; default: one a core. The scores do not depend on it",
    )
    add(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="for fcn and lpips (default: cpu); cuda is used by one process",
    )
    add("--json", type=Path, metavar="FILE", help="write scores, images and settings here")
    return parser


def _families(text: str) -> tuple[str, ...]:
    families = tuple(dict.fromkeys(text.split(",")))
    for family in families:
        if family not in FAMILIES:
            raise argparse.ArgumentTypeError(f"must be of {','.join(FAMILIES)} (got {family!r})")
    return families


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 (got {text!r})")
    return int(text)


def _workers(options: argparse.Namespace) -> int:
    """As many processes as there are cores, but no more than are worth starting.

    A GPU is shared by nobody, and the published scorer fills gigabytes in every process.
    """
    if options.device != "cpu":
        return 1
    if options.workers is not None:
        return options.workers
    if options.protocol is not None:
        return 1
    images = sum(1 for _ in options.translations.rglob("*.*"))
    return max(1, min(os.cpu_count() or 1, images // IMAGES_A_WORKER))


def _check_writable(path: Path) -> None:
    """Now, and not after minutes of scoring."""
    if path.is_dir():
        raise ScoringError(f"--json {path}: is a folder")
    if path.exists():
        with open(path, "rb") as file:
            if file.read(1) != b"{":  # an image or a scorer must not be lost to a slip
                raise ScoringError(f"--json {path}: is there already and is no JSON file")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ScoringError(f"--json {path}: {above} is no folder that can be written")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the time left on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("left"))
    with Progress(*columns, TimeLeft(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
