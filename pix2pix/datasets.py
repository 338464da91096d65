"""`python -m pix2pix.datasets`: lists, downloads and verifies data sets."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import rich.progress
from rich.console import Console

from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path
from pix2pix.data.download import download, verify
from pix2pix.data.layouts import find_pairs
from pix2pix.data.recognise import located
from pix2pix.data.registry import SPLITS, DatasetEntry, find_entry, load_registry

EXAMPLES = """\
examples:
  python -m pix2pix.datasets
      lists every data set: directions, classes, and whether it is in the data root
  python -m pix2pix.datasets --download facades
      downloads and unpacks to data/facades; prints the archive's sha256 and pins it in
      data/datasets.lock.json: a later download of other bytes is refused
  python -m pix2pix.datasets --verify camvid --data-root ~/datasets
      decodes every image of ~/datasets/camvid
  python -m pix2pix.datasets --datasets mine.yaml --verify mine
      the same for a data set that you describe yourself (docs/datasets.md)

If the data root holds the archive as NAME.tar.gz, it is used in place of a download.
Exit status: 0 done, 2 bad input or a failed check, 130 interrupted (the same command resumes a
download).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.datasets",
        description="List (by default), download or verify data sets.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--download", metavar="NAME", help="download and unpack a data set")
    action.add_argument(
        "--verify",
        metavar="NAME",
        help="decode every image and compare the files with the pin",
    )
    parser.add_argument(
        "--data-root", metavar="DIR", type=home_path, default=Path("data"), help="default: data/"
    )
    parser.add_argument(
        "--datasets",
        metavar="FILE",
        type=home_path,
        help="your own data sets, described as in datasets.yaml",
    )
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: _carry_out(chosen), "interrupted")


def _carry_out(chosen: argparse.Namespace) -> None:
    say = functools.partial(print, flush=True)
    registry = load_registry(chosen.datasets)
    if chosen.download:
        download(find_entry(registry, chosen.download), chosen.data_root, say)
    elif chosen.verify:
        console = Console(stderr=True)
        with rich.progress.Progress(
            console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("decoding pairs")
            verify(
                find_entry(registry, chosen.verify),
                chosen.data_root,
                say,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    else:
        for entry in registry.values():
            print(describe_entry(entry, chosen.data_root))


def describe_entry(entry: DatasetEntry, data_root: Path) -> str:
    """Three lines: directions and classes, title, state on the disk."""
    first = entry.default_direction
    directions = [f"{a}->{b}" for a in entry.sides for b in entry.sides if a != b]
    also = ", ".join(direction for direction in directions if direction != first)
    classes = f"; {len(entry.classes)} classes" if entry.classes else ""
    return "\n".join(
        (
            f"{entry.name:<18} {first} (also {also}){classes}",
            f"{'':<18} {entry.title}",
            f"{'':<18} {_state(entry, data_root)}",
        )
    )


def _state(entry: DatasetEntry, data_root: Path) -> str:
    if entry.layout == "procedural":
        return "embedded"
    place = entry.location(data_root)
    try:
        pairs = find_pairs(located(entry, data_root)[0], data_root)
    except UserError as error:
        folders = [place / (side.folder or "") for side in entry.sides.values()]
        if place.is_dir() and (entry.path != "." or any(one.is_dir() for one in folders)):
            return f"not usable: {error}"
        return f"not in {place}; {entry.how_to_get(data_root)}"
    return f"in {place}: " + ", ".join(f"{len(pairs[split])} {split}" for split in SPLITS)


if __name__ == "__main__":
    sys.exit(main())
