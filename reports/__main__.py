"""Writes the reports of recorded suites again, from MLflow alone and without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.tracking_reader import StoreError, list_suites
from pix2pix.errors import UserError
from reports.compare import parse_settings, write_comparison
from reports.write import write_report
from reports.writing import alone, writing


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 all written, 1 MLflow failed, 2 bad input or nothing to report."""
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("--suite", required=True, metavar="NAME[,NAME...]|all")
    parser.add_argument("--dataset", metavar="NAME", help="default: every one recorded")
    parser.add_argument("--profile", metavar="NAME", help="default: every one recorded")
    parser.add_argument(
        "--compare",
        metavar="DATASET:PROFILE,...",
        help="put these side by side instead, such as camvid:quick,procedural:quick",
    )
    parser.add_argument("--out", type=Path, default=Path("reports/out"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        if options.compare is not None:
            return compare(options)
        chosen = select(options.suite, options.dataset, options.profile)
        with writing(options.out), alone(options.out):
            status = write_all(chosen, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, StoreError) else 2
    return status


def write_all(chosen: Sequence[tuple[str, str, str]], out: Path) -> int:
    """Every report; 2 where one could not be written, the others are."""
    status = 0
    for suite, dataset, profile in chosen:
        try:
            print(write_report(suite, dataset, profile, out) / "table.md")
        except StoreError:
            raise
        except UserError as error:  # the other suites still have theirs
            print(f"error: {error}", file=sys.stderr)
            status = 2
    return status


def compare(options: argparse.Namespace) -> int:
    """Each suite's settings side by side; 0, 2 where no suite has them all, or UserError."""
    if options.dataset or options.profile:
        raise UserError("--compare: names data sets and profiles itself; leave out the other two")
    pairs = parse_settings(options.compare)
    recorded = set(list_suites())
    status = 2
    for suite in sorted({suite for suite, _, _ in select(options.suite, None, None)}):
        lacking = [f"{d} ({p})" for d, p in pairs if (suite, d, p) not in recorded]
        if lacking and options.suite == "all":  # the others still have theirs
            print(f"{suite}: not recorded on {', '.join(lacking)}", file=sys.stderr)
            continue
        for dataset, profile in pairs:
            select(suite, dataset, profile)
        print(write_comparison(suite, pairs, options.out) / "comparison.md")
        status = 0
    return status


def select(suites: str, dataset: str | None, profile: str | None) -> list[tuple[str, str, str]]:
    """The recorded (suite, dataset, profile) that are meant; UserError where a name has none."""
    recorded = list_suites()
    if not recorded:
        raise UserError("MLflow holds no suite; run one first")
    wanted = sorted({s for s, _, _ in recorded}) if suites == "all" else suites.split(",")
    # A suite of one's own is run by its file and recorded by its name.
    wanted = [Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in wanted]
    chosen = []
    for suite in wanted:
        found = [
            key
            for key in recorded
            if key[0] == suite and key[1] == (dataset or key[1]) and key[2] == (profile or key[2])
        ]
        if not found and suites != "all":
            limits = f" on {dataset}" if dataset else ""
            limits += f" with profile {profile}" if profile else ""
            there = ", ".join(f"{s} on {d} ({p})" for s, d, p in recorded)
            raise UserError(f"suite {suite}: nothing recorded{limits}; there is {there}")
        chosen += found
    if not chosen:
        raise UserError("nothing recorded on that data set and profile")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
