"""Writes the reports of recorded suites again, from MLflow alone and without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from experiments.tracking.reader import StoreError, list_suites
except ModuleNotFoundError as error:  # training works without MLflow
    module = str(error.name).partition(".")[0]
    sys.exit(f"error: reports are read from MLflow; {module} is not installed here")

from experiments.plan import SuiteKey
from pix2pix.common.errors import UserError, mend_process, system_reason
from pix2pix.common.files import home_path
from reports.human_study import write_study
from reports.pages.compare import (
    PAGE,
    parse_settings,
    read_settings,
    write_claims,
    write_comparison,
)
from reports.write import alone, write_report, writing

EXAMPLES = """\
examples:
  python -m reports --suite all
  python -m reports --suite losses --dataset camvid --profile quick
  python -m reports --suite losses --compare camvid:quick,procedural:quick
  python -m reports --study study/

A report lands in DIR/DATASET-PROFILE/SUITE/ (open index.html), a comparison in
DIR/compare/SUITE/ (open comparison.html), and of several suites DIR/compare/claims.md has
every claim in one table. A profile with --set has the changes in
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
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--suite", metavar="NAME[,NAME...]|all", help="suites that were run")
    people = "write the report of a study with people instead (python -m eval.study)"
    what.add_argument("--study", type=home_path, metavar="DIR", help=people)
    parser.add_argument("--dataset", metavar="NAME", help="default: every one recorded")
    parser.add_argument("--profile", metavar="NAME", help="default: every one recorded")
    parser.add_argument(
        "--compare",
        metavar="DATASET:PROFILE,...",
        help="write a page that shows two or more of them side by side instead: is the order of "
        "the arms the same?",
    )
    parser.add_argument(
        "--out",
        type=home_path,
        default=Path("reports/out"),
        metavar="DIR",
        help="default: %(default)s",
    )
    options = parser.parse_args(arguments)
    mend_process()
    try:
        if options.study is not None:
            return study(options)
        if options.compare is not None:
            return compare(options)
        chosen = select(options.suite, options.dataset, options.profile)
        with writing(options.out), alone(options.out):
            status = write_all(chosen, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, StoreError) else 2
    except OSError as error:
        print(f"error: {system_reason(error)}", file=sys.stderr)
        return 2
    return status


def write_all(chosen: Sequence[SuiteKey], out: Path) -> int:
    """Write every report; 2 where one could not be written, the others are written all the same."""
    status = 0
    for key in chosen:
        try:
            print(write_report(*key, out) / "table.md")
        except StoreError:
            raise
        except UserError as error:  # the other suites still get theirs
            print(f"error: {error}", file=sys.stderr)
            status = 2
    return status


def study(options: argparse.Namespace) -> int:
    """Write the report of a study with people."""
    if options.dataset or options.profile or options.compare:
        raise UserError("--study: needs no other option than --out")
    with writing(options.out), alone(options.out):
        print(write_study(options.study, options.out) / "table.md")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Write each suite's settings side by side; UserError where no suite has them all."""
    if options.dataset or options.profile:
        raise UserError("--compare: names data sets and profiles itself; leave out the other two")
    pairs = parse_settings(options.compare)
    recorded = list_suites()
    suites = []
    for suite in named_suites(options.suite, recorded):
        missing = [f"{d}:{v}" for d, v in pairs if SuiteKey(suite, d, v) not in recorded]
        if not missing:
            suites.append(suite)
            continue
        problem = _not_recorded(suite, ", ".join(missing), recorded)
        if options.suite != "all":
            raise UserError(problem)
        print(f"left out: {problem}", file=sys.stderr)  # the others still get theirs
    if not suites:
        raise UserError(f"--compare: no suite is recorded on all of {options.compare}")
    with writing(options.out), alone(options.out):
        read = {suite: read_settings(suite, pairs) for suite in suites}
        for suite, settings in read.items():
            print(write_comparison(suite, pairs, settings, options.out) / PAGE)
        if len(read) > 1:
            print(write_claims(read, pairs, options.out))
    return 0


def named_suites(text: str, recorded: Sequence[SuiteKey]) -> list[str]:
    """The suites that `--suite` names, each once; UserError where one has nothing recorded."""
    if not recorded:
        raise UserError("MLflow holds no suite; run one first")
    known = sorted({key.suite for key in recorded})
    if text == "all":
        return known
    # A user's own suite is run by its file and recorded by its name.
    names = [Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"suite {name}: nothing recorded; there is {', '.join(known)}")
    return list(dict.fromkeys(names))


def select(suites: str, dataset: str | None, profile: str | None) -> list[SuiteKey]:
    """The recorded keys that the options name; UserError where a name has none."""
    recorded = list_suites()
    chosen = []
    for suite in named_suites(suites, recorded):
        found = [
            key
            for key in recorded
            if key == (suite, dataset or key.dataset, profile or key.variant)
        ]
        if not found and suites != "all":
            raise UserError(_not_recorded(suite, f"{dataset or '*'}:{profile or '*'}", recorded))
        chosen += found
    if not chosen:
        raise UserError("nothing recorded on that data set and profile")
    return chosen


def _not_recorded(suite: str, wanted: str, recorded: Sequence[SuiteKey]) -> str:
    """What is not recorded for a suite, and what is."""
    known = [f"{key.dataset}:{key.variant}" for key in recorded if key.suite == suite]
    return f"suite {suite}: nothing recorded on {wanted}; there is {', '.join(known)}"


if __name__ == "__main__":
    sys.exit(main())
