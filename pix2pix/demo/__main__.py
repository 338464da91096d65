"""Draw labels, edges or greys in the browser and see them translated, on this machine alone."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pix2pix.common.errors import exit_status
from pix2pix.common.files import home_path, image_size

EXAMPLES = """\
examples:
  python -m pix2pix.demo --checkpoint runs/cells/CELL/generator.pt
  python -m pix2pix.demo --checkpoint L1=runs/cells/A/generator.pt --checkpoint L1+cGAN=runs/cells/B/generator.pt
      two arms of an ablation on the same drawing
  python -m pix2pix.demo --checkpoint latest_net_G.pth --dataset facades
      the PyTorch port's generator, whose file does not name its data set

Exit status: 2 bad input (one line), 130 stopped with Ctrl-C.
"""  # noqa: E501


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: run(options), "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.demo",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    checkpoint = "a generator from labels, edges or grey: generator.pt, the port's file, or .onnx"
    add("--checkpoint", type=_named, action="append", required=True, metavar="[NAME=]FILE",
        help=f"{checkpoint}; repeat to compare")  # fmt: skip
    add("--dataset", metavar="NAME", help="data set that defines the classes; default: the file's")
    add("--datasets", type=home_path, metavar="FILE", help="your own data sets (docs/datasets.md)")
    add(
        "--data-root",
        type=home_path,
        default=Path("data"),
        metavar="DIR",
        help="for label maps to load",
    )
    add("--size", type=image_size, metavar="HxW", help="of the drawing; default: as trained")
    add("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    threads = "CPU threads; default 1, which is fast enough and shares a busy machine best"
    add("--threads", type=int, default=1, metavar="N", help=threads)
    add("--host", default="127.0.0.1", help="default: %(default)s, this machine alone")
    add("--port", type=int, default=8001, metavar="N", help="default: %(default)s")
    return parser


def run(options: argparse.Namespace) -> None:
    """Load everything, then serve until stopped; UserError for any bad input."""
    # Imported late: mistakes on the command line are reported at once.
    from pix2pix.common import web
    from pix2pix.demo.models import load_demo
    from pix2pix.demo.server import make_demo

    demo = load_demo(options)
    with web.listen(options.host, options.port) as listener:
        for model in demo.models:
            print(f"{model.name}: {model.description}")
        print(f"draw at {web.address(listener)}\nCtrl-C stops the server", flush=True)
        web.serve(make_demo(demo), listener)


def _named(text: str) -> tuple[str | None, Path]:
    """`L1=FILE` or `FILE`; a path may hold `=` behind a slash."""
    found = re.fullmatch(r"([^/=]+)=(.+)", text)
    return (found[1], home_path(found[2])) if found else (None, home_path(text))


if __name__ == "__main__":
    sys.exit(main())
