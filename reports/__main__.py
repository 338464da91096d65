"""Writes the reports of recorded suites again, from MLflow alone and without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

try:
    from experiments.tracking.reader import StoreError, list_suites
except ModuleNotFoundError as error:  # trainings do without MLflow
    missing = str(error.name).partition(".")[0]
    sys.exit(f"error: reports are read from MLflow; {missing} is not installed here")

from pix2pix.common.errors import UserError
from reports.pages.compare import PAGE, parse_settings, write_comparison
from reports.write import alone, write_report, writing

EXAMPLES = """\
examples:
  python -m reports --suite all
  python -m reports --suite losses --dataset camvid --profile quick
  python -m reports --suite losses --compare camvid:quick,procedural:quick

A report lands in DIR/DATASET-PROFILE/SUITE/ (open index.html), a comparison in
DIR/compare/SUITE/ (open comparison.html). A profile with --set has the changes in
its name, as in procedural:quick+training.steps=500; a wrong name lists the recorded
ones. Runs are read from MLFLOW_TRACKING_URI, or mlflow.db in this folder.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 all written, 1 MLflow failed, 2 bad input or nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--suite", required=True, metavar="NAME[,NAME...]|all", help="suites that were run"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: every one recorded")
    parser.add_argument("--profile", metavar="NAME", help="default: every one recorded")
    parser.add_argument(
        "--compare",
        metavar="DATASET:PROFILE,...",
        help="instead of reports, a page that puts two or more of them side by side: does the "
        "ordering of the arms carry over?",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports/out"), metavar="DIR", help="default: %(default)s"
    )
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
    recorded = list_suites()
    status = 2
    for suite in named_suites(options.suite, recorded):
        lacking = [f"{d}:{p}" for d, p in pairs if (suite, d, p) not in recorded]
        if lacking:
            problem = _not_there(suite, ", ".join(lacking), recorded)
            if options.suite != "all":
                raise UserError(problem)
            print(f"left out: {problem}", file=sys.stderr)  # the others still have theirs
            continue
        with writing(options.out), alone(options.out):
            print(write_comparison(suite, pairs, options.out) / PAGE)
        status = 0
    if status:
        raise UserError(f"--compare: no suite is recorded on all of {options.compare}")
    return status


def named_suites(text: str, recorded: Sequence[tuple[str, str, str]]) -> list[str]:
    """The suites that `--suite` names, each once; UserError where one has nothing recorded."""
    if not recorded:
        raise UserError("MLflow holds no suite; run one first")
    there = sorted({suite for suite, _, _ in recorded})
    if text == "all":
        return there
    # A suite of one's own is run by its file and recorded by its name.
    names = [Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in text.split(",")]
    for name in names:
        if name not in there:
            close = get_close_matches(name, there, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"suite {name}: nothing recorded{hint}; there is {', '.join(there)}")
    return list(dict.fromkeys(names))


def select(suites: str, dataset: str | None, profile: str | None) -> list[tuple[str, str, str]]:
    """The recorded (suite, dataset, profile) that are meant; UserError where a name has none."""
    recorded = list_suites()
    chosen = []
    for suite in named_suites(suites, recorded):
        found = [
            key
            for key in recorded
            if key[0] == suite and key[1] == (dataset or key[1]) and key[2] == (profile or key[2])
        ]
        if not found and suites != "all":
            raise UserError(_not_there(suite, f"{dataset or '*'}:{profile or '*'}", recorded))
        chosen += found
    if not chosen:
        raise UserError("nothing recorded on that data set and profile")
    return chosen


def _not_there(suite: str, wanted: str, recorded: Sequence[tuple[str, str, str]]) -> str:
    """What is not recorded of a suite, and what is."""
    there = [f"{dataset}:{profile}" for name, dataset, profile in recorded if name == suite]
    close = get_close_matches(wanted, there, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"suite {suite}: nothing recorded on {wanted}{hint}; there is {', '.join(there)}"


if __name__ == "__main__":
    sys.exit(main())
