"""Score a folder of translated images, from any program, with the scores of pix2pix."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eval.metrics import LABEL_VALUES, OF_A_FOLDER, PROTOCOLS
from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path, whole_from

IMAGES_PER_WORKER = 32  # fewer are measured sooner than another process starts
EXAMPLES = """\
examples:
  colour and pixel scores of two folders with equal names:
    python -m eval --translations out/ --targets real/ --scores color,pixel
  the PyTorch port's results (NAME_fake_B.png beside NAME_real_B.png):
    python -m eval --translations results/NAME/test_latest/images
  the Torch code's results (folders output, target, input):
    python -m eval --translations results/NAME/latest_net_G_val/images
  the FCN-score, with a scorer that run_ablations.py trained for the data set:
    python -m eval --translations out/ --targets real/ --labels maps/ --dataset camvid
  photo to labels: painted translations, read by the nearest palette colour:
    python -m eval --translations out/ --targets painted/ --labels maps/ \\
        --dataset cityscapes --scores labels
  the published Cityscapes score (translations of 256x256, labels of 1024x2048):
    python -m eval --translations out/ --targets real/ --labels gtFine/val \\
        --protocol cityscapes-fcn8s --scorer fcn8s.safetensors --scores fcn

Images are 8-bit RGB; lossy formats are scored with a warning.
Label maps are index PNG files (255 ignored); with --dataset also maps in class colours.
Exit status: 0 scored, 2 bad input (one line), 130 interrupted. docs/scores.md defines the scores.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores; returns 0, 2 with one line for bad input, or 130 if interrupted."""
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(command_line)
    options.command_line = command_line
    # One thread per process, set before numpy and torch are loaded: bits depend on the number.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    return exit_status(lambda: _score(options), "interrupted: nothing was written")


def _score(options: argparse.Namespace) -> None:
    # Imported late: mistakes on the command line are reported at once.
    from eval.request import score
    from eval.results import table

    if options.json is not None:
        _check_writable(options.json)
    with _progress() as progress:
        results, notes = score(options, _workers(options), progress)
    for note in notes:
        print(note, file=sys.stderr)
    if options.json is not None:
        results.write_json(options.json, images=True)
    print(table(results))
    if options.json is not None:
        print(f"\nwrote {options.json}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("images, matched by name").add_argument
    add("--translations", type=home_path, required=True, metavar="DIR", help="the images to score")
    add("--targets", type=home_path, metavar="DIR", help="the real images, if in another folder")
    add("--labels", type=home_path, metavar="DIR", help="true label maps (for fcn and labels)")
    add("--holes", type=home_path, metavar="DIR", help="masks, not 0 in the hole (for hole)")
    add = parser.add_argument_group("what to score, and with what").add_argument
    scores = f"some of {','.join(OF_A_FOLDER)}; default: all that the other options allow"
    add("--scores", type=_families, metavar="LIST", help=scores)
    add("--dataset", metavar="NAME", help="data set that defines the classes, in datasets.yaml")
    values = "what index maps hold: class positions or the data set's own values; default: detected"
    add("--label-values", choices=LABEL_VALUES, help=values)
    add(
        "--datasets",
        type=home_path,
        metavar="FILE",
        help="more data sets, in a file like datasets.yaml",
    )
    scorer = "a trained FCN-8s (for fcn); default: the one for --dataset in runs/scorers"
    add("--scorer", type=home_path, metavar="FILE", help=scorer)
    add("--protocol", choices=PROTOCOLS, help="a published protocol for the FCN-score")
    net = "backbone of LPIPS (default: alex)"
    add("--lpips-net", choices=("alex", "vgg", "squeeze"), help=net)
    weights = "weights of the backbone (default: in torch's cache)"
    add("--lpips-weights", type=home_path, metavar="FILE", help=weights)
    add = parser.add_argument_group("execution and output").add_argument
    workers = "number of processes (default: one per core); it does not change the scores"
    add("--workers", type=whole_from(1), metavar="N", help=workers)
    device = "device for fcn and lpips (default: cpu); with cuda, one process"
    add("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    record = "write the scores, per-image values and settings to FILE"
    add("--json", type=home_path, metavar="FILE", help=record)
    return parser


def _families(text: str) -> tuple[str, ...]:
    families = tuple(dict.fromkeys(text.split(",")))
    if not set(families) <= set(OF_A_FOLDER):
        raise argparse.ArgumentTypeError(f"must be some of {','.join(OF_A_FOLDER)} (got {text!r})")
    return families


def _workers(options: argparse.Namespace) -> int:
    """The number of processes: one per core, but no more than are worth starting.

    One process uses a GPU, and the published scorer takes gigabytes in every process.
    """
    if options.device != "cpu":
        return 1
    if options.workers is not None:
        return options.workers
    if options.protocol is not None:
        return 1
    images = sum(1 for _ in options.translations.rglob("*.*"))
    return max(1, min(os.cpu_count() or 1, images // IMAGES_PER_WORKER))


def _check_writable(path: Path) -> None:
    """Check --json before minutes of scoring, not after; raises UserError."""
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--json {path}: is a folder, or {above} is not a writable folder")
    if path.exists() and path.read_bytes()[:1] != b"{":
        raise UserError(f"--json {path}: exists and is not a JSON file")  # an image or a scorer


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar with the time left, if stderr is a terminal; otherwise None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
