#!/usr/bin/env python3
"""Regenerate the ablations of pix2pix on a data set: train, score, track and report.

The command line and nothing else; `experiments/study.py` does the work.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # nothing has begun yet: Ctrl-C during the imports ends it silently
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os._exit(128 + number))

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.dry_run import dry_run
from experiments.progress import duration
from experiments.run.signals import NUMBERS, Terminated, interrupt_on_signals
from experiments.settings import SETTINGS, parse_override
from experiments.spec import load_profiles, load_suite, suite_names
from experiments.study import Options, execute, make_study
from experiments.tracking.address import tracking_uri, ui_command
from experiments.tracking.process import mirror_everything, mirror_only
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry

EXAMPLES = """examples:
  python run_ablations.py --suite patch_size                 on the embedded data, minutes on a CPU
  python run_ablations.py --suite losses,color --seeds 5     five seeds; shared cells train once
  python run_ablations.py --suite my_suite.yaml --dataset folder --data-root my/pairs
  python run_ablations.py --suite losses --arms L1,cGAN --set training.steps=8000
  python run_ablations.py --suite all --dry-run              what would run, what is done
  python run_ablations.py --report-only                      all that --out holds, into a new MLflow
                                                             store too, and every report

Started again, the same command goes on where it stopped; what is done is not trained again.
exit status: 0 all done; 1 a cell failed; 2 bad input, before anything is trained;
130 interrupted (143 by SIGTERM), resumable
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="run_ablations.py",
        description=__doc__.splitlines()[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--suite", metavar="NAME[,NAME]", help="suites, all, or .yaml files of your own")
    p.add_argument(
        "--profile", default="quick", help="smoke, quick or paper: size and length (default quick)"
    )
    p.add_argument("--dataset", default="procedural", help="see --list (default procedural)")
    p.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where the data set lies (default data)"
    )
    p.add_argument("--datasets", type=Path, metavar="FILE", help="data sets of your own, as YAML")
    p.add_argument("--seeds", metavar="N|1,2,3", help="how many seeds, or which")
    p.add_argument("--arms", metavar="A,B", help="only these arms")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of all arms that do not set it themselves; repeatable. Keys: size, "
        + ", ".join(SETTINGS),
    )
    p.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="run directories")
    p.add_argument("--reports", type=Path, default=Path("reports/out"), metavar="DIR")
    p.add_argument(
        "--workers", type=int, metavar="N", help="cells at once (default: one a GPU, else a core)"
    )
    p.add_argument(
        "--threads", type=int, default=1, metavar="N", help="CPU threads of one cell (default 1)"
    )
    p.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="SECONDS", help="(default 60)"
    )
    p.add_argument("--list", action="store_true", help="suites, profiles and data sets")
    p.add_argument("--dry-run", action="store_true", help="cells, what is done, expected time")
    p.add_argument(
        "--report-only",
        action="store_true",
        help="mirror and report, train nothing; without --suite all that --out holds",
    )
    return p


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """`5` means seeds 1 to 5, `1,2,7` those; UserError for anything else."""
    if text is None:
        return None
    parts = text.removesuffix(",").split(",")
    if not all(part.isascii() and part.strip().isdigit() for part in parts):
        raise UserError(f"--seeds {text}: must be a number of seeds, or seeds such as 1,2,3")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) == 1 and "," not in text:
        if not 1 <= numbers[0] <= 1000:
            raise UserError(f"--seeds {text}: must be 1 to 1000 (one seed 7: --seeds 7,)")
        return tuple(range(1, numbers[0] + 1))
    if max(numbers) >= 2**31:
        raise UserError(f"--seeds {text}: a seed must be below 2147483648")
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--seeds {text}: a seed stands twice")
    return numbers


def parse_options(arguments: argparse.Namespace) -> Options:
    """Options with everything checked that needs no file; UserError names the option."""
    for name, value in (("workers", arguments.workers), ("threads", arguments.threads)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    if not 0 <= arguments.checkpoint_every < math.inf:
        raise UserError(
            f"--checkpoint-every {arguments.checkpoint_every}: must be finite seconds, at least 0"
        )
    if arguments.arms is not None and not arguments.arms.strip():
        raise UserError("--arms: names no arm; leave the option out for all of them")
    if arguments.data_root is not None and arguments.dataset == "procedural":
        raise UserError(
            f"--data-root {arguments.data_root}: the data set procedural is drawn, not read; for "
            "pairs of your own add --dataset folder"
        )
    if not arguments.suite:
        raise UserError(f"--suite is required: {', '.join(suite_names())}, all, or a .yaml file")
    return Options(
        suites=tuple(dict.fromkeys(s for s in arguments.suite.split(",") if s)),
        profile=arguments.profile,
        dataset=arguments.dataset,
        data_root=(arguments.data_root or Path("data")).expanduser().resolve(),
        datasets=arguments.datasets,
        seeds=parse_seeds(arguments.seeds),
        arms=tuple(a.strip() for a in arguments.arms.split(",")) if arguments.arms else None,
        overrides=tuple(parse_override(text) for text in arguments.set),
        out=arguments.out,
        reports=arguments.reports,
        workers=arguments.workers,
        threads=arguments.threads,
        checkpoint_seconds=arguments.checkpoint_every,
    )


def show_list(datasets: Path | None) -> str:
    """Suites, profiles and data sets, a line each."""
    lines = ["suites"]
    for name in suite_names():
        suite = load_suite(name)
        lines.append(f"  {name:<18} {suite.title}: {', '.join(suite.arms)}")
    lines.append("profiles")
    for name, profile in load_profiles().items():
        length = profile.settings.get("training.steps")
        text = f"{length} steps" if length else "the paper's epochs"
        seeds = "1 seed" if len(profile.seeds) == 1 else f"{len(profile.seeds)} seeds"
        width = profile.settings.get("generator.width", 64)
        lines.append(f"  {name:<18} {profile.size} pixels, width {width}, {text}, {seeds}")
    lines.append("data sets")
    for name, entry in load_registry(datasets).items():
        labels = f", {len(entry.classes)} classes" if entry.classes else ""
        lines.append(f"  {name:<18} {entry.title or name} ({entry.default_direction}{labels})")
    return "\n".join(lines)


def report(suites: Sequence[tuple[str, str, str]], folder: Path) -> None:
    """Write the report of every (suite, data set, profile) from MLflow, print its table, and say
    where to look."""
    from experiments.tracking.report import attach_report
    from experiments.tracking.store import StoreError
    from reports.write import write_report
    from reports.writing import alone

    with alone(folder):
        for name, dataset, profile in suites:
            try:
                written = write_report(name, dataset, profile, folder)
            except UserError as error:  # every cell failed: the status says so already
                print(f"no report of {name}: {error}", file=sys.stderr)
                continue
            print((written / "table.md").read_text(encoding="utf-8"))
            print(f"report: {written / 'index.html'} (and table.md, table.tex)", file=sys.stderr)
            try:
                attach_report(name, dataset, profile, written)
            except StoreError as error:  # the report itself is written
                print(f"not attached in MLflow: {error}", file=sys.stderr)
    beside = Path(sys.executable).with_name("mlflow")
    program = os.path.relpath(beside) if beside.exists() else "mlflow"
    print(f"browse the runs: {ui_command(tracking_uri(), program)}", file=sys.stderr)


def look(text: str) -> int:
    """Print what was asked for; a reader such as `head` may stop listening."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status. KeyboardInterrupt where a signal came."""
    began = time.monotonic()
    arguments = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):  # whatever the locale, an arrow must not end the run
        stream.reconfigure(errors="replace")
    try:
        if arguments.list:
            return look(show_list(arguments.datasets))
        if arguments.report_only and arguments.suite is None:
            ending, suites = mirror_everything(arguments.out)
        else:
            study = make_study(parse_options(arguments))
            if arguments.dry_run:
                return look(dry_run(study))
            suites = [(p.suite.name, p.entry.name, p.variant) for p in study.plans]
            if arguments.report_only:
                ending = mirror_only(study.options.out, study.plans)
            else:
                ending = execute(study)
        if ending.tracked:
            report(suites, arguments.reports)
        if ending.seconds:
            print(f"took {duration(time.monotonic() - began)}", file=sys.stderr)
        return ending.status
    except UserError as error:
        print(f"run_ablations.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"run_ablations.py: {where}{error.strerror or error}", file=sys.stderr)
        return 2


def command() -> int:
    """`main` of a process of its own, which a signal ends in order at whatever time it comes."""
    try:
        try:
            interrupt_on_signals()
            return main()
        finally:  # what is left is Python's own end
            for number in NUMBERS:
                signal.signal(number, lambda number, _: os._exit(128 + number))
    except KeyboardInterrupt as reason:
        print("interrupted; the same command goes on where this one ended", file=sys.stderr)
        return 143 if isinstance(reason, Terminated) else 130


if __name__ == "__main__":
    sys.exit(command())
